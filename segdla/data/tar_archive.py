"""Tar archives, plain or compressed by gzip, read in place."""

import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from segdla.data.archives import LARGEST, Archive, listed, require_no_bomb
from segdla.errors import UserError
from segdla.machine.remote.remote_path import local_file

_CHUNK = 1 << 16  # compressed bytes
_STEP = 1 << 22  # bytes between the states that are kept, of some 40 kB each
_GZIP = 16 + zlib.MAX_WBITS


class _Extent(NamedTuple):
    """The place of a file in the tar."""

    offset: int
    size: int


class TarArchive(Archive):
    """Raises UserError if the file is damaged, would grow like a bomb, or holds a path that leads out of it."""

    def __init__(self, path: Path, is_compressed: bool):
        super().__init__(path)
        self._inflater = _Inflater(path) if is_compressed else None
        self.names: dict[str, _Extent] = {}
        try:
            for member in self._members():
                name = listed(path, member.name)
                if name is not None and member.isreg() and not member.issparse():
                    self.names[name] = _Extent(member.offset_data, member.size)
        except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is no tar archive that can be read ({error}); download it anew") from error

    def read(self, name: str) -> bytes:
        offset, size = self.names[name]
        require_no_bomb(self.path / name, size, size)
        try:
            if self._inflater is not None:
                content = self._inflater.read(offset, size)
            else:
                with self.path.open("rb") as file:  # of one's own: no position is shared with other threads
                    file.seek(offset)
                    content = file.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(f"{self.path / name} can't be unpacked ({error}); download it anew") from error
        if len(content) < size:
            raise UserError(f"{self.path / name} is cut short, for the archive ends before; download it anew")
        return content

    def _members(self) -> Iterator[tarfile.TarInfo]:
        if self._inflater is None:
            with tarfile.open(local_file(self.path), "r:") as plain:
                yield from plain
        else:
            stream = cast(IO[bytes], _Stream(self._inflater.blocks(0)))
            with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as packed:
                yield from packed


class _State(NamedTuple):
    """A place in a compressed file from which decompression can go on."""

    position: int  # in what is unpacked
    packed: int  # in the file
    decompressor: "zlib._Decompress"


class _Inflater:
    """A file of gzip, unpacked at any place as far as it has been unpacked before."""

    def __init__(self, path: Path):
        self.path = path
        self.states = [_State(0, 0, zlib.decompressobj(_GZIP))]

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes at a place in what is unpacked, fewer if it ends there."""
        number = bisect_right(self.states, offset, key=lambda state: state.position) - 1
        stream = _Stream(self.blocks(number))
        stream.skip(offset - self.states[number].position)
        return stream.read(size)

    def blocks(self, number: int) -> Iterator[bytes]:
        """Yield what is unpacked from a state on, and keep states behind the last.

        Raises EOFError if the file is cut short, zlib.error if it is damaged, or UserError if it is a bomb.
        """
        position, packed, kept = self.states[number]
        decompressor = kept.copy()
        with self.path.open("rb") as file:
            file.seek(packed)
            while chunk := file.read(_CHUNK):
                while chunk:
                    if decompressor.eof:
                        if not chunk.strip(b"\0"):  # padding
                            return
                        decompressor = zlib.decompressobj(_GZIP)
                    block = decompressor.decompress(chunk)
                    packed += len(chunk) - len(decompressor.unused_data)
                    chunk = decompressor.unused_data
                    position += len(block)
                    require_no_bomb(self.path, min(position, LARGEST), packed)
                    if position >= self.states[-1].position + _STEP:
                        self.states.append(_State(position, packed, decompressor.copy()))
                    if block:
                        yield block
        if not decompressor.eof:
            raise EOFError("it is cut short")


class _Stream:
    """Bytes that come in blocks, read by number."""

    def __init__(self, blocks: Iterator[bytes]):
        self._blocks = blocks
        self._rest = b""

    def skip(self, size: int) -> None:
        while size > len(self._rest):
            size -= len(self._rest)
            self._rest = next(self._blocks, b"")
            if not self._rest:
                return
        self._rest = self._rest[size:]

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing > 0:
            parts.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(parts[-1])
            if missing:
                self._rest = next(self._blocks, b"")
                if not self._rest:
                    break
        return b"".join(parts)
