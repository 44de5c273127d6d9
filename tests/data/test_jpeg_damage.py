import io
import zipfile

import numpy as np
from PIL import Image

from segdla.data.images import read_image
from segdla.data.jpeg_damage import jpeg_damage

RGB = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)


def test_jpegs_whose_pixels_are_made_up_are_told(tmp_path):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG")
    content = file.getvalue()
    (tmp_path / "whole.jpg").write_bytes(content)
    (tmp_path / "longer.jpg").write_bytes(content[:-2] + b"U" * 40 + content[-2:])  # all pixels are there
    (tmp_path / "hal\nf é.jpg").write_bytes(content[: len(content) // 2] + b"\xff\xd9")
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2] + b"\xff\xd9")  # a JPEG all the same
    (tmp_path / "empty.jpg").touch()
    Image.fromarray(RGB).save(tmp_path / "other.png")
    assert (read_image(tmp_path / "half.png")[-1] == 128).all()
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "none.jpg"]
    complaint = "Corrupt JPEG data: premature end of data segment"
    assert jpeg_damage(paths) == {tmp_path / "hal\nf é.jpg": complaint, tmp_path / "half.png": complaint}
    assert jpeg_damage([tmp_path / "other.png"]) == {}


def test_jpegs_in_an_archive(tmp_path):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG")
    half = file.getvalue()[: len(file.getvalue()) // 2] + b"\xff\xd9"
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("whole.jpg", file.getvalue())
        archive.writestr("half.jpg", half)
    damage = jpeg_damage([path / name for name in ("whole.jpg", "half.jpg", "none.jpg")])
    assert damage == {path / "half.jpg": "Corrupt JPEG data: premature end of data segment"}
