from typing import get_args

import pytest
from pydantic import BaseModel

from segdla.config import Config, ModelConfig, parse
from segdla.config.loss import TERMS
from segdla.config.model import Network, NodeName, Variant
from segdla.config.section import Section
from segdla.errors import UserError
from segdla.models.aggregation import AGGREGATIONS
from segdla.models.dla import VARIANTS
from segdla.models.from_config import DECODERS
from segdla.models.nodes import NODES
from segdla.models.torchvision_networks import NETWORKS
from segdla.models.upsample import UPSAMPLERS
from segdla.training.from_config import LOSSES, OPTIMIZERS, SCHEDULES

SCENES = {"data": {"dataset": "scenes"}}


def sections(section=Section):
    for one in section.__subclasses__():
        yield one
        yield from sections(one)


def choices(section, key):
    return set(get_args(section.model_fields[key].annotation))


def test_choices_are_what_there_is():
    fields = Config.model_fields
    train, loss = fields["train"].annotation, fields["loss"].annotation
    assert set(get_args(Variant)) == set(VARIANTS)
    assert set(get_args(Network)) == set(NETWORKS)
    assert choices(ModelConfig, "aggregation") == set(AGGREGATIONS)
    assert choices(ModelConfig, "decoder") == set(DECODERS)
    assert set(get_args(NodeName)) == set(NODES)
    assert choices(ModelConfig, "upsample") == set(UPSAMPLERS)
    assert choices(train, "optimizer") == set(OPTIMIZERS)
    assert choices(train, "schedule") == set(SCHEDULES)
    assert {head: tuple(terms) for head, terms in LOSSES.items()} == TERMS
    assert {term for terms in TERMS.values() for term in terms} <= set(loss.model_fields)


def test_every_section_and_key_says_what_it_is():
    for section in sections():
        assert section.__doc__ and section.__doc__ != BaseModel.__doc__, section
        for key, field in section.model_fields.items():
            text = field.description
            assert text and text[0].isupper() and text.endswith("."), (section, key)


def test_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        parse(SCENES).train.lr = 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"loss.class_weights": [0, 0]}, "class_weights are all 0"),
        (
            {"loss": {"cross_entropy": 0, "dice": 1, "class_weights": "enet"}},
            "class_weights are of cross_entropy, ohem and focal",
        ),
        ({"loss": {"cross_entropy": 0, "ohem": 1, "label_smoothing": 0.1}}, "label_smoothing is of cross_entropy"),
        ({"loss.cross_entropy": 0}, "all terms are 0"),
        ({"loss.focal": 1}, r"loss.focal is not of head softmax \(model.head\), whose terms are cross_entropy, ohem"),
        ({"model.head": "sigmoid", "loss.lovasz": 1}, "loss.lovasz is not of head sigmoid"),
        ({"eval.threshold": 0.3}, "eval.threshold is for head sigmoid; leave it out, or set model.head"),
        ({"train.schedule": "step"}, "go together"),
        ({"train.milestones": [3]}, "go together"),
        ({"train.accumulate": 3}, "batch_size 16 is not accumulate \\(3\\) equal parts"),
    ],
)
def test_rules_across_keys(override, message):
    with pytest.raises(UserError, match=message):
        parse(SCENES, override)


def test_trains_on_val():
    camvid = {"dataset": "camvid", "root": "x"}
    assert parse({"data": camvid | {"train_on_val": True}}).trains_on_val
    assert not parse({"data": camvid}).trains_on_val
    assert not parse(SCENES).trains_on_val


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("train.batch_size", 10**11, 65536),
        ("eval.batch_size", 10**11, 65536),
        ("train.epochs", 10**30, 10**9),
        ("train.warmup_steps", 10**30, 10**9),
        ("train.lr", 1e300, 1000),
        ("eval.window", [64, 10**9], 32000),
        ("eval.scales", [1, 17], 16),
    ],
)
def test_numbers_have_limits_that_are_named(key, value, limit):
    with pytest.raises(UserError, match=f"{key}.*less than or equal to {limit}"):
        parse(SCENES, {key: value})


def test_weights_hold_no_nul():
    with pytest.raises(UserError, match="holds a NUL character"):
        parse(SCENES, {"model.weights": "a\0b"})
