"""TIFF files of kinds that Pillow can't write, made by hand."""

import struct
import zlib

import numpy as np

HEADERS = {"<": b"II*\0", ">": b"MM\0*"}
DEFLATE = 8


def tiff_bytes(*pages, order="<"):
    """Return a TIFF of ``page(...)``s."""
    content = HEADERS[order] + struct.pack(order + "I", 8)
    for number, make in enumerate(pages):
        content = make(content, order, number == len(pages) - 1)
    return content


def page(samples, bits=8, photometric=1, compression=1, apart=False, number_format=1, tags=()):
    """Return one page of samples (H,W) or (H,W,C); with ``apart``, each band is stored by itself.

    ``number_format`` is 1 for whole numbers, 2 for those with a sign and 3 for floating point. ``tags`` are further
    numbers and values.
    """
    height, width = samples.shape[:2]
    bands = samples.shape[2] if samples.ndim == 3 else 1
    planes = [samples[..., band] for band in range(bands)] if apart and bands > 1 else [samples]

    def make(content, order, is_last):
        """Append the page's directory and pixels to a file's content, which ends where the directory begins."""
        packed = [packed_samples(plane, bits, order) for plane in planes]
        strips = [zlib.compress(strip) if compression == DEFLATE else strip for strip in packed]
        values = {
            256: width, 257: height, 258: (bits,) * bands, 259: compression, 262: photometric, 273: None, 277: bands,
            278: height, 279: tuple(map(len, strips)), 284: 2 if apart else 1, 339: (number_format,) * bands,
            **dict(tags),
        }  # fmt: skip
        length = 2 + 12 * len(values) + 4
        place = len(content) + length  # of values that don't fit into the directory, and then of the strips
        rest = b""
        values[273] = tuple(0 for _ in strips)
        rest_length = sum(size for value in values.values() if (size := 4 * number(value)) > 4)
        starts = np.cumsum([0, *map(len, strips)])[:-1] + place + rest_length
        values[273] = tuple(starts.tolist())
        directory = struct.pack(order + "H", len(values))
        for tag, value in sorted(values.items()):
            entries = struct.pack(f"{order}{number(value)}I", *(value if isinstance(value, tuple) else (value,)))
            directory += struct.pack(order + "HHI", tag, 4, number(value))
            if len(entries) > 4:
                directory += struct.pack(order + "I", place + len(rest))
                rest += entries
            else:
                directory += entries
        end = place + rest_length + sum(map(len, strips))
        directory += struct.pack(order + "I", 0 if is_last else end)
        return content + directory + rest + b"".join(strips)

    return make


def number(value):
    return len(value) if isinstance(value, tuple) else 1


def packed_samples(samples, bits, order):
    """Return samples as bytes: each row begins with a whole byte."""
    if samples.dtype.itemsize * 8 == bits:
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    most = samples.astype(">u2").view(np.uint8).reshape(*samples.shape, 2)
    return np.packbits(np.unpackbits(most, axis=-1)[..., 16 - bits :].reshape(len(samples), -1), axis=1).tobytes()
