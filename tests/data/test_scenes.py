import subprocess
import sys

import numpy as np
import pytest

from segdla.data.labels import IGNORE_INDEX
from segdla.data.scenes import Scenes, scenes_source
from segdla.data.scenes.canvas import NAMES
from segdla.data.scenes.street import draw_scene


@pytest.mark.parametrize("size", [(32, 32), (61, 97), (192, 256)])
def test_shapes_and_ids(size):
    image, mask = draw_scene(0, height=size[0], width=size[1])
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert mask.shape == size and mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {*range(len(NAMES)), IGNORE_INDEX}


def test_same_bytes_in_another_process():
    draw = "from segdla.data.scenes.street import draw_scene; image = draw_scene(5)[0].tobytes()"
    code = f"import sys; {draw}; sys.stdout.buffer.write(image)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert output == draw_scene(5)[0].tobytes()


def test_every_class_is_in_most_scenes():
    present = np.zeros(len(NAMES))
    for index in range(40):
        present += np.bincount(draw_scene(index)[1].ravel(), minlength=256)[: len(NAMES)] > 0
    assert (present >= 28).all(), dict(zip(NAMES, present, strict=True))


def test_splits_share_no_scene():
    images = {Scenes(split, 3, (32, 48)).read(i)[0].tobytes() for split in ("train", "val", "test") for i in range(3)}
    assert len(images) == 9


def test_scenes_are_kept_while_there_is_room(monkeypatch):
    monkeypatch.setattr(scenes_source, "_MAX_BYTES", 4 * 32 * 48 * 2)
    source = Scenes("train", 3, (32, 48))
    first, again = ([source.read(i)[0] for i in range(3)] for _ in range(2))
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False]
    np.testing.assert_array_equal(first[2], again[2])


def test_colour_alone_does_not_tell_the_classes():
    # The nearest mean colour, as a classifier of pixels, must do badly, or the scenes would test no network.
    train = [draw_scene(i) for i in range(12)]
    image, mask = draw_scene(100)
    pixels = np.concatenate([i.reshape(-1, 3) for i, _ in train]).astype(np.float32)
    labels = np.concatenate([m.ravel() for _, m in train])
    means = np.stack([pixels[labels == c].mean(0) for c in range(len(NAMES))])
    nearest = ((image[:, :, None].astype(np.float32) - means) ** 2).sum(-1).argmin(-1)
    ious = [
        (nearest[mask == c] == c).sum() / np.logical_or(nearest == c, mask == c).sum() for c in np.unique(mask) if c < 9
    ]
    assert np.mean(ious) < 0.35
