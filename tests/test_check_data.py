"""The doctor as a tool."""

import json

import numpy as np
from conftest import write

from segdla.data.images import read_image


def test_a_sound_set(tool, two_folders, tmp_path, capsys):
    assert tool("check_data")(two_folders, "data.ignore=[255]") == 0
    said = capsys.readouterr().out
    assert "nothing that would hurt training" in said and "class_weights: [" in said
    report = json.loads((tmp_path / "check_two_folders" / "report.json").read_text(encoding="utf-8"))
    assert report["serious"] is False and report["splits"]["train"]["images"] == 4
    sheet = read_image(tmp_path / "check_two_folders" / "contact.png")
    assert sheet.shape[0] >= 2 * 200  # six images in rows of four


def test_a_set_with_faults(tool, two_folders, tmp_path, capsys):
    (tmp_path / "set" / "train" / "images" / "scene 1.png").write_bytes(b"")
    write(tmp_path / "set" / "val" / "masks" / "scene 4.png", np.full((40, 56), 77, np.uint8))
    (tmp_path / "set" / "val" / "masks" / "scene 5.png").unlink()
    assert tool("check_data")(two_folders, "--output", "out") == 1
    said = capsys.readouterr().out
    assert "scene 1.png" in said and "label id 77 (2240 pixels)" in said and "no mask for" in said
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert {"unreadable image", "unknown labels", "image without mask"} <= {f["kind"] for f in report["findings"]}


def test_a_set_that_is_not_there(tool, two_folders, tmp_path, capsys):
    assert tool("check_data")(two_folders, "data.root=nowhere", "--output", "out") == 1
    assert "unusable split" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.json").is_file()


def test_results_overwrite_nothing(tool, two_folders, tmp_path):
    for _ in range(2):
        tool("check_data")(two_folders)
    assert (tmp_path / "check_two_folders-2" / "report.json").is_file()


def test_what_to_check_must_be_said(fails):
    assert "name a config" in fails("check_data")
