"""JPEGs of which libjpeg had to make up pixels."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from segdla.data.image_header import open_file
from segdla.errors import UserError
from segdla.machine.threads import in_threads, processors

_JPEG = b"\xff\xd8\xff"
_HARMLESS = "extraneous bytes before marker 0xd9"  # before the end: all pixels are there
# An eighth of the size: all data are read, and few pixels made of them.
_DECODE_ALL = """
import itertools, os, sys, cv2, numpy
for number in itertools.count():
    size = sys.stdin.buffer.read(8)
    if not size:
        break
    content = sys.stdin.buffer.read(int.from_bytes(size, "big"))
    os.write(2, b"\\0%d\\n" % number)
    try:
        cv2.imdecode(numpy.frombuffer(content, numpy.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        pass
"""


def jpeg_damage(paths: Sequence[Path]) -> dict[Path, str]:
    """Return libjpeg's complaint about each JPEG among the files whose pixels it had to make up, such as grey ones.

    A JPEG that was cut and then given an end is decoded without an error: libjpeg makes up the rest, and only prints a
    warning to stderr. So child processes decode the files, and their stderr is read.
    """
    jpegs = [path for path in paths if _is_jpeg(path)]
    shares = [share for start in range(processors()) if (share := jpegs[start :: processors()])]
    complaints: dict[Path, str] = {}
    with in_threads(_complaints, shares) as futures:
        for future in futures:
            complaints |= future.result()
    return complaints


def _is_jpeg(path: Path) -> bool:
    return _read(path, len(_JPEG)) == _JPEG


def _read(path: Path, size: int = -1) -> bytes:
    """Return a file's bytes, all or the first; none if it can't be read, which is reported when it is decoded."""
    try:
        with open_file(path) as file:
            return file.read(size)
    except (UserError, OSError):
        return b""


def _complaints(paths: Sequence[Path]) -> dict[Path, str]:
    # -P: a file of the current folder named like a module must not be imported.
    command = [sys.executable, "-P", "-c", _DECODE_ALL]
    with tempfile.TemporaryFile() as stderr:
        with suppress(BrokenPipeError), subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr) as child:
            assert child.stdin is not None
            for path in paths:
                content = _read(path)
                child.stdin.write(len(content).to_bytes(8, "big") + content)
        stderr.seek(0)
        said = stderr.read()
    complaints: dict[Path, str] = {}
    for part in said.decode(errors="replace").split("\0")[1:]:
        number, *lines = part.splitlines()
        for line in lines:
            if "JPEG" in line and _HARMLESS not in line:
                complaints.setdefault(paths[int(number)], line.strip())
    return complaints
