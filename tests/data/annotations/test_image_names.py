import pytest
from exports import write_images

from segdla.data.annotations.file_tree import open_tree
from segdla.data.annotations.image_names import ImageNames
from segdla.errors import UserError


@pytest.fixture
def images(tmp_path):
    write_images(tmp_path, "a/1.png", "b/1.png", "b/2.jpg", "3.png", "b/caf\u00e9.png", "x.y.png")
    return ImageNames(open_tree(tmp_path))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a/1.png", "a/1.png"),
        ("2.jpg", "b/2.jpg"),  # the format lacks the folder
        ("b/2", "b/2.jpg"),  # or the suffix
        ("data/set/3.png", "3.png"),  # or has more folders
        ("C:\\Users\\me\\b\\1.png", "b/1.png"),
        ("/home/me/a/1.png", "a/1.png"),
        ("../b/./2.jpg", "b/2.jpg"),
        ("cafe\u0301.png", "b/caf\u00e9.png"),
        ("x.y", "x.y.png"),
    ],
)
def test_the_image_that_is_meant(images, name, image):
    assert images.find(name) == image


@pytest.mark.parametrize("name", ["a/2.jpg", "2.png", "4.png", "", "C:\\", "//", "c/1.png"])
def test_names_of_no_image(images, name):
    with pytest.raises(UserError, match="no image"):
        images.find(name)


def test_a_name_of_two_images(images):
    with pytest.raises(UserError, match=r"'1.png' may be a/1.png or b/1.png in .*; keep one"):
        images.find("1.png")
