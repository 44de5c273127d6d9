"""What many tests use: commands by name, images on disk. Importable by other processes, as conftest.py isn't."""

from pathlib import Path

import cv2
import numpy as np

from segdla.__main__ import VERBS, run_verb

ROOT = Path(__file__).parents[1]
NAMES = ("sky", "road", "car", "person", "tree")


def run_tool(name, *argv):
    """Run the command behind tools/NAME.py in this process and return its exit status."""
    verb = next(verb for verb, (module, _) in VERBS.items() if module == name)
    return run_verb(verb, [str(word) for word in argv], f"{name}.py")


def write(path, array):
    """Write an array as OpenCV has it, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(array))


def photo(height, width, seed=0):
    """An image (H,W,3) uint8 of coloured blobs."""
    small = np.random.default_rng(seed).integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
