"""The paper's figure 2: which outputs meet in which nodes, counted as the modules are called."""

from functools import partial

import pytest
import torch
from torch import nn

from segdla.config import ModelConfig
from segdla.models.aggregation import AGGREGATIONS
from segdla.models.dla import VARIANTS, BasicBlock, Root, Tree

CHANNELS = 8
DEEP = [name for name in AGGREGATIONS if name != "none"]


def level(name, depth=2, level_root=False, in_channels=4):
    return AGGREGATIONS[name](depth, BasicBlock, in_channels, CHANNELS, 2, level_root=level_root).eval()


def edges(module, inputs=(1, 4, 16, 16)):
    """Return which outputs each block (1, 2, ...) and each node (a, b, ...) is given, in the order they are called."""
    sources, kept, given = {}, [], {}
    letters, numbers = iter("abcdefgh"), iter("123456789")

    def note(called, args, output):
        name = next(numbers if isinstance(called, BasicBlock) else letters)
        given[name] = sorted({sources[id(tensor)] for tensor in args if id(tensor) in sources})
        sources[id(output)] = name
        kept.append(output)  # so that its id is not given away

    for part in module.modules():
        if isinstance(part, BasicBlock | Root):
            part.register_forward_hook(note)
    with torch.no_grad():
        output = module(torch.randn(inputs))
    return given, sources[id(output)]


# Blocks are numbered as they compute, nodes lettered. Each list holds what goes in, the level's own input apart.
FIGURE_2 = {
    "none": ({"1": [], "2": ["1"], "3": ["2"], "4": ["3"]}, "4"),
    "shallow": (
        {"1": [], "2": ["1"], "3": ["2"], "4": ["3"], "a": ["3", "4"], "b": ["2", "a"], "c": ["1", "b"]},
        "c",
    ),
    "iterative": (
        {"1": [], "2": ["1"], "3": ["2"], "4": ["3"], "a": ["1", "2"], "b": ["3", "a"], "c": ["4", "b"]},
        "c",
    ),
    "tree": (
        {"1": [], "2": ["1"], "3": ["2"], "4": ["3"], "a": ["1", "2"], "b": ["3", "4"], "c": ["a", "b"]},
        "c",
    ),
    "reentrant": (
        {"1": [], "2": ["1"], "a": ["1", "2"], "3": ["a"], "4": ["3"], "b": ["3", "4"], "c": ["a", "b"]},
        "c",
    ),
    "hierarchical": ({"1": [], "2": ["1"], "a": ["1", "2"], "3": ["a"], "4": ["3"], "b": ["3", "4", "a"]}, "b"),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_edges_are_the_figure_s(name):
    assert edges(level(name)) == FIGURE_2[name]


def nodes_passed(given, last):
    """Return through how many nodes each block's output goes to the level's output, on the shortest way."""
    distance = {last: 0}
    for name in reversed(given):  # a thing is called after what it is given
        for source in given[name] if name.isalpha() else ():
            distance[source] = min(distance.get(source, 99), distance[name] + 1)
    return [distance.get(block) for block in "12345678"]


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        ("shallow", [1, 2, 3, 4, 5, 6, 7, 7]),  # the shallowest is aggregated the least
        ("iterative", [7, 7, 6, 5, 4, 3, 2, 1]),  # ... and the most
        ("tree", [3] * 8),  # all alike
        ("reentrant", [3] * 8),
        ("hierarchical", [3, 3, 2, 2, 2, 2, 1, 1]),  # parents are merged with their right children
    ],
)
def test_eight_blocks_are_aggregated_as_deeply_as_the_paper_says(name, passed):
    assert nodes_passed(*edges(level(name, depth=3))) == passed


def test_subtrees_are_fed_what_came_before_only_if_re_entrant():
    fed = {name: edges(level(name, depth=3))[0]["5"] for name in AGGREGATIONS}
    assert {name: source[0].isalpha() for name, source in fed.items()} == {
        **dict.fromkeys(AGGREGATIONS, False),
        "reentrant": True,
        "hierarchical": True,
    }


