"""Read damaged and hostile configs: python benchmarks/fuzz_configs.py [--configs 10000] [--seed 0]

Each must give a Config, whose dump gives the same Config again, or a UserError of one line of bounded length. Configs
of this repository are edited as text, text is put together from pieces of YAML, and random keys are overridden with odd
values. The tests try fewer, and keep what fails small.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from segdla.config import Config, dump, parse_overrides, parse_yaml
from segdla.config.data import CamVidConfig, CityscapesConfig, FolderConfig, FolderSplit, ScenesConfig
from segdla.errors import UserError

MOST_CHARACTERS = 3500  # of a message
MOST_SECONDS = 30
CONFIGS = Path(__file__).parents[1] / "configs"
FOLDER = """\
data:
  dataset: folder
  root: set
  classes: [background, square, disc]
  colors: [[0, 0, 0], [255, 0, 0], [0, 0, 255]]
  label_map: {0: background, 7: square, 010: disc}
  ignore: [255]
  train: {images: train/images, masks: train/masks, mask_suffix: _L}
  val: {list: val.txt}
"""
CHARACTERS = "\0\n\t\r\x1b\x85\xa0\u2028\u200d\ufeff\ud800\U0001f600é道'\"\\[]{}<>:,#&*!|%@`-?=~. 0aA_"
SCALARS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "7",
        "010",
        "1_000",
        "1:30",
        "0x1F",
        "1e26",
        "1e-4",
        "1e999",
        ".inf",
        ".nan",
        "-0.0",
        "9" * 30,
    ),
    *("9" * 5000, "true", "no", "null", "~", "''", '"\\0"', '"\\ud800"', '"\\n"', "2026-11-28", "<<", "=", "x" * 5000),
    *(
        "!!int ''",
        "!!bool x",
        "!!float 1:1",
        "!!timestamp x",
        "!!binary gIGC",
        "!!set {a}",
        "!!python/name:os.system ''",
    ),
    *("&a", "*a", "!a", "auto", "whole", "folder", "scenes", "camvid", "enet", "step", "'a #b'", "a #b", "[/]", "\\x"),
)
PIECES = (
    *(
        "data:",
        "train:",
        "model:",
        "loss:",
        "eval:",
        " dataset: ",
        "  ",
        "\n",
        ": ",
        "- ",
        "? ",
        "---\n",
        "...\n",
        "#",
        "%TAG ",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ", ",
        "[" * 60,
        "{a: " * 60,
        "&a ",
        "*a",
        "<<: *a",
        "&a [*a, *a]",
        "|\n",
        ">-\n",
        "!!str ",
        "\n  ",
    ),
    "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 20))]),
)


class Edit(NamedTuple):
    """A change of a text; ``place`` is a share of its length, 0..1."""

    kind: str
    place: float
    number: int


KINDS = ("piece", "scalar", "value", "key", "character", "take out", "double", "cut", "indent")


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with all edits made, in order."""
    for kind, place, number in edits:
        start = int(place * len(text))
        before, after = text[:start], text[start:]
        line, rest = (*after.split("\n", 1), "")[:2]
        length = 1 + number % 64
        scalar = SCALARS[number % len(SCALARS)]
        text = (
            before
            + {
                "piece": PIECES[number % len(PIECES)] + after,
                "scalar": scalar + after,
                "value": f"{line.partition(':')[0]}: {scalar}\n{rest}",
                "key": f"\n  {scalar}: {after}",
                "character": CHARACTERS[number % len(CHARACTERS)] + after,
                "take out": after[length:],
                "double": after[:length] + after,
                "cut": "",
                "indent": after.replace("\n", "\n ", number % 4),
            }[kind]
        )
    return text


def keys(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the keys of a section, and of the sections in it, as overrides name them."""
    for name, field in section.model_fields.items():
        yield before + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{before}{name}.")


KEYS = sorted(
    {
        *keys(Config),
        *(key for data in (ScenesConfig, CamVidConfig, CityscapesConfig, FolderConfig) for key in keys(data, "data.")),
        *keys(FolderSplit, "data.test."),
        *("", ".", "data.label_map.7", "data.augment.transforms", "x", "data.[a]", "train.lr.x", "a" * 500, "data.\0"),
    }
)
VALUES = (
    *SCALARS,
    *(f"[{a}, {b}]" for a in SCALARS[:16] for b in ("0", "100000", "a")),
    *(
        "[]",
        "{}",
        "[",
        "{a: 1, a: 2}",
        "[{Blur: {p: .nan}}]",
        "[{Blur: {1: {2: [3]}}}]",
        "[{Blur: }]",
        "[a, b]",
        "[square]",
    ),
    *('[{Blur: {p: "\\ud800"}}]', '[{"\\ud800": {}}]', "[{Blur: {p: !!binary gIGC}}]", "[{Blur: {p: 2026-11-28}}]"),
    *("{7: square}", "{-1: square}", "{a: b}", "{[a]: b}", "[" * 60, f"[{'0.5, ' * 5000}1]", "{images: a, masks: b}"),
)


def texts() -> dict[str, str]:
    """Return the configs that are edited, by name; one is empty."""
    whole = {path.stem: path.read_text(encoding="utf-8") for path in sorted(CONFIGS.glob("*.yaml"))}
    return whole | {"folder": FOLDER, "dump": dump(parse_yaml(FOLDER)), "empty": ""}


def read(text: str, words: Sequence[str]) -> str:
    """Read a config with overrides; return the outcome. Raises what reading raises that is no UserError."""
    start = time.process_time()
    try:
        config: Any = parse_yaml(text, parse_overrides(words), source="config.yaml")
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) <= MOST_CHARACTERS, f"no short line: {message[:1000]!r}"
        outcome = "answered"
    else:
        assert isinstance(config, Config)
        again = parse_yaml(dump(config))
        assert dump(again) == dump(config)
        outcome = "read"
    seconds = time.process_time() - start
    assert seconds < MOST_SECONDS, f"took {seconds:.0f} s"
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=10_000, help="number of configs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the edits")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    whole, outcomes, start, slowest = texts(), Counter[str](), time.perf_counter(), 0.0
    for number in range(args.configs):
        name = draw.choice(list(whole))
        count = draw.choice((0, 0, 0, 0, 1, 1, 2, 20 if name == "empty" else 8))
        edits = [Edit(draw.choice(KINDS), draw.random(), draw.getrandbits(16)) for _ in range(count)]
        words = [f"{draw.choice(KEYS)}={draw.choice(VALUES)}" for _ in range(draw.choice((0, 0, 1, 1, 2)))]
        before = time.perf_counter()
        try:
            outcomes[read(edited(whole[name], edits), words)] += 1
        except Exception:
            outcomes["failed"] += 1
            print(f"{number}: {name}, {edits}, {[word[:200] for word in words]}", file=sys.stderr)
            traceback.print_exc()
        slowest = max(slowest, time.perf_counter() - before)
    seconds = time.perf_counter() - start
    print(f"{args.configs} configs in {seconds:.0f} s, the slowest in {slowest:.1f} s: {dict(outcomes)}")
    sys.exit(outcomes["failed"] > 0)


if __name__ == "__main__":
    main()
