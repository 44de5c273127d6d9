"""Data sets of Hugging Face on disk, as if they were folders of image files: ``train/COLUMN/0000000.png`` and so on.

They are folders of Parquet files, as on the hub, or of Arrow files, as ``save_to_disk`` of ``datasets`` writes them.
An Arrow file is mapped into memory. A Parquet file is read by groups of rows, and the last few are kept. A table in
storage comes here whole, if its schema says that it holds images.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from segdla.data.archives import Archive
from segdla.errors import UserError
from segdla.machine.remote.local_tier import bring_ahead
from segdla.machine.remote.object_store import read_end
from segdla.machine.remote.remote_path import RemotePath, local_file

_SHARD = re.compile(r"-\d+-of-\d+(-[0-9a-f]+)?$")  # behind the split's name; older ones end in a hash
_GROUPS = 4  # of rows that are kept, for images and masks
_CLASSES = "classes.txt"
_FOOTER = 1 << 16  # bytes at the end of a Parquet file, which nearly always hold its schema
_ASKING = 16  # threads that ask a storage for schemas


class _Row(NamedTuple):
    """The place of an image."""

    file: Path
    column: str
    number: int


class TableArchive(Archive):
    """The images in the columns of a folder's tables, and the names of classes if the columns' features have some.

    Raises UserError if pyarrow is missing, a table can't be read, or tables are of several data sets.
    """

    def __init__(self, path: Path, files: Sequence[Path]):
        super().__init__(path)
        self.names: dict[str, _Row | bytes] = {}
        lengths: dict[str, int] = {}
        folders: dict[str, Path] = {}
        with ThreadPoolExecutor(_ASKING) as pool:
            schemas = [*pool.map(_read_schema, files)]
        for file, (columns, length, features) in zip(files, schemas, strict=True):
            split = _split(path, file)
            if folders.setdefault(split, file.parent) != file.parent:
                raise UserError(
                    f"{path} holds tables of {split} in {folders[split]} and {file.parent}, as of two data sets; name "
                    "one of these folders"
                )
            prefix = f"{split}/" if split else ""
            for column in columns:
                for number in range(length):
                    name = f"{prefix}{column}/{lengths.get(split, 0) + number:07d}.png"
                    self.names[name] = _Row(file, column, number)
            lengths[split] = lengths.get(split, 0) + length
            if classes := _class_names(features):
                self.names[prefix + _CLASSES] = "\n".join(classes).encode()
        bring_ahead(
            str(file)
            for file, (columns, *_) in zip(files, schemas, strict=True)
            if isinstance(file, RemotePath) and columns
        )

    def read(self, name: str) -> bytes:
        row = self.names[name]
        if isinstance(row, bytes):
            return row
        try:
            file = local_file(row.file)
            value = _column(file, file.stat().st_mtime_ns, row.column, row.number) or {}
            content = value.get("bytes")
            if content is None and value.get("path") and (beside := row.file.parent / value["path"]).is_file():
                content = beside.read_bytes()
        except (OSError, ValueError, _pyarrow().ArrowException) as error:
            raise UserError(f"row {row.number} of {row.file} can't be read ({error}); download it anew") from error
        if content is not None:
            return bytes(content)
        raise UserError(
            f"row {row.number} of {row.file} has no image in {row.column!r}, but the name of a file that is not here; "
            "save the data set with its images in it"
        )

    def state(self, name: str) -> Path:
        row = self.names.get(name, b"")
        return self.path if isinstance(row, bytes) else row.file


def table_files(folder: Path) -> list[Path]:
    """List the tables in a folder, and in the folders in it; those of one data set alone."""
    files = sorted(file for pattern in ("*.parquet", "*/*.parquet") for file in folder.glob(pattern))
    if files:
        return files
    states = sorted(state for pattern in ("state.json", "*/state.json") for state in folder.glob(pattern))
    return [state.parent / name for state in states for name in _arrow_files(state)]


def _arrow_files(state: Path) -> list[str]:
    try:
        return [str(file["filename"]) for file in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _split(root: Path, file: Path) -> str:
    """Return the split that a table is of: its file's name says it, or that of its folder in the data set's."""
    if file.suffix == ".parquet" and not file.stem.isdecimal():
        return _SHARD.sub("", file.stem)
    return "" if file.parent == root else file.parent.name


def _read_schema(file: Path) -> tuple[list[str], int, dict[str, Any]]:
    """Return the columns that hold images, the number of rows, and the features as ``datasets`` notes them."""
    pa = _pyarrow()
    try:
        if file.suffix == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(_footer(file) if isinstance(file, RemotePath) else file) as table:
                schema, length = table.schema_arrow, table.metadata.num_rows
        else:
            here = local_file(file)
            table = _arrow_table(here, here.stat().st_mtime_ns)
            schema, length = table.schema, table.num_rows
        columns = [
            field.name
            for field in schema
            if pa.types.is_struct(field.type) and {"bytes", "path"} <= {child.name for child in field.type}
        ]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{file} is no table that can be read ({error}); download it anew") from error
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        features = {}
    return columns, length, features if isinstance(features, dict) else {}


def _footer(file: RemotePath) -> io.BytesIO:
    """Read the footer of a Parquet file in storage, which is a Parquet file to whoever asks for its schema alone."""
    size = file.stat().st_size
    end = read_end(str(file), size, _FOOTER)
    length = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < length <= size:
        end = read_end(str(file), size, length)
    return io.BytesIO(b"PAR1" + end[-length:])


def _class_names(features: object) -> list[str]:
    """Return the names of the one feature that has names, wherever it is; none if several have other ones."""
    found = list(_named(features))
    return found[0] if found and all(names == found[0] for names in found) else []


def _named(feature: object) -> Iterator[list[str]]:
    if isinstance(feature, dict):
        names = feature.get("names")
        if feature.get("_type") == "ClassLabel" and isinstance(names, list):
            yield [str(name) for name in names]
        for inner in feature.values():
            yield from _named(inner)
    elif isinstance(feature, list):
        for inner in feature:
            yield from _named(inner)


@lru_cache(maxsize=64)
def _arrow_table(file: Path, modified: int) -> Any:
    """Map an Arrow file, of either kind, into memory."""
    pa = _pyarrow()
    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


def _column(file: Path, modified: int, column: str, number: int) -> dict[str, Any] | None:
    """Return the value in a row of a column."""
    if file.suffix == ".arrow":
        return _arrow_table(file, modified).column(column)[number].as_py()
    starts = _group_starts(file, modified)
    group = next(i for i in range(len(starts) - 1) if number < starts[i + 1])
    return _group(file, modified, column, group)[number - starts[group]].as_py()


@lru_cache(maxsize=1024)
def _group_starts(file: Path, modified: int) -> list[int]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        starts = [0]
        for group in range(table.num_row_groups):
            starts.append(starts[-1] + table.metadata.row_group(group).num_rows)
    return starts


@lru_cache(maxsize=_GROUPS)
def _group(file: Path, modified: int, column: str, group: int) -> Any:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:  # its threads would not outlive a fork
        return table.read_row_group(group, columns=[column], use_threads=False).column(column)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise UserError('tables (Parquet, Arrow) take the package pyarrow: pip install "segdla[arrow]"') from None
    return pyarrow
