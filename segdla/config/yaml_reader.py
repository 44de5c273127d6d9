"""Read YAML as far as configs need it: bounded, with decimal numbers, and one UserError for anything wrong."""

import re
from collections import Counter
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from segdla.errors import UserError, one_line, quoted

MOST_CHARACTERS = 250_000
_MOST_VALUES = 20_000  # with aliases written out
_MOST_LEVELS = 40
_TAG = "tag:yaml.org,2002:"


def read_yaml(text: str, source: str) -> Any:
    """Return the value of YAML text: dicts, lists, strings, numbers, booleans and null. ``source`` names it in errors.

    A number is decimal: 010 and 1:30, which YAML 1.1 takes for 8 and 90, are strings, and so are dates.

    Raises UserError if the text is too long, nested too deeply, too large once its aliases are written out, or not
    YAML.
    """
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{source}: more than {MOST_CHARACTERS:,} characters are no config")
    try:
        return yaml.load(text, _Loader)
    # Besides its own errors, PyYAML lets through those of Python: of int(), float(), and of characters it can't take.
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: not valid YAML ({one_line(' '.join(str(error).split()))})") from None


def read_word(text: str, source: str, *, as_text: bool, nullable: bool) -> Any:
    """Return the value of a word of the command line; ``source`` names it in errors.

    Lists, mappings, numbers, booleans, null and words in quotes are read as YAML. Any other word is taken as it is. For
    a key whose value is text, so is each word but one in quotes, and null if the key may be null.

    Raises UserError if a word that begins like YAML is none.
    """
    word = text.strip()
    in_quotes = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
    if as_text and not in_quotes:
        return None if nullable and word == "null" else text
    return read_yaml(word, source) if in_quotes or word[:1] in ("[", "{", "!") or _is_plain_value(word) else text


def _is_plain_value(word: str) -> bool:
    """Return True if YAML takes a word without quotes for a number, a boolean or null."""
    tag = _Loader("").resolve(yaml.ScalarNode, word, (True, False)).removeprefix(_TAG)
    return tag in ("null", "bool", "int", "float")


class _Loader(yaml.SafeLoader):
    """A YAML loader that bounds what it reads, rejects a key given twice, and knows the types of JSON alone."""

    def __init__(self, text: str):
        super().__init__(text)
        self._level = 0  # of the node being read
        self._lowest = 0  # the largest level in it so far
        self._values = 0  # in all so far
        self._extents: dict[yaml.Node, tuple[int, int]] = {}  # values and levels of nodes already read

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Read a node, after those in it. Raises ComposerError if the text exceeds a limit."""
        event = self.peek_event()
        lowest, values = self._lowest, self._values
        self._level += 1
        self._lowest = self._level
        self._require_bounds()
        if isinstance(event, yaml.ScalarEvent) and re.search("[\ud800-\udfff]", event.value):
            raise ComposerError(None, None, f"{quoted(event.value)} holds half a character", self.get_mark())
        node = super().compose_node(parent, index)
        assert node is not None  # an event is a node's, or an alias to one
        if isinstance(event, yaml.AliasEvent):
            if node not in self._extents:
                raise ComposerError(None, None, f"{quoted(event.anchor)} holds an alias to itself", self.get_mark())
            more_values, more_levels = self._extents[node]
            self._values += more_values
            self._lowest += more_levels
        else:
            self._values += 1
            self._extents[node] = self._values - values, self._lowest - self._level
        self._require_bounds()
        self._lowest = max(lowest, self._lowest)
        self._level -= 1
        return node

    def _require_bounds(self) -> None:
        if self._lowest > _MOST_LEVELS:
            raise ComposerError(None, None, f"nested more than {_MOST_LEVELS} deep", self.get_mark())
        if self._values > _MOST_VALUES:
            raise ComposerError(None, None, f"more than {_MOST_VALUES:,} values", self.get_mark())

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping. Raises ConstructorError if it holds a key twice; 7 and 007 are one key."""
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        keys = [re.sub(r"^\+?0*(?=[0-9]+$)", "", key) for key in keys]
        key, count = Counter(keys).most_common(1)[0] if keys else ("", 0)
        if count > 1:
            raise ConstructorError(None, None, f"the key {quoted(key)} is given twice", node.start_mark)
        return node

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        """Return a whole number in decimal digits. Raises ConstructorError for another notation."""
        text = self.construct_scalar(node)
        if not re.fullmatch("[-+]?[0-9]+", text):
            raise ConstructorError(None, None, f"{quoted(text)} is no decimal number", node.start_mark)
        return int(text)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Return a number in decimal notation. Raises ConstructorError for another notation."""
        if re.search("[:_]", self.construct_scalar(node)):
            raise ConstructorError(None, None, f"{quoted(node.value)} is no decimal number", node.start_mark)
        return self.construct_yaml_float(node)


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG) in ("null", "bool", "merge")]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in ("null", "bool", "str", "seq", "map")
}
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_whole)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_float)
