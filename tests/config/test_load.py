import json
from pathlib import Path

import pytest
import yaml
from support import ROOT

from segdla.config import dump, find_config, load, load_config, parse, parse_overrides, parse_yaml, schema
from segdla.errors import UserError

SCENES = {"data": {"dataset": "scenes"}}
FOLDER = {"dataset": "folder", "classes": ["a", "b"], "train": {"list": "x"}, "val": {"list": "y"}}
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_are_valid_and_short(path):
    load_config(path)
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 15
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    yaml.safe_load(text)


def test_schema_for_editors_is_fresh():
    fresh = json.dumps(schema(), indent=2) + "\n"
    assert (ROOT / "configs" / "schema.json").read_text(encoding="utf-8") == fresh, (
        "run: python -m segdla.config > configs/schema.json"
    )


def test_overrides_are_yaml_and_coerced():
    words = ["train.lr=1e-4", "data.crop=[64, 96]", "data.augment.flip=0"]
    config = parse(SCENES, parse_overrides(words))
    assert config.train.lr == 0.0001  # to YAML 1e-4 is a string
    assert config.data.crop == (64, 96)
    assert config.data.augment.flip == 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train", "write section.key=value"),
        ("train.=1", "write section.key=value"),
        ("train.lr=[", "not valid YAML"),
        ("train.lr=!!float fast", "not valid YAML"),
        ("model={mean: [0, 0, 0], mean: [1, 1, 1]}", "the key 'mean' is given twice"),
    ],
)
def test_wrong_overrides_are_named(word, message):
    with pytest.raises(UserError) as error:
        parse_overrides([word])
    assert message in str(error.value)
    assert f"override {word!r}" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_later_override_counts():
    assert parse_overrides(["train={lr: 1}", "train.lr=2", "train={lr: 3}"]) == {"train.lr": 2, "train": {"lr": 3}}
    assert parse(SCENES, parse_overrides(["train.lr=1", "train.lr=2"])).train.lr == 2


def test_overrides_of_a_config():
    config = parse(SCENES, {"train.epochs": 7})
    assert load_config(config) is config
    changed = load_config(config, {"train.lr": 0.5})
    assert (changed.train.epochs, changed.train.lr, config.train.lr) == (7, 0.5, 0.01)


def test_dump_and_load_are_inverse(tmp_path):
    words = ["train.epochs=7", "data.augment.transforms=[{GaussianBlur: {p: 0.5}}]"]
    config = parse(SCENES, parse_overrides(words))
    (tmp_path / "config.yaml").write_text(dump(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == config


def test_label_maps_survive_yaml_and_json():
    config = parse({"data": FOLDER | {"label_map": {0: "a", 255: "b"}}})
    assert parse_yaml(dump(config)) == config
    assert parse(json.loads(json.dumps(config.model_dump(mode="json")))) == config


def test_a_date_is_a_word():
    config = parse_yaml("data: {dataset: camvid, root: 2026-11-28}")
    assert config.data.root == "2026-11-28"


def test_a_section_that_is_commented_out_has_its_defaults():
    assert parse({**SCENES, "train": None}) == parse(SCENES)


def test_a_bare_name_is_a_file_here_or_in_configs_or_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "_FOLDERS", (Path("configs"), tmp_path / "shipped", tmp_path / "clone"))
    places = [tmp_path / folder / "mine.yaml" for folder in ("clone", "shipped", "configs")] + [tmp_path / "mine"]
    assert find_config("mine") == Path("mine")  # for the message
    for number, path in enumerate(places):  # each goes before those before it
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{{data: {{dataset: scenes}}, train: {{seed: {number}}}}}", encoding="utf-8")
        assert find_config("mine").resolve() == path
        assert load_config("mine").train.seed == number
    with pytest.raises(UserError, match="configs/x: No such file"):  # a path, not a bare name
        load_config("configs/x")


def test_unreadable_config_files(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"config quickstat: No such file .*, did you mean quickstart\?"):
        load_config("quickstat")
    (tmp_path / "bad.yaml").write_text("data: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.yaml: not valid YAML"):
        load_config(tmp_path / "bad.yaml")


@pytest.mark.parametrize("name", ["a\0b", "x" * 100_000, "a\n", "~nobody/\0", "/dev/zero", "."])
def test_odd_names_of_a_config_are_answered(name):
    with pytest.raises(UserError) as error:
        load_config(name)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("data: {dataset: scenes}", encoding="utf-8")
    assert find_config("~/c.yaml") == tmp_path / "c.yaml"
    assert load_config("~/c.yaml") == parse(SCENES)


@pytest.mark.parametrize("word", ["a" * 100_000, "a\nb", f"train.lr=[{'a' * 100_000}", "train.lr={\n"])
def test_overrides_of_any_size_are_quoted_on_a_short_line(word):
    with pytest.raises(UserError, match="override ") as error:
        parse_overrides([word])
    assert str(error.value).isprintable() and len(str(error.value)) < 600


def test_an_override_of_any_depth_is_an_unknown_key():
    with pytest.raises(UserError, match=r"unknown key 'a\.a\.a"):
        parse(SCENES, {"a." * 50_000 + "a": 1})
