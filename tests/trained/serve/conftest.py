"""A network whose classes' names try to break out of a page, and a service of it."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from support import photo

import segdla
from segdla.data.source import Classes

HOSTILE = (
    '<img src=x onerror="window.hacked = 1">',
    "</script><script>window.hacked = 1</script>",
    '"quo\'tes" & \x1b[31mred',
    "pla\u202ein \udcff",
    "background",
)


@pytest.fixture(scope="session")
def segmenter(checkpoint):
    segmenter = segdla.load(checkpoint, "cpu")
    card = replace(segmenter.trained.card, classes=Classes(HOSTILE, segmenter.palette))
    return replace(segmenter, trained=replace(segmenter.trained, card=card))


@pytest.fixture(scope="module")
def service(segmenter):
    from serving import serving

    with serving(segmenter) as client:
        yield client


@pytest.fixture(scope="session")
def png():
    """``png(height, width, seed)`` gives an image as an array and as the bytes of a file."""

    def make(height, width, seed=0):
        image = photo(height, width, seed)
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        return image, content.getvalue()

    return make


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """The bytes of an AVI file of twelve frames at 10 a second, and the frames as they are read back."""
    from segdla.media.video import VideoReader

    path = tmp_path_factory.mktemp("video") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (48, 32))
    for seed in range(12):
        writer.write(np.ascontiguousarray(photo(32, 48, seed)[..., ::-1]))
    writer.release()
    reader = VideoReader(path)
    frames = [reader.read().image for _ in range(12)]
    reader.close()
    return path.read_bytes(), frames
