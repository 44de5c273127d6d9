import re
import shlex
from pathlib import Path

import pytest

import segdla
from segdla.errors import in_shell, one_line, quoted


def test_short_values_are_quoted_as_they_are():
    for value in ("a", "it's", "", None, 1.5, -3, ["a", "b"], {"a": (1, 2)}, "Straße", "道路"):
        assert quoted(value) == repr(value)


def test_long_values_keep_their_ends():
    assert quoted("a" * 1000 + "end", 20) == "'aaaaaaa...aaaaaend'"
    assert one_line("b" * 1000 + "end", 10) == "bbbb...end"


def test_values_of_any_size_are_on_one_short_line():
    nested = "deep"
    for _ in range(5000):
        nested = [nested]
    endless = []
    endless.append(endless)
    for value in ("a\n" * 10**5, list(range(10**5)), {str(i): i for i in range(10**4)}, 10**10000, nested, endless):
        assert len(quoted(value)) <= 120 and quoted(value).isprintable()


def test_control_characters_are_escaped():
    assert one_line("a\nb\x1b[0m\udc80\u200b") == "a\\nb\\x1b[0m\\udc80\\u200b"
    assert len(one_line("\U000e0001" * 100, 50)) == 50


@pytest.mark.parametrize("path", ["runs/mine", "my runs/it's", "runs/$HOME", "runs/straße", "-x/mine"])
def test_a_path_in_a_command_is_one_word_of_a_shell(path):
    (word,) = shlex.split(in_shell(Path(path)))
    assert Path(word) == Path(path) and not word.startswith("-")
    assert shlex.split(in_shell(Path(path), "model.weights")) == [f"model.weights={path}"]


def test_no_command_that_is_proposed_has_a_path_as_it_is():
    command = re.compile(r"(--resume|--checkpoint|segdla (train|test|check|pretrain)) \{(?!in_shell|config\})")
    for file in Path(segdla.__file__).parent.rglob("*.py"):
        assert not command.search(file.read_text(encoding="utf-8")), file
