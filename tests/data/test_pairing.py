import unicodedata

import pytest

from segdla.data.pairing import Naming, pair_folders, pair_list, read_list
from segdla.errors import UserError

NFC = unicodedata.normalize("NFC", "café")
NFD = unicodedata.normalize("NFD", "café")  # as Macs write it


@pytest.fixture
def tree(tmp_path):
    """``tree("a.png", ...)`` makes empty files, which pairing does not open, and returns their folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def pairs(root, *args, **kwargs):
    pairing = pair_folders(root / "images", root / "masks", *args, **kwargs)
    assert not pairing.problems
    return [tuple(str(path.relative_to(root)) for path in pair) for pair in pairing.pairs]


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


def test_prefixes_belong_to_the_file_not_its_folder(tree):
    root = tree("images/day/im_1.png", "masks/day/gt_1.png", "masks/day/raw_1.png")
    assert pairs(root, Naming("im_", "gt_")) == [("images/day/im_1.png", "masks/day/gt_1.png")]
    tree("images/day/im_2.png")
    (problem,) = pair_folders(root / "images", root / "masks", Naming("im_", "gt_")).problems
    assert problem.endswith(f"expected {root / 'masks/day/gt_2.png'}")


@pytest.mark.parametrize(("one", "other"), [(NFC, NFD), (NFD, NFC)])
def test_names_that_differ_in_their_unicode_form_alone_pair(tree, one, other):
    root = tree(f"images/{one}/1-{one}.png", f"masks/{other}/1-{other}.png", f"masks/{other}/2-{other}.png")
    assert pairs(root) == [(f"images/{one}/1-{one}.png", f"masks/{other}/1-{other}.png")]
    assert pair_folders(root / "images", root / "masks").unused == [root / f"masks/{other}/2-{other}.png"]


def test_prefixes_and_suffixes_may_be_of_another_unicode_form(tree):
    root = tree(f"images/1_{NFD}.png", f"masks/{NFC}_1_ids.png", f"masks/{NFC}_1_colour.png")
    assert pairs(root, Naming("", NFD + "_", "_" + NFC, "_ids")) == [(f"images/1_{NFD}.png", f"masks/{NFC}_1_ids.png")]


def test_names_that_look_the_same_pair_exactly_or_are_told(tree):
    root = tree(*(f"{folder}/{name}.png" for folder in ("images", "masks") for name in (NFC, NFD)))
    assert pairs(root) == [(f"images/{name}.png", f"masks/{name}.png") for name in (NFD, NFC)]
    (root / f"masks/{NFD}.png").unlink()
    pairing = pair_folders(root / "images", root / "masks")
    assert pairing.pairs == [(root / f"images/{NFC}.png", root / f"masks/{NFC}.png")]
    assert pairing.problems == [
        f"no mask for {root}/images/{NFD}.png: expected {root}/masks/{NFD}.png; the name of {root}/images/{NFC}.png "
        "looks the same, in another Unicode form"
    ]
    mixed = unicodedata.normalize("NFC", "é") + unicodedata.normalize("NFD", "é")
    root = tree(f"i/{mixed}.png", *(f"m/{unicodedata.normalize(form, mixed)}.png" for form in ("NFC", "NFD")))
    (problem,) = pair_folders(root / "i", root / "m").problems
    assert problem.startswith(f"2 masks for {root}/i/{mixed}.png")


def test_images_and_masks_in_one_folder(tree):
    root = tree("all/1.jpg", "all/1_mask.png", "all/2.jpg", "all/2.png")
    pairing = pair_folders(root / "all", root / "all", Naming(mask_suffix="_mask"))
    assert pairing.pairs == [(root / "all/1.jpg", root / "all/1_mask.png")]
    (root / "all" / "1_mask.png").unlink()
    (root / "all" / "1.png").touch()
    pairing = pair_folders(root / "all", root / "all", Naming(image_suffix=".jpg", mask_suffix=".png"))
    assert [mask.name for _, mask in pairing.pairs] == ["1.png", "2.png"] and not pairing.problems


def test_masks_below_the_images(tree):
    root = tree("images/1.png", "images/masks/1.png")
    assert pair_folders(root / "images", root / "images" / "masks").pairs == [
        (root / "images/1.png", root / "images/masks/1.png")
    ]


def test_images_without_exactly_one_mask_are_problems(tree):
    root = tree(
        "images/a.jpg", "images/b.png", "images/c.png", "images/c.jpg", "masks/a.png", "masks/a.bmp", "masks/c.png"
    )
    pairing = pair_folders(root / "images", root / "masks")
    assert not pairing.pairs
    two_masks, no_mask, two_images = pairing.problems
    assert two_masks.startswith(f"2 masks for {root / 'images' / 'a.jpg'}")
    assert no_mask == f"no mask for {root / 'images' / 'b.png'}: expected {root / 'masks' / 'b.png'}"
    assert two_images.startswith(f"2 images for one mask {root / 'masks' / 'c.png'}")


def test_files_without_the_suffixes_are_others(tree):
    root = tree("images/1_rgb.png", "images/1_depth.png", "masks/1_ids.png", "masks/2_ids.png", "masks/1_color.png")
    pairing = pair_folders(root / "images", root / "masks", Naming(image_suffix="_rgb", mask_suffix="_ids"))
    assert pairing.unused == [root / "masks/2_ids.png"]
    assert pairing.others == [root / "images/1_depth.png", root / "masks/1_color.png"]


def test_pictures_that_can_not_be_read_are_others(tree):
    root = tree("images/1.png", "images/2.heic", "masks/1.png", "masks/2.jp2", "masks/notes.txt")
    assert pair_folders(root / "images", root / "masks").others == [root / "images/2.heic", root / "masks/2.jp2"]


def test_keys_can_be_refused(tree):
    root = tree("images/a.png", "images/b.png", "masks/a.png", "masks/c.png")
    pairing = pair_folders(root / "images", root / "masks", keep=lambda key: key == "a")
    assert pairing.pairs == [(root / "images/a.png", root / "masks/a.png")]
    assert not pairing.problems and not pairing.unused


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


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("a.png b.png  ", ("a.png", "b.png")),
        ("  a.png\tb.png \t", ("a.png", "b.png")),
        ("a 1.png \t b 1.png; ", ("a 1.png", "b 1.png")),
        ("a.png b.png\r", ("a.png", "b.png")),
        ("a\x85.png\tb\u2028.png", ("a\x85.png", "b\u2028.png")),  # no line breaks
    ],
)
def test_blanks_around_names_in_lists(tmp_path, line, pair):
    (tmp_path / "list.txt").write_text(f"{line}\n \t \n", encoding="utf-8")
    assert read_list(tmp_path / "list.txt") == [pair]


def test_lists_that_can_not_be_read(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(UserError, match=r"cannot read the list .*list\.txt: No such file"):
        read_list(path)
    path.write_text("a.png b.png\n", encoding="utf-16")  # as PowerShell writes
    with pytest.raises(UserError, match=r"the list .*list\.txt is no text in UTF-8 .*; save it as UTF-8"):
        read_list(path)
    path.write_text("a.png b\0.png\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list\.txt, line 1: 'a\.png b\\x00\.png' is not an image and a mask"):
        read_list(path)


def test_listed_names_in_another_unicode_form_or_a_home_folder(tree, monkeypatch):
    root = tree(f"images/{NFD}.png", f"masks/{NFD}/1.png", "home/a.png")
    monkeypatch.setenv("HOME", str(root / "home"))
    (root / "list.txt").write_text(f"images/{NFC}.png masks/{NFC}/1.png\n~/a.png ~/gone.png\n", encoding="utf-8")
    pairing = pair_list(root, root / "list.txt")
    assert pairing.pairs == [(root / f"images/{NFD}.png", root / f"masks/{NFD}/1.png")]
    assert pairing.problems == [f"no file {root}/home/gone.png, listed in {root}/list.txt"]


def test_lists_that_name_missing_files(tree):
    root = tree("a.png", "b.png")
    (root / "list.txt").write_text("a.png b.png\na.png gone.png\n", encoding="utf-8")
    pairing = pair_list(root, root / "list.txt")
    assert pairing.pairs == [(root / "a.png", root / "b.png")]
    assert pairing.problems == [f"no file {root / 'gone.png'}, listed in {root / 'list.txt'}"]
