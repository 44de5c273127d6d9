import json
from pathlib import Path
from typing import get_args

import pytest
import yaml

from segdla import config
from segdla.config import ModelConfig
from segdla.errors import UserError
from segdla.models.dla import VARIANTS

ROOT = Path(__file__).parents[1]
SCENES = {"data": {"dataset": "scenes"}}
FOLDER = {"dataset": "folder", "classes": ["a", "b"], "train": {"list": "x"}, "val": {"list": "y"}}


def test_every_backbone_is_a_choice():
    assert set(get_args(ModelConfig.model_fields["backbone"].annotation)) == set(VARIANTS)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_are_valid_and_short(path):
    config.load(path)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 15


def test_schema_for_editors_is_fresh():
    fresh = json.dumps(config.schema(), indent=2) + "\n"
    assert (ROOT / "configs" / "schema.json").read_text(encoding="utf-8") == fresh, (
        'run: python -c "import json; from segdla import config; print(json.dumps(config.schema(), indent=2))" '
        "> configs/schema.json"
    )


def test_overrides_are_yaml_and_coerced():
    settings = config.parse(SCENES, ["train.lr=1e-4", "data.crop=[64, 96]", "data.augment.flip=0"])
    assert settings.train.lr == 0.0001  # to YAML 1e-4 is a string
    assert settings.data.crop == (64, 96)
    assert settings.data.augment.flip == 0


def test_dump_and_load_are_inverse(tmp_path):
    settings = config.parse(SCENES, ["train.epochs=7", "data.augment.transforms=[{GaussianBlur: {p: 0.5}}]"])
    (tmp_path / "config.yaml").write_text(config.dump(settings), encoding="utf-8")
    assert config.load(tmp_path / "config.yaml") == settings


def test_label_maps_survive_yaml_and_json(tmp_path):
    settings = config.parse({"data": FOLDER | {"label_map": {0: "a", 255: "b"}}})
    (tmp_path / "config.yaml").write_text(config.dump(settings), encoding="utf-8")
    assert config.load(tmp_path / "config.yaml") == settings
    assert config.parse(json.loads(json.dumps(settings.model_dump(mode="json")))) == settings


def test_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        config.parse(SCENES).train.lr = 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1", "unknown key 'train.lrr', did you mean 'train.lr'?"),
        ("trian.lr=1", "unknown key 'trian', did you mean 'train'?"),
        ("data.augment.scal=1", "unknown key 'data.augment.scal', did you mean 'data.augment.scale'?"),
        ("data.root=x", "unknown key 'data.root'"),  # of another data set
        ("train.lr=fast", "'train.lr' is 'fast'"),
        ("train.lr=.inf", "'train.lr' is inf"),
        ("model.std=[1, 0, 1]", "'model.std.1' is 0"),
        ("data.size=[1, 1]", "'data.size.0' is 1"),
        ("train.epochs=1.5", "'train.epochs' is 1.5"),
        ("train.epochs=0", "'train.epochs' is 0"),
        ("data.crop=64", "'data.crop' is 64"),
        ("data.augment.scale=[2, 1]", "from small to large"),
        ("data.dataset=scene", "data.dataset is 'scene'; it must be one of 'scenes'"),
        ("model.backbone=resnet", "'model.backbone' is 'resnet': it should be 'dla34'"),
        ("train", "write section.key=value"),
        ("train.lr=[", "not valid YAML"),
        ("model={mean: [0, 0, 0], mean: [1, 1, 1]}", "the key 'mean' is given twice"),
        ("loss.class_weights=most", "'loss.class_weights' is 'most': it should be a list"),
        ("loss.class_weights=[0, 0]", "class_weights are all 0"),
        ("loss={cross_entropy: 0, dice: 1, class_weights: enet}", "class_weights are of cross_entropy and ohem"),
        ("loss={cross_entropy: 0, ohem: 1, label_smoothing: 0.1}", "label_smoothing is of cross_entropy"),
        ("train.lr=!!float fast", "not valid YAML"),
    ],
)
def test_wrong_overrides_name_key_and_remedy(override, message):
    with pytest.raises(UserError) as error:
        config.parse(SCENES, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FOLDER | {"ignore": [70000]}, "'data.ignore.0' is 70000"),
        (FOLDER | {"ignore": [1]}, "take that out of classes, and say which ids are left: label_map"),
        (FOLDER | {"classes": ["a", "a"]}, "two classes have one name"),
        (FOLDER | {"colors": [[0, 0, 999], [0, 0, 0]]}, "'data.colors.0.2' is 999"),
        (FOLDER | {"label_map": {7: "c"}}, "label_map names 'c', which is none of the classes"),
        (FOLDER | {"label_map": {7: "a"}, "ignore": [7]}, "take that out of label_map"),
        (FOLDER | {"ignore_colors": [[0, 0, 0]]}, "give the classes' colors too"),
        (FOLDER | {"colors": [[1, 2, 3], [1, 2, 3]]}, "a colour is given twice"),
        (FOLDER | {"train": {"images": "x", "masks": "x"}}, "are the same files"),
        (FOLDER | {"train": {"list": "x", "mask_suffix": "_L"}}, "mask_suffix is of directories"),
        (None, "a config is a mapping"),
        ({}, "'data' is missing"),
        ({"data": {}}, "'data.dataset' is missing"),
        ({"data": {"dataset": "camvid"}}, "'data.root' is missing"),
        (
            {"data": {"dataset": "folder", "classes": ["a", "b"], "train": {"list": "x"}, "val": {"images": "x"}}},
            "either images and masks",
        ),
    ],
)
def test_wrong_configs(values, message):
    with pytest.raises(UserError, match=message):
        config.parse({"data": values} if values and "dataset" in values else values)


def test_only_the_inmost_mistake_is_told():
    with pytest.raises(UserError) as error:
        config.parse({"data": FOLDER | {"classes": ["yes", True]}})
    assert str(error.value) == "config: 'data.classes.1' is True: put the word in quotes"


def test_a_section_that_is_commented_out_has_its_defaults():
    assert config.parse({**SCENES, "train": None}) == config.parse(SCENES)


def test_unreadable_config_files(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("data: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.yaml: not valid YAML"):
        config.load(tmp_path / "bad.yaml")


def test_yaml_files_name_the_schema():
    for path in (ROOT / "configs").glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n"), path
        yaml.safe_load(path.read_text(encoding="utf-8"))
