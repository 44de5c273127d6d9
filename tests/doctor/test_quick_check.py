import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.data.cityscapes import cityscapes
from segdla.data.folder import folder
from segdla.data.scenes import Scenes
from segdla.doctor.quick_check import quick_check
from segdla.errors import UserError


def halves(upper, lower):
    return np.repeat(np.array([upper, lower], np.uint8), 24)[:, None].repeat(64, 1)


@pytest.fixture
def source(tmp_path):
    """Six sound pairs."""
    for number in range(6):
        write(tmp_path / "i" / f"{number}.png", np.zeros((48, 64, 3), np.uint8))
        write(tmp_path / "m" / f"{number}.png", halves(0, 1))
    return folder(tmp_path, ("sky", "road"), images="i", masks="m")


def test_every_size_and_some_masks_are_looked_at(source):
    assert quick_check(source) == ""
    mask = source.pairs[4][1]
    write(mask, np.zeros((48, 60), np.uint8))
    with pytest.raises(UserError, match=r"4\.png is 48x64 .* 48x60.* \(all that is wrong: segdla check CONFIG\)"):
        quick_check(source)
    write(mask, halves(0, 9))
    with pytest.raises(UserError, match="label id 9"):
        quick_check(source)


def test_masks_of_one_class_and_ignored_pixels_are_doubted(source):
    for _, mask in source.pairs:
        write(mask, halves(0, 255))
    doubt = quick_check(source)
    assert "nothing but sky and pixels that are ignored (255); " in doubt
    assert doubt.endswith("name it in data.label_map={0: ..., 255: ...}")
    for _, mask in source.pairs:
        write(mask, halves(255, 255))
    assert "nothing but no class" in quick_check(source)


def test_images_without_files_or_public_truth_are_not_doubted(tmp_path):
    assert quick_check(Scenes("train", 3, (48, 64))) == ""
    write(tmp_path / "leftImg8bit" / "test" / "bonn" / "bonn_0_leftImg8bit.png", np.zeros((48, 64, 3), np.uint8))
    assert quick_check(cityscapes(tmp_path, "test")) == ""


def test_palettes_that_differ_are_doubted(source):
    for _, mask in source.pairs:
        image = Image.fromarray(halves(0, 1))
        image.putpalette([0, 0, 0, *((255, 0, 0) if mask.stem == "4" else (0, 255, 0))])
        image.save(mask)
    assert "id 1 has the colour (0, 255, 0) in" in quick_check(source)
