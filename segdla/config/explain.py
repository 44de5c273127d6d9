"""Turn pydantic's errors about a config into sentences: the key, its value and the remedy."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from segdla.config.keys import keys_beside, keys_named, written_path
from segdla.errors import nearest, one_line, quoted

_MOST_SENTENCES = 6


def explain(errors: Sequence[Mapping[str, Any]], config: type[BaseModel]) -> list[str]:
    """Return a sentence for each of pydantic's errors about a ``config``; of many errors, for the first ones.

    Repetitions are left out, and so are errors that only follow from one further inside.
    """
    paths = [written_path(error["loc"], config) for error in errors]
    outer = {path[:length] for path in paths for length in range(len(path))}
    inmost = [error for error, path in zip(errors, paths, strict=True) if path not in outer]
    sentences = dict.fromkeys(one_line(_explain(error, config), 500) for error in inmost[:_MOST_SENTENCES])
    more = len(inmost) - _MOST_SENTENCES
    return [*sentences, *([f"and {more} more"] if more > 0 else [])]


def _explain(error: Mapping[str, Any], config: type[BaseModel]) -> str:
    path = written_path(error["loc"], config)
    key = _key(path)
    match error["type"]:
        case "extra_forbidden":
            elsewhere = keys_named(path[-1], config) if len(path) == 1 else []
            near = nearest(str(path[-1]), keys_beside(error["loc"], config))
            meant = [_key(place) for place in elsewhere] or ([_key((*path[:-1], near))] if near else [])
            return f"unknown key {key}" + (f", did you mean {' or '.join(meant)}?" if meant else "")
        case "union_tag_not_found":
            return f"{_key((*path, 'dataset'))} is missing"
        case "missing":
            return f"{key} is missing"
        case "union_tag_invalid":
            return f"data.dataset is {quoted(error['ctx']['tag'])}; it must be one of {error['ctx']['expected_tags']}"
        case "value_error":
            return f"{key}: {error['ctx']['error']}" if path else str(error["ctx"]["error"])  # of several sections
        case "string_type" if isinstance(error["input"], bool):  # YAML's yes, no, on, off
            return f"{key} is {error['input']!r}: put the word in quotes"
        case _:
            reason = error["msg"].replace("Input should", "it should", 1).replace("valid tuple", "list")
            return f"{key} is {quoted(error['input'])}: {reason}"


def _key(path: Sequence[str | int]) -> str:
    return quoted(".".join(map(str, path)))
