import shutil

import numpy as np
import pytest
from image_tree import draw_tree

from segdla.data.whole_images.image_folder import image_folder
from segdla.errors import UserError


@pytest.fixture
def tree(tmp_path):
    return draw_tree(tmp_path / "tree", train=2, val=1)


def test_each_image_has_the_class_of_its_folder(tree):
    (tree / "train" / "red" / "more").mkdir()
    (tree / "train" / "red" / "1.png").rename(tree / "train" / "red" / "more" / "1.png")
    source = image_folder(str(tree), "train", "train")
    assert source.classes.names == ("blue", "green", "red") and source.classes.whole_images
    names = ["blue/0.png", "blue/1.png", "green/0.png", "green/1.png", "red/0.png", "red/more/1.png"]
    assert [source.name(index) for index in range(len(source))] == names
    image, target = source.read(5)
    assert image.shape == (40, 48, 3) and image[..., 0].mean() > 150
    assert target.shape == (1, 1) and target.dtype == np.int16 and target[0, 0] == 2
    assert source.image_size(0) == (40, 48)


def empty(tree):
    shutil.rmtree(tree / "train" / "red")
    (tree / "train" / "red").mkdir()


def notes_alone(tree):
    empty(tree)
    (tree / "train" / "red" / "notes.txt").touch()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, r"no images in .*train/red .*; check the path"),
        (notes_alone, r"no images in .*train/red .*such as notes\.txt"),
        (lambda tree: shutil.rmtree(tree / "val"), r"no folder .*tree/val of class folders; move a part .* \(data\.tr"),
        (lambda tree: shutil.rmtree(tree), r"no folder .*tree/train of class folders; check data\.root"),
        (
            lambda tree: shutil.rmtree(tree / "val" / "red"),
            r"train has the class folders \['red'\], which",
        ),
        (lambda tree: (tree / "val" / "pink").mkdir(), r"val has the class folders \['pink'\], which .*train has not"),
        (lambda tree: (tree / "train" / "x.jpg").touch(), r"train/x\.jpg is in no class folder; move it"),
        (lambda tree: [shutil.rmtree(tree / "train" / n) for n in ("red", "blue")], "holds 1 class folders, and there"),
    ],
)
def test_a_tree_that_is_none_is_answered(tree, spoil, message):
    spoil(tree)
    with pytest.raises(UserError, match=message):
        image_folder(str(tree), "train", "train")
        image_folder(str(tree), "val", "train")
