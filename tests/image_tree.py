"""A tiny tree of class folders, and the config of a network that is pretrained on it."""

import numpy as np
from support import write

COLORS = {"blue": (200, 40, 40), "green": (40, 200, 40), "red": (40, 40, 200)}  # as OpenCV has them


def draw_tree(root, train=4, val=3):
    """Noisy images of 40x48 in three classes of colour."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name, color in COLORS.items():
            for index in range(count):
                noise = random.integers(-40, 41, (40, 48, 3))
                write(root / split / name / f"{index}.png", (np.array(color) + noise).clip(0, 255).astype(np.uint8))
    return root


def values(root, augment=None, **train):
    """The sections of a config: six steps an epoch of two images, with everything that may go wrong in a resumption."""
    usual = {"epochs": 2, "batch_size": 4, "accumulate": 2, "optimizer": "adamw", "lr": 0.003, "ema": 0.5}
    return {
        "data": {"dataset": "image_folder", "root": str(root), "crop": [32, 32], "resize": 36, "workers": 0}
        | {"augment": augment or {}},
        "model": {"backbone": "dla46_c"},
        "loss": {"label_smoothing": 0.1},
        "train": {**usual, "report_every": 1, "device": "cpu", **train},
        "eval": {"batch_size": 4},
    }
