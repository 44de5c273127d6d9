"""Names of classes in files that lie beside the masks, and colours in the masks' palettes."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.archives import is_regular, read_text
from segdla.data.labels import Color, unpacked_color
from segdla.doctor.contents import Contents, Labels
from segdla.errors import quoted

_LARGEST_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class NameTable:
    """Names by id, and by colour if the file gives colours."""

    by_id: Mapping[int, str]
    by_color: Mapping[Color, str] = field(default_factory=dict)


def name_classes(labels: Labels, contents: Contents, folders: Sequence[Path]) -> tuple[Labels, list[str]]:
    """Name the classes by the first file in ``folders`` that fits, and colour them by the masks' palettes.

    Returns the labels, and remarks on where names and colours come from and which files were not used.
    """
    labels, remarks = _colored_by_palette(labels, contents)
    tables: dict[str, Callable[[], NameTable]] = {
        str(path): partial(read_names, path)
        for path in (folder / name for name in _READERS for folder in folders)
        if is_regular(path)
    }
    if contents.names:
        tables = {"the list beside each mask": partial(NameTable, contents.names)} | tables
    for place, table in tables.items():
        try:
            names = _names_of_values(labels, contents, table())
        except ValueError as error:
            remarks.append(f"{place} gives no names for the classes: {error}")
            continue
        return _renamed(labels, names), [*remarks, f"the names of the classes are from {place}"]
    return labels, remarks


def read_names(path: Path) -> NameTable:
    """Read a file of names. Raises ValueError, which says what is wrong, if it can't be used."""
    try:
        if path.is_file() and path.stat().st_size > _LARGEST_FILE:
            raise ValueError("it is too large for a list of names")
        text = read_text(path)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None
    return _READERS[path.name](text)


def _read_lines(text: str) -> NameTable:
    """Read a name a line, or an id and a name a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d{1,5})\s*[\s:,=]\s*(\S.*)", line) for line in lines]
    if lines and all(numbered):
        return NameTable(_unique((int(match[1]), match[2]) for match in numbered if match))
    # The first of labelme's labels.txt is what is ignored; the next one has id 0.
    return NameTable(dict(enumerate(lines[1:] if lines[:1] == [IGNORED] else lines)))


def _read_color_table(text: str) -> NameTable:
    """Read rows of name, red, green, blue; the number of a row is its id."""
    rows = _rows(text)
    if rows and not any(cell.isdigit() for cell in rows[0][1:]):  # a header
        rows = rows[1:]
    by_color: dict[Color, str] = {}
    for row in rows:
        if len(row) < 4 or not all(cell.isdigit() and int(cell) < 256 for cell in row[1:4]):
            raise ValueError(f"the row {quoted(','.join(row))} is not name, red, green, blue")
        red, green, blue = (int(cell) for cell in row[1:4])
        if (red, green, blue) in by_color:
            raise ValueError(f"the colour {(red, green, blue)} is in two rows")
        by_color[red, green, blue] = row[0]
    return NameTable(dict(enumerate(row[0] for row in rows)), by_color)


def _read_value_table(text: str) -> NameTable:
    """Read rows of pixel value and name, below a header, as Roboflow writes them."""
    rows = _rows(text)[1:]
    for row in rows:
        if len(row) < 2 or not row[0].isdigit():
            raise ValueError(f"the row {quoted(','.join(row))} is not pixel value, name")
    return NameTable(_unique((int(row[0]), row[1]) for row in rows))


def _read_json(text: str) -> NameTable:
    """Read the labels of nnU-Net's dataset.json: from names to ids, or, in its first version, from ids to names."""
    try:
        labels = json.loads(text)["labels"]
        items = list(labels.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError('it has no "labels": {name: id}') from None
    if all(type(value) is int for _, value in items):
        return NameTable(_unique((value, name) for name, value in items))
    if all(key.isdigit() and isinstance(value, str) for key, value in items):
        return NameTable({int(key): value for key, value in items})
    raise ValueError('its "labels" are not name: id (regions of several ids are no classes)')


def _read_id2label(text: str) -> NameTable:
    """Read the names by id that models and data sets of Hugging Face come with."""
    try:
        return NameTable({int(key): str(value) for key, value in json.loads(text).items()})
    except (ValueError, AttributeError, RecursionError):
        raise ValueError("it is not {id: name}") from None


# By the files' names; of several, the first that fits is used.
_READERS: dict[str, Callable[[str], NameTable]] = {
    "class_dict.csv": _read_color_table,
    "_classes.csv": _read_value_table,
    "dataset.json": _read_json,
    "id2label.json": _read_id2label,
    **dict.fromkeys(("class_names.txt", "classes.txt", "labels.txt", "label_names.txt"), _read_lines),
}


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]


def _unique(items: Iterable[tuple[int, str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for label_id, name in items:
        if label_id in names:
            raise ValueError(f"id {label_id} has two names")
        names[label_id] = name
    return names


def _values(labels: Labels, contents: Contents) -> list[int]:
    """Return the ids, or packed colours, of the classes."""
    return [value for value in contents.values if contents.colored or value not in (labels.ignore or ())]


def _names_of_values(labels: Labels, contents: Contents, table: NameTable) -> list[str]:
    """Return the names of the classes. Raises ValueError if the table does not have just one good name for each."""
    values = _values(labels, contents)
    if contents.colored:
        if not table.by_color:
            raise ValueError("it gives no colours, of which the masks are")
        named: Mapping[Any, str] = table.by_color
        keys: list[Any] = [unpacked_color(value) for value in values]
    else:
        named = table.by_id
        keys = [0, 1] if values == [0, 255] and set(table.by_id) == {0, 1} else list(values)
    missing = [key for key in keys if key not in named]
    if missing:
        kind = "the colour" if contents.colored else "id"
        raise ValueError(f"it has {len(named)} names, and none for {kind} {missing[0]} of the masks")
    names = [named[key] for key in keys]
    for name in names:
        if not name or not name.isprintable():
            raise ValueError(f"{quoted(name)} is no name")
        if names.count(name) > 1:
            raise ValueError(f"two classes are called {quoted(name)}")
    return names


def _renamed(labels: Labels, names: Sequence[str]) -> Labels:
    renamed = dict(zip(labels.classes, names, strict=True))
    label_map = labels.label_map and {value: renamed[name] for value, name in labels.label_map.items()}
    return replace(labels, classes=list(names), label_map=label_map, named=True)


def _colored_by_palette(labels: Labels, contents: Contents) -> tuple[Labels, list[str]]:
    """Give classes of ids the colours of the masks' palettes, if each class and each ignored id has its own."""
    values = _values(labels, contents)
    palette = {} if contents.colored else contents.palette
    used = [palette.get(value) for value in contents.values]
    colors = [palette[value] for value in values if value in palette]
    if len(colors) < len(values) or None in used or len(set(used)) < len(used) or _are_greys(colors):
        return labels, []
    ignored = [palette[value] for value in contents.values if value not in values]
    colored = replace(labels, colors=colors, ignore_colors=ignored or None)
    return colored, ["the colours of the classes are those of the masks' palettes"]


def _are_greys(colors: Iterable[Color]) -> bool:
    return all(len(set(color)) == 1 for color in colors)
