"""``segdla convert``: what it prints, and how it ends."""

import pytest
from exports import BOX, write_images, write_json

from segdla.commands import convert
from segdla.data.label_files.written_formats import WRITTEN


@pytest.fixture
def labels(tmp_path):
    """A folder of two images with labelme's labels, and one without."""
    write_images(tmp_path / "set", "a.png", "b.png", "c.png")
    for name in "ab":
        shape = {"label": "car", "points": BOX, "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": f"{name}.png", "imageHeight": 6, "imageWidth": 8}
        write_json(tmp_path / "set" / f"{name}.json", content)
    return tmp_path / "set"


def test_what_it_says(labels, tool, capfd):
    assert tool("convert")(labels, "--to", "coco", "--output", "out") == 0
    out = capfd.readouterr().out
    assert "75 % of the pixels have no label, so they are a class, background" in out
    assert "left out, as they have no labels: 1, such as c.png" in out
    assert out.endswith("2 images, in out/\n")
    (labels / "a.png").write_bytes(b"")
    assert tool("convert")(labels, "--to", "coco", "--output", "out2") == 1
    captured = capfd.readouterr()
    assert captured.out.endswith("1 images, 1 left out, in out2/\n")
    assert captured.err.count("\n") == 1 and "a.png is not an image: it is empty" in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "cocoa", "--output", "out"], "'cocoa' is no format that is written; did you mean coco?"),
        (["--to", "coco", "--output", "set"], "set exists; choose another --output"),
        (["--to", "coco"], "--output"),
        (["--to", "coco", "--output", "out", "--tolerance", "-1"], "'-1' is not a number of pixels, 0 or more"),
        (["--to", "coco", "--output", "out", "--tolerance", "nan"], "'nan' is not a number of pixels"),
        (["--to", "coco", "--output", "out", "--min-pixels", "0"], "'0' is not a whole number above 0"),
        (["--to", "coco", "--output", "out", "--format", "cvat"], "has no XML file"),
    ],
)
def test_mistakes_are_one_line(labels, fails, words, message):
    assert message in fails("convert", labels, *words)


def test_nothing_there(fails):
    assert "no file or folder nowhere" in fails("convert", "nowhere", "--to", "coco", "--output", "out")


def test_the_formats_of_the_help_are_those_that_are_written():
    assert tuple(WRITTEN) == convert.WRITTEN
