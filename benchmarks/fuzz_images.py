"""Damage images and masks of every format and read them: python benchmarks/fuzz_images.py [--files 2000] [--seed 0]

Each must give an array or a UserError. Bytes are changed, cut out, doubled or put in, numbers in headers are set to
extremes, and the checksums of PNGs are then mended, so that damage gets past them. The tests try fewer, and keep what
fails small.
"""

import argparse
import io
import random
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from segdla.data.image_header import lossy_compression
from segdla.data.images import image_size, read_image, read_palette, read_stored_mask
from segdla.data.labels import ColorEncoding, IdEncoding, IdOrColorEncoding
from segdla.errors import UserError

MOST_PIXELS = 2**19  # Pillow's limit meanwhile: a damaged header may ask for gigabytes
EXTREMES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PNG = b"\x89PNG\r\n\x1a\n"
ENCODE = IdOrColorEncoding(
    IdEncoding({i: i for i in range(4)} | {255: 255}),
    ColorEncoding({(0, 0, 0): 0, (255, 255, 255): 1, (9, 9, 9): 2, (200, 0, 0): 3}, strict=True),
)


class Edit(NamedTuple):
    """A change of a file's bytes; ``place`` is a share of its length, 0..1."""

    kind: str
    place: float
    number: int


def damaged(content: bytes, edits: Sequence[Edit], *, mends_checksums: bool) -> bytes:
    """Return the content with all edits made, in order."""
    for kind, place, number in edits:
        start = int(place * len(content))
        if kind == "header":  # most of what a parser reads is in the first bytes
            start = int(place * min(len(content), 200))
        before, after = content[:start], content[start:]
        if kind in ("number", "header"):
            width = (1, 2, 4)[number % 3]
            value = EXTREMES[number // 3 % len(EXTREMES)] & (1 << 8 * width) - 1
            content = before + value.to_bytes(width, "big" if number % 2 else "little") + after[width:]
        else:
            length = 1 + number % 64
            middle = {
                "flip": bytes([after[0] ^ (1 + number % 255)]) + after[1:] if after else b"",
                "cut": b"",
                "take out": after[length:],
                "double": after[:length] + after,
                "put in": random.Random(number).randbytes(length) + after,
            }
            content = before + middle[kind]
    return with_checksums(content) if mends_checksums and content.startswith(PNG) else content


KINDS = ("flip", "number", "header", "cut", "take out", "double", "put in")


def with_checksums(content: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums."""
    mended, place = content[: len(PNG)], len(PNG)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunk = content[place + 4 : place + 8 + length]
        if len(chunk) < 4 + length:
            break
        mended += content[place : place + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        place += 12 + length
    return mended + content[place:]


def samples() -> dict[str, bytes]:
    """Return a small whole file of each kind that is read, by name."""
    rgb = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    ids = (np.arange(13 * 17, dtype=np.uint8) % 4).reshape(13, 17)
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([0, 0, 0, 255, 255, 255, 9, 9, 9, 200, 0, 0])
    images = {
        "grey": Image.fromarray(ids),
        "rgb": Image.fromarray(rgb),
        "palette": palette,
        "bit": Image.fromarray(ids > 1),
        "wide": Image.fromarray(ids.astype(np.uint16) * 900),
        "rgba": Image.fromarray(np.dstack([rgb, ids * 60]), mode="RGBA"),
        "la": Image.fromarray(np.dstack([ids, rgb[..., 0]]), mode="LA"),
        "cmyk": Image.fromarray(np.dstack([rgb, ids]), mode="CMYK"),
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: tuple[tuple[str, str, dict], ...] = (
        ("PNG", "grey rgb palette bit wide rgba la", {}),
        ("PNG", "rgb palette", {"exif": exif, "interlace": 1}),
        ("JPEG", "grey rgb cmyk", {}),
        ("JPEG", "rgb", {"exif": exif, "progressive": True}),
        ("MPO", "rgb", {"save_all": True, "append_images": [images["grey"].convert("RGB")]}),
        ("TIFF", "grey rgb palette bit wide rgba la cmyk", {}),
        ("TIFF", "grey rgb palette bit wide", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "grey rgb palette", {"compression": "tiff_lzw", "exif": exif}),
        ("TIFF", "rgb", {"compression": "jpeg"}),
        ("TIFF", "bit", {"compression": "group4"}),
        ("TIFF", "grey", {"save_all": True, "append_images": [images["grey"]]}),
        ("WEBP", "rgb rgba", {"lossless": True, "exif": exif}),
        ("WEBP", "rgb rgba", {}),
        ("WEBP", "rgb", {"save_all": True, "append_images": [images["palette"].convert("RGB")]}),
        ("BMP", "grey rgb palette bit rgba", {}),
        ("GIF", "grey palette bit", {}),
    )
    files = {}
    for number, (format_, names, options) in enumerate(kinds):
        for name in names.split():
            file = io.BytesIO()
            images[name].save(file, format_, **options)
            several = ", two pictures" if "save_all" in options else ""
            files[f"{format_} {name} {number}{several}"] = file.getvalue()
    return files


READERS: tuple[Callable[[Path], object], ...] = (
    read_image,
    lambda path: ENCODE(read_stored_mask(path), path),
    image_size,
    read_palette,
    lossy_compression,
)


def read_in_every_way(path: Path) -> Counter[str]:
    """Read a file with each reader and count outcomes. Raises what a reader raises that is no UserError."""
    outcomes: Counter[str] = Counter()
    for read in READERS:
        try:
            value = read(path)
        except UserError as error:
            assert "\n" not in str(error), f"several lines: {error}"
            outcomes["answered"] += 1
        else:
            outcomes["read"] += 1
            if isinstance(value, np.ndarray):
                assert value.dtype == np.uint8 and value.size
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--output", type=Path, default=Path("fuzz_images"), help="folder of files that fail")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
    whole, outcomes, failures, start = samples(), Counter[str](), 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.files):
            name = draw.choice(list(whole))
            count = draw.choice((1, 1, 2, 4, 8))
            edits = [Edit(draw.choice(KINDS), draw.random(), draw.getrandbits(16)) for _ in range(count)]
            path = Path(folder, "image.bin")
            path.write_bytes(damaged(whole[name], edits, mends_checksums=draw.random() < 0.7))
            try:
                outcomes += read_in_every_way(path)
            except Exception:
                failures += 1
                args.output.mkdir(exist_ok=True)
                (args.output / f"{args.seed}_{number}.bin").write_bytes(path.read_bytes())
                print(f"{name}, {edits}", file=sys.stderr)
                traceback.print_exc()
    seconds = time.perf_counter() - start
    print(f"{args.files} damaged files, {failures} failures in {seconds:.0f} s; reads: {dict(outcomes)}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
