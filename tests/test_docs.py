"""README.md and docs/ held to the code: every path, link, option and key exists, and every line of Python runs."""

import re
import shlex
from importlib import import_module
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
import yaml
from support import ROOT, photo, write
from torch import nn

import segdla
from segdla.__main__ import VERBS
from segdla.checkpoints import hub
from segdla.commands.arguments import Parser
from segdla.config import TrainConfig, parse, parse_overrides, schema
from segdla.config.reference import COMMAND
from segdla.data import labels, pair_source, pairing, source
from segdla.errors import UserError
from segdla.models import dla, ida
from segdla.models.layers import conv_bn_relu
from segdla.training import from_config

PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "segdla/shipped/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
TOOL_VERBS = {f"tools/{module}.py": verb for verb, (module, _) in VERBS.items()}
# Options of torchrun, tensorboard and python -m segdla.config.
FOREIGN = {"--logdir", "--nproc_per_node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--markdown"}
FOREIGN |= {"--max-restarts", "--signals-to-handle", "--signal"}
STAND_IN = """
data: {dataset: scenes, size: [32, 32], crop: [32, 32], train: 2, val: 2, test: 2, workers: 0}
model: {backbone: dla46_c, output_stride: 4}
train: {epochs: 2, batch_size: 2, optimizer: adamw, eval_every: 100}
"""

by_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def text_of(path):
    return path.read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def prose(text):
    """The text without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text):
    """The code between single backquotes."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def commands(text):
    """The words of every command in the shell blocks, without comments."""
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\||;", re.sub(r"(^|\s)#.*", "", line)):
                words = shlex.split(command)
                if words:
                    yield words


def parser_of(verb):
    command = import_module(f"segdla.commands.{VERBS[verb][0]}")
    parser = Parser(f"segdla {verb}", command.DESCRIPTION)
    command.add_arguments(parser)
    return parser


def verb_and_arguments(words):
    """A verb of ours and its arguments in a command line, or None."""
    for place, word in enumerate(words):
        if word == "segdla" and words[place + 1 :]:
            return words[place + 1], words[place + 2 :]
        if word in TOOL_VERBS:
            return TOOL_VERBS[word], words[place + 1 :]
    return None


def options():
    return {option for verb in VERBS for option in parser_of(verb)._option_string_actions}


def keys(part, prefix=""):
    """The keys of the config with those of all data sets, dotted."""
    if "$ref" in part:
        part = schema()["$defs"][part["$ref"].rsplit("/")[-1]]
    for choice in [*part.get("anyOf", ()), *part.get("oneOf", ())]:
        yield from keys(choice, prefix)
    for key, value in part.get("properties", {}).items():
        yield f"{prefix}{key}"
        yield from keys(value, f"{prefix}{key}.")


KEYS = set(keys(schema()))


def anchors(text):
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@by_page
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text_of(path))):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        place = path.parent / file if file else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(text_of(place)), target


@by_page
def test_paths_exist(path):
    """Paths into the repository, in prose and in commands."""
    top = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")} | {".ci", ".github"}
    words = [word for span in spans(text_of(path)) for word in span.split()]
    words += [word for command in commands(text_of(path)) for word in command]
    for word in words:
        word = word.removeprefix("model.weights=").rstrip(",;:")
        first, slash, _ = word.partition("/")
        if slash and first in top and not re.search(r"[*{}$<>]|NAME|ROOM|FILE|mine", word):
            assert (ROOT / word).exists(), word


@by_page
def test_commands_are_understood(path):
    for words in commands(text_of(path)):
        call = verb_and_arguments(words)
        if call is None:
            continue
        verb, arguments = call
        assert verb in VERBS, " ".join(words)
        try:
            args = parser_of(verb).parse_intermixed_args([word for word in arguments if word != "..."])
        except UserError as error:
            pytest.fail(f"{' '.join(words)}: {error}")
        assert set(parse_overrides(getattr(args, "overrides", []))) <= KEYS, " ".join(words)


@by_page
def test_options_and_keys_exist(path):
    if path.parent.name == "benchmarks":
        return
    known = options() | FOREIGN
    for span in spans(text_of(path)):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
            assert option in known, span
        key = re.match(r"((?:data|model|loss|train|eval)(?:\.[a-z_]+)+)(?![\w.(])", span)
        if key and key[1] != "model.safetensors":  # a file of timm's
            assert key[1] in KEYS, span


@by_page
def test_names_of_the_package_exist(path):
    if path.name == "CHANGELOG.md":
        return
    for span in spans(text_of(path)):
        for name in re.findall(r"(?<![\w./])segdla\.(\w+)", span):
            home = getattr(segdla, name, None) or import_module(f"segdla.{name}")
            assert home is not None, span


