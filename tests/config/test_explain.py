import pytest

from segdla.config import parse, parse_overrides
from segdla.errors import UserError

SCENES = {"data": {"dataset": "scenes"}}
FOLDER = {"dataset": "folder", "classes": ["a", "b"], "train": {"list": "x"}, "val": {"list": "y"}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1", "unknown key 'train.lrr', did you mean 'train.lr'?"),
        ("trian.lr=1", "unknown key 'trian', did you mean 'train'?"),
        ("lr=1", "unknown key 'lr', did you mean 'train.lr'?"),
        ("batch_size=1", "unknown key 'batch_size', did you mean 'train.batch_size' or 'eval.batch_size'?"),
        ("crop=1", "unknown key 'crop', did you mean 'data.crop'?"),
        ("data.augment.scal=1", "unknown key 'data.augment.scal', did you mean 'data.augment.scale'?"),
        ("data.root=x", "unknown key 'data.root'"),  # of another data set
        ("train.lr=fast", "'train.lr' is 'fast'"),
        ("train.lr=.inf", "'train.lr' is inf"),
        ("model.std=[1, 0, 1]", "'model.std.1' is 0"),
        ("data.size=[1, 1]", "'data.size.0' is 1"),
        ("train.epochs=1.5", "'train.epochs' is 1.5"),
        ("train.epochs=0", "'train.epochs' is 0"),
        ("data.crop=64", "'data.crop' is 64"),
        ("data.dataset=scene", "data.dataset is 'scene'; it must be one of 'scenes'"),
        ("model.backbone=resnet", "'model.backbone' is 'resnet': it should be 'dla34'"),
        ("loss.class_weights=most", "'loss.class_weights' is 'most': it should be a list"),
    ],
)
def test_an_error_names_key_and_remedy(override, message):
    with pytest.raises(UserError) as error:
        parse(SCENES, parse_overrides([override]))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "a config is a mapping"),
        ({}, "'data' is missing"),
        ({"data": {}}, "'data.dataset' is missing"),
        ({"data": {"dataset": "camvid"}}, "'data.root' is missing"),
    ],
)
def test_what_is_missing(values, message):
    with pytest.raises(UserError, match=message):
        parse(values)


def test_only_the_inmost_error_is_explained():
    with pytest.raises(UserError) as error:
        parse({"data": FOLDER | {"classes": ["yes", True]}})
    assert str(error.value) == "config: 'data.classes.1' is True: put the word in quotes"


def test_a_rule_across_sections_has_no_key():
    with pytest.raises(UserError, match=r"^mine\.yaml: eval\.threshold is for head sigmoid"):
        parse(SCENES | {"eval": {"threshold": 0.3}}, source="mine.yaml")


def test_the_source_is_named():
    with pytest.raises(UserError, match=r"^mine\.yaml: 'data' is missing"):
        parse({}, source="mine.yaml")


@pytest.mark.parametrize("key", ["a[b]", "[/]", "[bold]", "a\nb", "\x1b[0m", "x" * 100_000, "'", "[key]", "a.b[0]"])
@pytest.mark.parametrize("section", ["data", "train", None])
def test_keys_of_any_form_are_named_on_a_short_line(key, section):
    with pytest.raises(UserError, match="unknown key") as error:
        parse({**SCENES, section: {**SCENES.get(section, {}), key: 1}} if section else {**SCENES, key: 1})
    assert str(error.value).isprintable() and len(str(error.value)) < 300
    assert len(key) > 100 or repr(key)[1:-1] in str(error.value)


def test_keys_inside_values_are_named_as_written():
    transforms = [{"Blur[1]": 3}, {4: {}}]
    with pytest.raises(UserError) as error:
        parse({"data": {"dataset": "scenes", "augment": {"transforms": transforms}}, "loss": {"class_weights": ["a"]}})
    assert "'data.augment.transforms.0.Blur[1]' is 3: it should be a valid dictionary" in str(error.value)
    assert "'data.augment.transforms.1.4' is 4: it should be a valid string" in str(error.value)
    assert "'loss.class_weights.0' is 'a': it should be a valid number" in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        "x" * 100_000,
        {"data": {"dataset": "x\n" * 50_000}},
        {"data": {"dataset": "scenes", "crop": "x" * 100_000}},
        {"data": {"dataset": "scenes", "crop": list(range(100_000))}},
        {"data": {"dataset": "scenes", "train": 10**10_000}},
        {"data": FOLDER | {"label_map": {7: "c\n" * 50_000}}},
        {"data": FOLDER | {"classes": [f"class {i}" for i in range(254)], "label_map": {7: "c"}}},
        {"data": FOLDER | {"ignore": [1, *range(2, 60_000)]}},
        {"data": {"dataset": "scenes"} | {f"key {i}": i for i in range(10_000)}},
    ],
    ids=range(9),
)
def test_values_of_any_size_are_quoted_on_a_short_line(values):
    with pytest.raises(UserError) as error:
        parse(values, source="c\n" * 10_000)
    assert str(error.value).isprintable() and len(str(error.value)) < 2500


def test_of_many_errors_the_first_are_explained():
    with pytest.raises(UserError, match=r"unknown key 'data\.a0'; .* 'data\.a5'; and 4 more$"):
        parse({"data": {"dataset": "scenes"} | {f"a{i}": i for i in range(10)}})
