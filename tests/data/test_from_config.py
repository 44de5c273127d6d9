import numpy as np
import pytest
import torch

from segdla.config import load_config, parse
from segdla.data import from_config
from segdla.data.cache import CachedSource
from segdla.data.from_config import (
    DATASETS,
    cached,
    every_split,
    num_workers,
    open_split,
    training_samples,
    training_transform,
    whole_images,
)
from segdla.data.scenes import Scenes
from segdla.errors import UserError

TINY = {"dataset": "scenes", "size": [32, 48], "train": 3, "val": 2, "crop": [32, 32], "workers": 0}


def test_a_split_is_opened_by_the_data_sets_line(monkeypatch):
    config = parse({"data": TINY})
    assert [len(open_split(config, split)) for split in ("train", "val", "test")] == [3, 2, 60]
    monkeypatch.setitem(DATASETS, "scenes", lambda data, split: Scenes(split, data.val + 3, data.size))
    assert len(open_split(config, "train")) == 5


def test_the_first_of_many_problems_is_named_and_the_others_counted(two_folders, tmp_path):
    config = load_config(two_folders)
    for name in ("scene 1.png", "scene 2.png", "scene 3.png"):
        (tmp_path / "set" / "train" / "masks" / name).unlink()
    with pytest.raises(UserError, match=r"no mask for .*scene 1\.png.*\(and 2 more: segdla check CONFIG lists them\)$"):
        open_split(config, "train")
    (tmp_path / "set" / "val" / "masks" / "scene 4.png").unlink()
    with pytest.raises(UserError, match=r"no mask for .*scene 4\.png: expected .*scene 4\.png$"):
        open_split(config, "val")
    with pytest.raises(UserError, match=r"the config has no data\.test; add its images and masks"):
        open_split(config, "test")


def test_an_empty_split_is_answered(monkeypatch):
    monkeypatch.setitem(DATASETS, "scenes", lambda data, split: Scenes(split, 0, data.size))
    config = parse({"data": TINY})
    with pytest.raises(UserError, match=r"the train split of scenes is empty; check data\.root and its lists"):
        open_split(config, "train")
    assert {split: str(error) for split, error in every_split(config).items()} == {
        split: f"the {split} split is empty" for split in ("train", "val", "test")
    }


def test_the_training_split_holds_the_validation_images_if_the_config_says_so(two_folders):
    assert len(open_split(load_config(two_folders), "train")) == 4
    config = load_config(two_folders, {"data.train_on_val": True})
    assert [len(open_split(config, split)) for split in ("train", "val")] == [6, 2]


def test_every_split_is_opened_with_its_problems_or_its_error(two_folders, tmp_path):
    (tmp_path / "set" / "train" / "masks" / "scene 1.png").unlink()
    splits = every_split(load_config(two_folders, {"data.val.images": "nowhere"}))
    assert set(splits) == {"train", "val"}  # the config has no test split
    assert len(splits["train"]) == 3 and "scene 1.png" in splits["train"].problems[0]
    assert isinstance(splits["val"], UserError) and "no directory" in str(splits["val"])


def test_a_source_is_cached_where_the_config_says(two_folders, tmp_path, monkeypatch):
    config = load_config(two_folders)
    source = open_split(config, "val")
    assert cached(config, source, "val") is source
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for settings, folder in (
        ({"data.cache": "disk"}, tmp_path / "home" / "segdla"),
        ({"data.cache": "disk", "data.cache_folder": str(tmp_path / "mine")}, tmp_path / "mine"),
    ):
        cache = cached(load_config(two_folders, settings), source, "val")
        assert isinstance(cache, CachedSource) and len(list(folder.glob("*.raw"))) == 2
        np.testing.assert_array_equal(cache.read(1)[0], source.read(1)[0])


def test_drawn_scenes_need_no_cache():
    config = parse({"data": TINY})
    source = open_split(config, "train")
    assert cached(config, source, "train") is source


def test_pairs_that_can_not_be_decoded_into_the_cache_are_named(two_folders, tmp_path):
    config = load_config(two_folders, {"data.cache": "disk", "data.cache_folder": str(tmp_path / "cache")})
    source = open_split(config, "train")
    for number in range(2):
        (tmp_path / "set" / "train" / "images" / f"scene {number}.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"scene 0\.png is not an image.*\(and 1 more: segdla check CONFIG lists them\)"
    ):
        cached(config, source, "train")


def test_no_place_in_memory_is_answered(two_folders, monkeypatch):
    def full(source):
        raise OSError("no space left")

    monkeypatch.setattr(from_config, "ram_folder", full)
    config = load_config(two_folders, {"data.cache": "ram"})
    with pytest.raises(UserError, match=r"no place in memory for the cache \(no space left\); set data\.cache=disk"):
        cached(config, open_split(config, "train"), "train")


def training(config):
    source = open_split(config, "train")
    return training_samples(config, source, training_transform(config, source.classes.num_values))


def test_training_samples_are_crops_that_follow_from_the_configs_seed():
    samples, again = (training(parse({"data": TINY, "train": {"seed": 3}})) for _ in range(2))
    other = training(parse({"data": TINY, "train": {"seed": 4}}))
    assert samples[0, 1].image.shape == (3, 32, 32)
    assert torch.equal(samples[2, 1].image, again[2, 1].image)
    assert not torch.equal(samples[2, 1].image, other[2, 1].image)


def test_a_first_image_that_can_not_be_read_is_an_error_before_training(two_folders, tmp_path):
    (tmp_path / "set" / "train" / "images" / "scene 0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"scene 0\.png is not an image"):
        training(load_config(two_folders))


def test_with_skip_the_next_image_stands_in_and_the_cache_is_for_validation(two_folders, tmp_path, capsys):
    (tmp_path / "set" / "train" / "images" / "scene 0.png").write_bytes(b"")
    samples = training(load_config(two_folders, {"data.unreadable": "skip", "data.cache": "disk"}))
    sample = samples[0, 0]
    assert sample.name == "scene 1" and "scene 0.png" in sample.unreadable[0]
    assert "data.unreadable is skip, so training reads the files themselves" in capsys.readouterr().out
    assert not isinstance(samples.source, CachedSource)


def test_whole_images_come_in_the_configs_batches():
    config = parse({"data": TINY, "eval": {"batch_size": 2}})
    images = whole_images(config, open_split(config, "train"), torch.device("cpu"))
    assert [tuple(batch.images.shape) for batch in images] == [(2, 3, 32, 48), (1, 3, 32, 48)]


def test_workers_are_the_configs_or_one_a_processor(monkeypatch):
    assert num_workers(parse({"data": {**TINY, "workers": 3}})) == 3
    config = parse({"data": {**TINY, "workers": None}})
    for processors, expected in ((2, 2), (64, 8)):
        monkeypatch.setattr(from_config, "usable_processors", lambda processors=processors: processors)
        assert num_workers(config) == expected
