"""Follow keys through the config's sections: which part of a location the user wrote, and what may stand there."""

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

Path = tuple[str | int, ...]


def written_path(location: Sequence[str | int], config: type[BaseModel]) -> Path:
    """Return pydantic's location of an error as the user wrote it, without the names of a union's branches."""
    return tuple(part for part, _ in _steps(location, config))


def keys_beside(location: Sequence[str | int], config: type[BaseModel]) -> list[str]:
    """Return the keys that exist where the last part of a location does not."""
    section = [section for _, section in _steps(location, config)][-1]
    return list(section.model_fields) if section else []


def keys_named(name: str | int, config: type[BaseModel]) -> list[Path]:
    """Return the keys of that name in the config's sections."""
    sections = {section: _choices(field.annotation) for section, field in config.model_fields.items()}
    return [
        (section, name)
        for section, choices in sections.items()
        if any(_is_section(choice) and name in choice.model_fields for choice in choices)
    ]


def takes_text(path: Sequence[str], config: type[BaseModel]) -> tuple[bool, bool]:
    """Return whether a key's value is text, whichever data set is meant, and whether it may be null."""
    kinds: list[Any] = [config]
    for part in path:
        sections = [choice for kind in kinds for choice in _choices(kind) if _is_section(choice)]
        kinds = [section.model_fields[part].annotation for section in sections if part in section.model_fields]
    nullable = any(types.NoneType in typing.get_args(kind) for kind in kinds)
    return bool(kinds) and all(str in _choices(kind) for kind in kinds), nullable


def _steps(location: Sequence[str | int], config: type[BaseModel]) -> Iterator[tuple[str | int, Any]]:
    """Yield each part of a location that the user wrote, and the section in which it is a key, if it is one."""
    kind: Any = config
    for part in location:
        choices = _choices(kind)
        if len(choices) > 1:  # pydantic puts the name of the branch here
            kind = next((c for c in choices if _is_section(c) and _dataset(c) == part), None)
            continue
        kind = choices[0]
        section = kind if _is_section(kind) else None
        if section or part != "[key]":
            yield part, section
        kind = section.model_fields[part].annotation if section and part in section.model_fields else None


def _choices(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union apart from None, or the type itself."""
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return (_bare(kind),)
    return tuple(_bare(choice) for choice in typing.get_args(kind) if choice is not types.NoneType)


def _bare(kind: Any) -> Any:
    """Return a type without the limits that Annotated adds."""
    return kind.__origin__ if typing.get_origin(kind) is typing.Annotated else kind


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _dataset(section: type[BaseModel]) -> str:
    return typing.get_args(section.model_fields["dataset"].annotation)[0]
