import pytest

from segdla.data.pairing import Naming, pair_folders, pair_list, read_list
from segdla.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """``tree("a.png", ...)`` makes files, which pairing does not open."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def pairs(root, *args, **kwargs):
    found = pair_folders(root / "images", root / "masks", *args, **kwargs)
    assert not found.problems
    return [tuple(str(path.relative_to(root)) for path in pair) for pair in found.pairs]


def test_pairs_by_stem_whatever_the_extension(tree):
    root = tree("images/a.jpg", "images/b.png", "masks/b_L.png", "masks/a_L.tif", "masks/other_L.png")
    assert pairs(root, Naming(mask_suffix="_L")) == [
        ("images/a.jpg", "masks/a_L.tif"),
        ("images/b.png", "masks/b_L.png"),
    ]
    assert pair_folders(root / "images", root / "masks", Naming(mask_suffix="_L")).unused == [
        root / "masks" / "other_L.png"
    ]


def test_nested_folders_pair_by_their_paths(tree):
    root = tree("images/ulm/1.png", "images/bonn/1.png", "masks/ulm/1.png", "masks/bonn/1.png")
    assert pairs(root) == [("images/bonn/1.png", "masks/bonn/1.png"), ("images/ulm/1.png", "masks/ulm/1.png")]


def test_suffixes_choose_among_several_kinds_of_file(tree):
    root = tree("images/1_rgb.png", "images/1_depth.png", "masks/1_ids.png", "masks/1_color.png")
    assert pairs(root, Naming(image_suffix="_rgb", mask_suffix="_ids")) == [("images/1_rgb.png", "masks/1_ids.png")]


def test_prefixes_are_of_the_file_not_its_folder(tree):
    root = tree("images/day/im_1.png", "masks/day/gt_1.png", "masks/day/raw_1.png")
    assert pairs(root, Naming("im_", "gt_")) == [("images/day/im_1.png", "masks/day/gt_1.png")]
    tree("images/day/im_2.png")
    (problem,) = pair_folders(root / "images", root / "masks", Naming("im_", "gt_")).problems
    assert problem.endswith(f"expected {root / 'masks/day/gt_2.png'}")


def test_images_and_masks_in_one_folder(tree):
    root = tree("all/1.jpg", "all/1_mask.png", "all/2.jpg", "all/2.png")
    found = pair_folders(root / "all", root / "all", Naming(mask_suffix="_mask"))
    assert found.pairs == [(root / "all/1.jpg", root / "all/1_mask.png")]
    (root / "all" / "1_mask.png").unlink()
    (root / "all" / "1.png").touch()
    found = pair_folders(root / "all", root / "all", Naming(image_suffix=".jpg", mask_suffix=".png"))
    assert [mask.name for _, mask in found.pairs] == ["1.png", "2.png"] and not found.problems


def test_masks_below_the_images(tree):
    root = tree("images/1.png", "images/masks/1.png")
    assert pair_folders(root / "images", root / "images" / "masks").pairs == [
        (root / "images/1.png", root / "images/masks/1.png")
    ]


def test_what_is_no_pair_is_told(tree):
    root = tree(
        "images/a.jpg", "images/b.png", "images/c.png", "images/c.jpg", "masks/a.png", "masks/a.bmp", "masks/c.png"
    )
    found = pair_folders(root / "images", root / "masks")
    assert not found.pairs
    two_masks, no_mask, two_images = found.problems
    assert two_masks.startswith(f"2 masks for {root / 'images' / 'a.jpg'}")
    assert no_mask == f"no mask for {root / 'images' / 'b.png'}: expected {root / 'masks' / 'b.png'}"
    assert two_images.startswith(f"2 images for one mask {root / 'masks' / 'c.png'}")


def test_folders_without_images(tree):
    root = tree("images/notes.txt", "masks/a.png")
    with pytest.raises(UserError, match=r"no images in .*images"):
        pair_folders(root / "images", root / "masks")
    with pytest.raises(UserError, match=r"no directory .*none"):
        pair_folders(root / "none", root / "masks")
    tree("images/a.png")
    with pytest.raises(UserError, match=r"no image in .*masks whose name ends with '_L'"):
        pair_folders(root / "images", root / "masks", Naming(mask_suffix="_L"))


def test_lists(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("a.png b.png;\n\nc.png d.png\n", encoding="utf-8")
    assert read_list(path) == [("a.png", "b.png"), ("c.png", "d.png")]
    path.write_text("with space.png\tb.png\n", encoding="utf-8")
    assert read_list(path) == [("with space.png", "b.png")]
    path.write_text("a.png b.png\nlonely.png\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: 'lonely.png'"):
        read_list(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="names no images"):
        read_list(path)


def test_lists_that_name_what_is_not_there(tree):
    root = tree("a.png", "b.png")
    (root / "list.txt").write_text("a.png b.png\na.png gone.png\n", encoding="utf-8")
    found = pair_list(root, root / "list.txt")
    assert found.pairs == [(root / "a.png", root / "b.png")]
    assert found.problems == [f"no file {root / 'gone.png'}, listed in {root / 'list.txt'}"]
