"""Why a config does not fit, in a sentence: pydantic's findings as key, value and remedy."""

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel


def explain(problems: Sequence[Mapping[str, Any]], config: type[BaseModel]) -> list[str]:
    """Pydantic's findings about a ``config``, each once, and none of what only follows from one further inside."""
    paths = [_path(problem["loc"]) for problem in problems]
    inmost = [p for p, path in zip(problems, paths, strict=True) if not any(_is_inside(other, path) for other in paths)]
    return list(dict.fromkeys(_explain(problem, config) for problem in inmost))


def _is_inside(path: list[str | int], of: list[str | int]) -> bool:
    return len(path) > len(of) and path[: len(of)] == of


def _explain(problem: Mapping[str, Any], config: type[BaseModel]) -> str:
    path = _path(problem["loc"])
    key = ".".join(map(str, path))
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _siblings(problem["loc"], config), n=1, cutoff=0.5)
            hint = f", did you mean '{'.'.join(map(str, [*path[:-1], near[0]]))}'?" if near else ""
            return f"unknown key '{key}'{hint}"
        case "missing" | "union_tag_not_found":
            return f"'{key + '.dataset' if key == 'data' and problem['type'] != 'missing' else key}' is missing"
        case "union_tag_invalid":
            return f"data.dataset is {problem['ctx']['tag']!r}; it must be one of {problem['ctx']['expected_tags']}"
        case "value_error":
            return f"'{key}': {problem['ctx']['error']}"
        case "string_type" if isinstance(problem["input"], bool):  # YAML's yes, no, on, off
            return f"'{key}' is {problem['input']!r}: put the word in quotes"
        case _:
            said = problem["msg"].replace("Input should", "it should", 1).replace("valid tuple", "list")
            return f"'{key}' is {problem['input']!r}: {said}"


def _path(location: tuple[str | int, ...]) -> list[str | int]:
    """A location as the user wrote it: without the data set's name and the types by which it tells cases apart."""
    return [part for i, part in enumerate(location) if not (i == 1 and location[0] == "data") and "[" not in str(part)]


def _siblings(location: tuple[str | int, ...], config: type[BaseModel]) -> list[str]:
    """The keys that would have been right where the last of ``location`` is not."""
    section: Any = config
    for part in location[:-1]:
        choices = typing.get_args(section) if isinstance(section, types.UnionType) else ()
        if choices:
            section = next(c for c in choices if typing.get_args(c.model_fields["dataset"].annotation)[0] == part)
        elif isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation
            if isinstance(section, types.UnionType) and type(None) in typing.get_args(section):
                section = typing.get_args(section)[0]
        else:
            return []
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
