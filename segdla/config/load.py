"""Read a config: YAML and overrides in, a frozen ``Config`` out, or one UserError that says what is wrong."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from segdla.config.explain import explain
from segdla.config.keys import takes_text
from segdla.config.sections import Config
from segdla.config.yaml_reader import MOST_CHARACTERS, read_word, read_yaml
from segdla.errors import UserError, nearest, one_line, quoted

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (Path("configs"), _PACKAGE / "shipped", _PACKAGE.parent / "configs")  # here, in the wheel, in the clone
_MOST_PARTS = 8  # of a key with dots


def find_config(config: str | os.PathLike[str]) -> Path:
    """Return the path of a config file; a bare name is one in ``configs/`` here, else one that comes with the package.

    ``~`` is the home folder. A path at which there is nothing is returned as it is.
    """
    path = Path(os.path.expanduser(config))  # noqa: PTH111 (without such a home, the name stays as it is)
    named = [folder / f"{path}.yaml" for folder in _FOLDERS] if len(path.parts) == 1 else []
    return next((file for file in (path, *named) if os.path.isfile(file)), path)  # noqa: PTH113 (long names are none)


def is_config(path: Path) -> bool:
    """Return whether a file is YAML with a section data, which YOLO's has not."""
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return False
    return re.search("^data:", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE) is not None


def load_config(config: str | os.PathLike[str] | Config, overrides: Mapping[str, Any] | None = None) -> Config:
    """Load a YAML file, or take a ``Config`` as it is, and apply overrides: ``{"section.key": value}``.

    The file may be named as ``find_config`` takes it.

    Raises UserError if the file can't be read, or a key or value is wrong.
    """
    if isinstance(config, Config):
        return parse(config.model_dump(mode="json"), overrides) if overrides else config
    path = find_config(config)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)  # /dev/zero has no end
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        reason = getattr(error, "strerror", None) or error
        near = nearest(path.stem, _names()) if isinstance(error, FileNotFoundError) else None
        remedy = f", did you mean {near}?" if near else ""
        raise UserError(f"cannot read the config {one_line(path)}: {reason}{remedy}") from error
    return parse_yaml(text, overrides, source=str(path))


def parse_yaml(text: str, overrides: Mapping[str, Any] | None = None, source: str = "config") -> Config:
    """Parse YAML text and apply overrides; ``source`` names the text in errors.

    Raises UserError if the text is not YAML, or a key or value is wrong.
    """
    return parse(read_yaml(text, one_line(source)), overrides, source)


def parse(values: Any, overrides: Mapping[str, Any] | None = None, source: str = "config") -> Config:
    """Check nested dicts and apply overrides; ``source`` names the config in errors.

    Raises UserError if a key or value is wrong.
    """
    source = one_line(source)
    if not isinstance(values, dict):
        raise UserError(
            f"{source}: a config is a mapping of sections (data, model, loss, train, eval), not {quoted(values)}"
        )
    for key, value in (overrides or {}).items():
        path = key.split(".")
        if len(path) > _MOST_PARTS:
            raise UserError(f"{source}: unknown key {quoted(key)}")
        values = _with_value(values, path, value)
    # A section whose lines are all comments is null.
    values = {key: {} if section is None else section for key, section in values.items()}
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {'; '.join(explain(error.errors(), Config))}") from None


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Parse words of the command line, ``section.key=value``; ``read_word`` says which values are YAML.

    Raises UserError if a word is not of that form.
    """
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not all(key.split(".")):
            raise UserError(f"override {quoted(word)}: write section.key=value, as in train.lr=0.02")
        as_text, nullable = takes_text(key.split("."), Config)
        overrides.pop(key, None)  # of two the later one counts, in the later place
        overrides[key] = read_word(value, f"override {quoted(word)}", as_text=as_text, nullable=nullable)
    return overrides


def dump(config: Config) -> str:
    """Return the config as YAML, with all defaults written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)


def schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, for editors."""
    return Config.model_json_schema()


def _names() -> list[str]:
    """Return the bare names of the configs that can be found."""
    return [file.stem for folder in _FOLDERS for file in folder.glob("*.yaml")]


def _with_value(values: Any, path: Sequence[str], value: Any) -> Any:
    """Return nested dicts with the value at ``path`` replaced."""
    if not path:
        return value
    values = values if isinstance(values, dict) else {}
    return {**values, path[0]: _with_value(values.get(path[0]), path[1:], value)}
