"""ZIP archives, read in place."""

import lzma
import os
import zipfile
import zlib
from pathlib import Path

from segdla.data.archives import Archive, listed, require_no_bomb
from segdla.errors import UserError
from segdla.machine.remote.remote_path import local_file

_ZIP_ERRORS = (zipfile.BadZipFile, OSError, NotImplementedError)  # the last of an unknown method


class ZipArchive(Archive):
    """Raises UserError if the file is damaged, or holds a path that leads out of it."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._file, self._process = self._open(), os.getpid()
        members = ((listed(path, member.filename), member) for member in self._file.infolist() if not member.is_dir())
        self.names: dict[str, zipfile.ZipInfo] = {name: member for name, member in members if name is not None}

    def read(self, name: str) -> bytes:
        member, path = self.names[name], self.path / name
        if member.flag_bits & 1:
            raise UserError(f"{path} is encrypted; unpack the archive, and name the folder")
        require_no_bomb(path, member.file_size, member.compress_size)
        try:
            if self._process != os.getpid():  # forked: the parent reads from the same place of the file
                self._file, self._process = self._open(), os.getpid()  # in this order, for other threads
            return self._file.read(member)
        except (*_ZIP_ERRORS, zlib.error, lzma.LZMAError, EOFError) as error:
            raise UserError(f"{path} can't be unpacked ({error}); pack or download it anew") from error

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(local_file(self.path))
        except (*_ZIP_ERRORS, ValueError) as error:
            raise UserError(f"{self.path} is no ZIP archive that can be read ({error}); download it anew") from error