def test_the_readme_is_short_and_keeps_its_promises():
    text = text_of(ROOT / "README.md")
    assert len(text.splitlines()) <= 160
    assert "pip install -r requirements.txt && python tools/train.py configs/quickstart.yaml\n" in text
    assert "pip install -r requirements-dev.txt && pytest\n" in text
    for verb in VERBS:
        assert re.search(rf"^segdla {verb}\b", text, re.MULTILINE), verb
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page


def test_every_room_is_named():
    rooms = {f"{path.name}/" for path in (ROOT / "segdla").iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.name for path in (ROOT / "segdla").glob("*.py") if not path.name.startswith("_")}
    for page in (ROOT / "README.md", ROOT / "docs" / "design.md"):
        lines = text_of(page).splitlines()
        for room in rooms:
            assert any(re.match(rf" +{re.escape(room)} ", line) for line in lines), (page, room)


def test_everything_is_where_the_design_says():
    text = text_of(ROOT / "docs" / "design.md")
    rows = re.findall(r"\| (`\w+`(?:, `\w+`)*) \| `([\w/]+)\.py` \|", text)
    assert len(rows) > 30
    for names, file in rows:
        home = f"segdla.{file.replace('/', '.')}"
        for name in re.findall(r"\w+", names):
            assert getattr(import_module(home), name).__module__ == home


def test_the_changelog_begins_with_this_version():
    assert re.search(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)[1] == segdla.__version__


def test_files_for_services_are_valid():
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "references"} <= citation.keys()
    workflows = {path.stem: yaml.safe_load(text_of(path)) for path in (ROOT / ".github/workflows").glob("*.yml")}
    runs = {
        name: [step.get("run") for job in flow["jobs"].values() for step in job["steps"]]
        for name, flow in workflows.items()
    }
    assert ".ci/run" in runs["ci"]
    assert "pytest" in runs["lowest"]
    hooks = yaml.safe_load(text_of(ROOT / ".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format"]


def test_yaml_in_the_docs_is_valid():
    for path in PAGES:
        for block in blocks(text_of(path), "yaml"):
            parse(yaml.safe_load(block), source=str(path))


class Backbone(nn.Module):
    """Three maps in no time, for DLA's six."""

    channels, strides = (4, 8, 8), (2, 4, 8)

    def __init__(self, **parts):  # of a level and a node it has none
        super().__init__()
        steps = ((3, 4), (4, 8), (8, 8))
        self.levels = nn.ModuleList(nn.Sequential(*conv_bn_relu(i, o, 3, stride=2)) for i, o in steps)

    def forward(self, x):
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A small config, network and image under the names that docs/python.md uses, and a hub that is a dict."""
    monkeypatch.setitem(dla.VARIANTS, "dla46_c", Backbone)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(STAND_IN, encoding="utf-8")
    cv2.imwrite("street.jpg", photo(40, 60))
    uploads = {}
    monkeypatch.setattr(hub, "upload", lambda name, path, card, private: uploads.setdefault(f"hf://{name}", path))
    monkeypatch.setattr(hub, "download", uploads.__getitem__)


@pytest.mark.usefixtures("stand_ins")
def test_every_line_of_the_python_page_runs():
    page = ROOT / "docs" / "python.md"
    module = ModuleType("python_page")
    for block in blocks(text_of(page), "python"):
        line = text_of(page)[: text_of(page).index(block)].count("\n")
        exec(compile("\n" * line + block, page, "exec"), module.__dict__)


def test_what_contributing_adds_works(tmp_path):
    """Its snippets are lines of files of the package: each runs among the names of its file."""
    names = {}
    for module in (from_config, dla, ida, pair_source, pairing, source, labels):
        for key, value in vars(module).items():
            names[key] = dict(value) if isinstance(value, dict) else value  # a copy to add to
    names |= {"CLASSES": source.Classes(("a",), ((1, 2, 3),)), "TRAIN_IDS": {0: 0}}
    for block in blocks(text_of(ROOT / "CONTRIBUTING.md"), "python"):
        exec(block, names)
    write(tmp_path / "train" / "images" / "1.png", photo(8, 8))
    write(tmp_path / "train" / "labels" / "1.png", np.zeros((8, 8), np.uint8))
    assert names["potsdam"](str(tmp_path), "train").target(0).max() == 0
    backbone = names["VARIANTS"]["dla38"]()
    decoder = ida.DLAUp(backbone.channels[3:], backbone.strides[3:], node=names["SumNode"])
    assert decoder(backbone(torch.zeros(2, 3, 64, 64))[3:]).shape == (2, 128, 8, 8)
    groups = [{"params": decoder.parameters()}]
    assert names["OPTIMIZERS"]["rmsprop"](groups, TrainConfig(), fused=False).defaults["momentum"] == 0.9


def test_the_page_of_keys_says_how_it_is_made():
    assert COMMAND in text_of(ROOT / "docs" / "config.md")