@pytest.mark.parametrize("name", DEEP)
def test_of_two_blocks_all_aggregations_are_the_same(name):
    torch.manual_seed(0)
    one, tree = level(name, depth=1, level_root=True), level("hierarchical", depth=1, level_root=True)
    theirs = {
        key.replace("blocks.0", "tree1").replace("blocks.1", "tree2").replace("nodes.0", "root"): tensor
        for key, tensor in one.state_dict().items()
    }
    tree.load_state_dict(theirs)
    images = torch.randn(1, 4, 16, 24)
    assert torch.equal(one(images), tree(images))


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_blocks_are_matched():
    counts = {name: num_parameters(VARIANTS["dla46_c"](level=AGGREGATIONS[name])) for name in AGGREGATIONS}
    # Root: 1x1 convolution without bias and two numbers a channel. Levels 2 and 5 have one, 3 and 4 two in a Tree (of
    # 2 and of 3 maps) and three in (b) to (e); the last one of 3, 4 and 5 merges the level's own input too.
    two, three = (lambda c: 2 * c * c + 2 * c), (lambda c: 3 * c * c + 2 * c)
    shared = two(64) + two(256) + 128 * 256 + 64 * 64 + 64 * 128
    assert counts["hierarchical"] - counts["none"] == shared + sum(two(c) + three(c) for c in (64, 128))
    for name in ("shallow", "iterative", "tree", "reentrant"):
        assert counts[name] - counts["none"] == shared + sum(3 * two(c) for c in (64, 128))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_blocks_of_every_variant_are_aggregated_in_every_way(variant):
    depths, _, block = VARIANTS[variant].args
    images = torch.randn(1, 32, 4, 6)
    for aggregation in AGGREGATIONS.values():
        deepest = aggregation(max(depths), block, 32, 64, 2, level_root=True).eval()
        with torch.inference_mode():
            assert deepest(images).shape == (1, 64, 2, 3)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_backbone_of_each_has_the_levels_of_dla(name):
    backbone = VARIANTS["dla46_c"](level=AGGREGATIONS[name]).eval()
    with torch.inference_mode():
        maps = backbone(torch.randn(1, 3, 32, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 32 // stride, 64 // stride) for c, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert sum(isinstance(part, AGGREGATIONS[name]) for part in backbone.children()) == 4


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_gradients_reach_every_parameter(name):
    module = level(name, level_root=True).train()
    module(torch.randn(2, 4, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("name", DEEP)
def test_the_level_s_own_input_reaches_its_last_node(name):
    module = level(name, level_root=True)
    roots = [part for part in module.modules() if isinstance(part, Root)]
    assert [root.conv.in_channels % CHANNELS for root in roots].count(4) == 1
    assert roots[-1].conv.in_channels % CHANNELS == 4


def test_a_seed_draws_what_it_drew_before_there_was_a_choice():
    torch.manual_seed(0)
    backbone = VARIANTS["dla46_c"]()
    drawn = [backbone.level4.tree2.root.conv.weight[0, 0].item(), backbone.level5.root.conv.weight[-1, -1].item()]
    assert drawn == pytest.approx([0.0791248, 0.0493717], rel=1e-4)


def test_nodes_are_handed_in():
    class Sum(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            assert set(in_channels) == {out_channels}

        def forward(self, *children):
            return sum(children)

    module = Tree(2, BasicBlock, 8, 8, node=Sum)
    assert isinstance(module.tree2.root, Sum) and module(torch.randn(2, 8, 4, 4)).shape == (2, 8, 4, 4)
    residual = VARIANTS["dla46_c"](node=partial(Root, residual=True))
    assert all(part.residual for part in residual.modules() if isinstance(part, Root))


def test_the_config_names_every_aggregation():
    assert ModelConfig.model_fields["aggregation"].annotation.__args__ == tuple(AGGREGATIONS)
