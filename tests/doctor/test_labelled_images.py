import shutil

import numpy as np
from image_tree import draw_tree, values
from support import write

import segdla
from segdla.config import parse


def test_the_doctor_reads_every_image(tmp_path):
    tree = draw_tree(tmp_path / "tree")
    (tree / "train" / "red" / "0.png").write_bytes(b"no picture")
    shutil.copy(tree / "train" / "red" / "1.png", tree / "train" / "blue" / "copy.png")
    shutil.copy(tree / "train" / "red" / "2.png", tree / "val" / "red" / "copy.png")
    write(tree / "val" / "green" / "flat.png", np.full((40, 48, 3), 7, np.uint8))
    report = segdla.check(parse(values(tree)))
    kinds = ["unreadable image", "nearly constant image", "duplicates of different classes", "duplicate across splits"]
    assert [finding.kind for finding in report.findings] == kinds
    assert report.serious and "red/0.png" in report.findings[0].message
    assert report.splits["train"].pixels == {"blue": 5, "green": 4, "red": 3}
    assert report.splits["val"].images == 11


def test_a_split_that_cannot_be_opened_is_a_finding(tmp_path):
    tree = draw_tree(tmp_path / "tree")
    shutil.rmtree(tree / "val" / "red")
    report = segdla.check(parse(values(tree)))
    assert [(finding.kind, finding.split) for finding in report.findings] == [("unusable split", "val")]
