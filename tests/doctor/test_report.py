import json

import numpy as np
import pytest
from support import write

from segdla.data.folder import folder
from segdla.data.images import read_image
from segdla.data.scenes import Scenes
from segdla.doctor.check import Finding, Report, examine_splits
from segdla.doctor.report import print_report, write_report
from segdla.errors import UserError


def test_three_findings_of_a_kind_are_printed_and_the_rest_counted(capsys):
    findings = [Finding("unreadable mask", "train", f"mask [{number}] is broken") for number in range(5)]
    print_report(Report(findings, {}, {}))
    output = capsys.readouterr().out
    assert output.splitlines() == [
        "unreadable mask: 5",
        *(f"  train: mask [{number}] is broken" for number in range(3)),
        "  and 2 more",
    ]


def test_tables_have_a_row_for_each_split_and_class(capsys):
    print_report(examine_splits({"train": Scenes("train", 3, (32, 48)), "val": Scenes("val", 2, (32, 48))}))
    output = capsys.readouterr().out
    for words in ("train", "val", "32 x 48", *Scenes.classes.names, "model: {mean: [", "loss: {class_weights: ["):
        assert words in output


def test_of_many_sizes_three_are_printed(tmp_path, capsys):
    for height in range(30, 35):
        write(tmp_path / "i" / f"{height}.png", np.zeros((height, 48, 3), np.uint8))
        write(tmp_path / "m" / f"{height}.png", np.eye(height, 48, dtype=np.uint8))
    print_report(examine_splits({"train": folder(tmp_path, ("a", "b"), images="i", masks="m")}))
    output = capsys.readouterr().out
    assert "1 of 30 x 48" in output and "2 more sizes" in output and "34 x 48" not in output


def test_a_report_is_written_with_samples_of_all_splits(tmp_path):
    report = examine_splits({"train": Scenes("train", 3, (32, 48)), "val": UserError("no directory val")})
    write_report(report, tmp_path / "out")
    values = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert values["serious"] and values["findings"][0]["message"] == "no directory val"
    assert values["splits"]["train"]["images"] == 3 and "sources" not in values
    assert read_image(tmp_path / "out" / "contact.png").shape[0] > 100


def test_without_a_readable_image_there_is_no_contact_sheet(tmp_path):
    class Broken(Scenes):
        def read(self, index):
            raise RuntimeError("boom")

    write_report(examine_splits({"train": Broken("train", 2, (32, 48))}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_that_can_not_be_written_is_answered(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*report\.json"):
        write_report(Report([], {}, {}), tmp_path / "file")
