import pytest

from segdla.config import parse
from segdla.errors import UserError

FOLDER = {"dataset": "folder", "classes": ["a", "b"], "train": {"list": "x"}, "val": {"list": "y"}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FOLDER | {"ignore": [70000]}, "'data.ignore.0' is 70000"),
        (FOLDER | {"ignore": [1]}, "take that out of classes, and say which ids are left: label_map"),
        (FOLDER | {"classes": ["square"]}, "'data.classes': .* say classes: \\[background, square\\]"),
        (FOLDER | {"classes": []}, "'data.classes': .* say classes: \\[background, NAME\\]"),
        (FOLDER | {"classes": ["a"], "colors": [[0, 0, 0]]}, "say classes: \\[background, a\\]"),
        (FOLDER | {"classes": ["a", "a"]}, "two classes have one name"),
        (FOLDER | {"colors": [[0, 0, 999], [0, 0, 0]]}, "'data.colors.0.2' is 999"),
        (FOLDER | {"colors": [[0, 0, 0]]}, "2 classes but 1 colors: give one colour a class"),
        (FOLDER | {"label_map": {7: "c"}}, "label_map names 'c', which is none of the classes"),
        (FOLDER | {"label_map": {7: "a"}, "ignore": [7]}, "take that out of label_map"),
        (FOLDER | {"ignore_colors": [[0, 0, 0]]}, "give the classes' colors too"),
        (FOLDER | {"colors": [[1, 2, 3], [1, 2, 3]]}, "a colour is given twice"),
        (FOLDER | {"sample_range": [4095, 0]}, "from black to white, as .0, 4095., not .4095, 0."),
        (FOLDER | {"sample_range": [0, 70000]}, "'data.sample_range.1' is 70000"),
        (FOLDER | {"train": {"images": "x", "masks": "x"}}, "are the same files"),
        (FOLDER | {"train": {"list": "x", "mask_suffix": "_L"}}, "mask_suffix is of directories"),
        (FOLDER | {"val": {"images": "x"}}, "either images and masks"),
    ],
)
def test_rules_for_data(values, message):
    with pytest.raises(UserError, match=message):
        parse({"data": values})


@pytest.mark.parametrize("values", [{"ignore": [7, 255]}, {"label_map": {7: "a", 8: "b"}, "ignore": [0]}])
def test_ids_that_are_no_class_may_be_ignored(values):
    parse({"data": FOLDER | values})


def test_scales_go_from_small_to_large():
    with pytest.raises(UserError, match="from small to large"):
        parse({"data": {"dataset": "scenes", "augment": {"scale": [2, 1]}}})


@pytest.mark.parametrize(
    "path", ["root", "cache_folder", "train.images", "train.masks", "train.mask_suffix", "val.list"]
)
def test_a_path_holds_no_nul(path):
    split = {"train": {"images": "a", "masks": "b"}, "val": {"images": "a", "masks": "b"}}
    with pytest.raises(UserError) as error:
        parse({"data": FOLDER | split}, {f"data.{path}": "a\0b"})
    assert "holds a NUL character" in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("crop", [64, 10**5], 32000),
        ("size", [10**5, 64], 32000),
        ("train", 10**26, 1000000),
        ("val", 10**4000, 1000000),
        ("workers", 10**5, 1024),
        ("augment.scale", [1, 1e9], 100),
    ],
)
def test_numbers_have_limits_that_are_named(key, value, limit):
    with pytest.raises(UserError, match=f"data\\.{key}.*less than or equal to {limit}$"):
        parse({"data": {"dataset": "scenes"}}, {f"data.{key}": value})


@pytest.mark.parametrize("argument", [float("nan"), [float("inf")], {1, 2}, object()])
def test_arguments_of_transforms_are_what_a_dump_can_hold(argument):
    with pytest.raises(UserError, match=r"'data\.augment\.transforms': arguments are finite numbers"):
        parse({"data": {"dataset": "scenes", "augment": {"transforms": [{"Blur": {"p": argument}}]}}})


OVERLAPPING = {
    "data": {
        "dataset": "annotations",
        "format": "coco",
        "labels": "x",
        "classes": ["a", "b", "c"],
        "overlap": "keep",
        "train": {},
        "val": {},
    },
    "model": {"head": "sigmoid"},
}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"model.head": "softmax"}, "data.overlap: keep takes model.head: sigmoid"),
        ({"data.overlap": "last"}, "model.head sigmoid is for two classes, .* or for classes that may overlap"),
        ({"data.background": "a"}, "a pixel without a label is of no class; leave background out"),
        ({"loss.class_weights": "enet"}, "loss.class_weights are for classes of which a pixel has one"),
        ({"eval.boundary_f": True}, "eval.boundary_f and eval.object_sizes are for classes of which a pixel has one"),
    ],
)
def test_rules_for_classes_that_overlap(override, message):
    parse(OVERLAPPING)
    with pytest.raises(UserError, match=message):
        parse(OVERLAPPING, override)
