import json

import numpy as np
import pytest

from segdla.data.labels import packed_colors
from segdla.doctor.class_names import name_classes
from segdla.doctor.contents import Contents, name_labels
from segdla.doctor.image_facts import ImageSummary


def contents(values, *, colors=None, **more):
    """Contents of masks that hold these ids, or these colours, equally often."""
    if colors is not None:
        values = packed_colors(np.array([colors], np.uint8)).ravel().tolist()
    values = dict.fromkeys(sorted(values), 100)
    return Contents([], [], colors is not None, values, ImageSummary((8, 8), [], [], []), inner=values, **more)


def named(contents, *folders):
    return name_classes(name_labels(contents), contents, folders)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_names.txt", "sky\nroad\n\ncar\n"),
        ("classes.txt", "\ufeff0 sky\n1 road\n2 car\n3 tree\n"),  # as Windows' editors save it
        ("labels.txt", "__ignore__\nsky\nroad\ncar\n"),  # labelme's
        ("label_names.txt", "2: car\n1: road\n0: sky"),
        ("_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n2, car\n"),  # Roboflow's
        ("class_dict.csv", "name,r,g,b\nsky,0,0,255\nroad,9,9,9\ncar,200,0,0\n"),
        ("class_dict.csv", "sky,0,0,255\nroad,9,9,9\ncar,200,0,0\n"),
        ("dataset.json", json.dumps({"labels": {"sky": 0, "road": 1, "car": 2}})),  # nnU-Net's
        ("id2label.json", json.dumps({"0": "sky", "1": "road", "2": "car"})),  # Hugging Face's
        ("dataset.json", json.dumps({"labels": {"0": "sky", "1": "road", "2": "car"}})),  # its first version's
    ],
)
def test_ids_are_named_by_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    labels, remarks = named(contents([0, 1, 2, 255]), tmp_path / "no", tmp_path)
    assert labels.classes == ["sky", "road", "car"] and labels.ignore == [255] and labels.named
    assert remarks == [f"the names of the classes are from {tmp_path / name}"]


def test_ids_with_gaps_take_their_own_names(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd", encoding="utf-8")
    labels, _ = named(contents([1, 3]), tmp_path)
    assert (labels.classes, labels.label_map) == (["b", "d"], {1: "b", 3: "d"})


def test_black_and_white_are_two_names(tmp_path):
    (tmp_path / "classes.txt").write_text("ground\ncrack", encoding="utf-8")
    labels, _ = named(contents([0, 255]), tmp_path)
    assert (labels.classes, labels.label_map) == (["ground", "crack"], {0: "ground", 255: "crack"})


def test_colours_are_named_by_colour(tmp_path):
    (tmp_path / "class_dict.csv").write_text("name, r, g, b\nroad, 9, 9, 8\nsky, 0, 0, 255\nvoid, 0, 0, 0\n")
    labels, _ = named(contents([], colors=[(0, 0, 255), (9, 9, 8)]), tmp_path)
    assert dict(zip(labels.colors, labels.classes, strict=True)) == {(0, 0, 255): "sky", (9, 9, 8): "road"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("classes.txt", "a\nb", "it has 2 names, and none for id 2 of the masks"),
        ("classes.txt", "a\nb\na", "two classes are called 'a'"),
        ("classes.txt", "a\nb\n\x1b[31mred", "is no name"),
        ("classes.txt", b"a\nb\n\xff", "it is no UTF-8 text"),
        ("classes.txt", "a\n" * 600_000, "it is too large for a list of names"),
        ("classes.txt", "0 a\n1 b\n1 c", "id 1 has two names"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0\n", "the row 'sky,0,0' is not name, red, green, blue"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,256\n", "is not name, red, green, blue"),
        ("class_dict.csv", "a,1,1,1\nb,1,1,1\n", "the colour (1, 1, 1) is in two rows"),
        ("_classes.csv", "Pixel Value, Class\nsky\n", "the row 'sky' is not pixel value, name"),
        ("dataset.json", "[", 'it has no "labels": {name: id}'),
        ("dataset.json", "[" * 100_000, 'it has no "labels": {name: id}'),
        ("dataset.json", '{"labels": {"a": 0, "whole": [1, 2]}}', "regions of several ids are no classes"),
    ],
)
def test_a_file_that_does_not_fit_is_told_and_not_used(tmp_path, name, text, reason):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    labels, (remark,) = named(contents([0, 1, 2]), tmp_path)
    assert labels.classes == ["class_0", "class_1", "class_2"] and not labels.named
    assert remark.startswith(f"{tmp_path / name} gives no names for the classes: ") and reason in remark


def test_the_next_file_is_tried(tmp_path):
    (tmp_path / "class_dict.csv").write_text("nonsense", encoding="utf-8")
    (tmp_path / "classes.txt").write_text("a\nb", encoding="utf-8")
    labels, remarks = named(contents([0, 1]), tmp_path)
    assert labels.classes == ["a", "b"] and len(remarks) == 2


def test_names_without_colours_do_not_fit_masks_of_colours(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb", encoding="utf-8")
    labels, (remark,) = named(contents([], colors=[(0, 0, 255), (9, 9, 8)]), tmp_path)
    assert "it gives no colours, of which the masks are" in remark and not labels.named


PALETTE = {0: (0, 0, 0), 1: (128, 0, 0), 255: (224, 224, 192)}


def test_classes_have_their_palette_s_colours():
    labels, remarks = named(contents([0, 1, 255], palette=PALETTE))
    assert labels.colors == [(0, 0, 0), (128, 0, 0)] and labels.ignore_colors == [(224, 224, 192)]
    assert remarks == ["the colours of the classes are those of the masks' palettes"]


@pytest.mark.parametrize(
    "palette",
    [
        {**PALETTE, 255: (0, 0, 0)},  # what is ignored would become the class of its colour
        {**PALETTE, 1: (0, 0, 0)},
        {0: (0, 0, 0), 1: (128, 0, 0)},
        {i: (i, i, i) for i in PALETTE},
    ],
)
def test_a_palette_that_does_not_tell_classes_apart_is_not_taken(palette):
    labels, remarks = named(contents([0, 1, 255], palette=palette))
    assert labels.colors is None and labels.ignore_colors is None and remarks == []


def test_lists_beside_each_mask_name_the_ids(tmp_path):
    labels, remarks = named(contents([0, 1], names={0: "_background_", 1: "cat"}), tmp_path)
    assert labels.classes == ["_background_", "cat"]
    assert remarks == ["the names of the classes are from the list beside each mask"]
