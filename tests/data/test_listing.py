import pytest

from segdla.data.listing import list_images, unread_pictures, walk_images
from segdla.errors import UserError


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.JPG", "a.png", "notes.txt", "b/._2.jpg", ".hidden/3.png", "dir.png/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "back").symlink_to(tmp_path)  # a loop
    return tmp_path


def test_images_below_a_folder_without_hidden_ones(tree):
    assert [str(path.relative_to(tree)) for path in list_images(tree)] == ["a.png", "b/2.JPG", "dir.png"]


def test_folders_and_suffixes_are_chosen(tree):
    assert [path.name for path in list_images(tree, skip=tree / "b")] == ["a.png", "dir.png"]
    assert [path.name for path in list_images(tree, skip=tree)] == ["a.png", "2.JPG", "dir.png"]  # never the top itself
    assert [path.name for path in walk_images(tree, suffixes={".txt"})] == ["notes.txt"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "tif", "tiff", "webp", "gif", "PNG"])
def test_suffixes_of_what_the_reader_reads(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").touch()
    assert list_images(tmp_path) == [tmp_path / f"a.{suffix}"]


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="no directory"):
        list_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images in .*empty \(\.bmp, .*\.webp\); check the path"):
        list_images(tmp_path / "empty")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ("1.txt", "2.txt", "x.yaml"),
            r"but other files \(2 \.txt, 1 \.yaml\), such as 1\.txt, which may be polygons or bo",
        ),
        (
            ("sub/1.json",),
            r"such as sub/1\.json, which may be polygons or boxes: read polygons by segdla check --labels, or",
        ),
        (("1.MAT",), r"\(1 \.mat\), such as 1\.MAT, which may be arrays: write each as a PNG"),
        (("1.npy",), "which may be arrays"),
        (("1.mp4",), "which are videos: save their frames as images"),
        (("1.heic",), "which are pictures of a kind that can't be read: convert them to PNG or JPEG"),
        (("set.zip",), "which are packed: name one in place of the folder; in an archive, unpack that first"),
        (("README", ".hidden.txt"), r"but other files \(1 without a suffix\), such as README; check the path"),
    ],
)
def test_what_a_folder_without_images_holds_is_told(tmp_path, names, words):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"no images in {tmp_path} \(.*\), .*{words}"):
        list_images(tmp_path)


def test_pictures_that_can_not_be_read_are_listed(tmp_path):
    for name in ("a.png", "b.HEIC", "sub/c.mp4", "d.txt", ".e.heic", "f.svg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in unread_pictures(tmp_path)] == ["b.HEIC", "f.svg", "sub/c.mp4"]
