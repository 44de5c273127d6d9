import base64
import io

import numpy as np
from PIL import Image
from support import photo

from segdla.report.pictures import WIDEST, layers

PALETTE = ((10, 20, 30), (200, 0, 0))


def decoded(uri, mode):
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(body))).convert(mode))


def test_layers_are_the_image_its_masks_and_errors():
    image, target, class_ids = photo(8, 12), np.zeros((8, 12), np.uint8), np.zeros((8, 12), np.uint8)
    target[2, 3], class_ids[5, 6], target[7] = 1, 1, 255
    pictures = layers(image, target, class_ids, PALETTE)
    assert list(pictures) == ["image", "truth", "prediction", "error"]
    assert np.abs(decoded(pictures["image"], "RGB").astype(int) - image).mean() < 12  # it is compressed
    assert tuple(decoded(pictures["truth"], "RGB")[2, 3]) == PALETTE[1]
    np.testing.assert_array_equal(decoded(pictures["prediction"], "RGB"), np.array(PALETTE, np.uint8)[class_ids])
    error = decoded(pictures["error"], "RGBA")
    wrong = (error[..., 0] > 200) & (error[..., 3] > 0)
    assert set(zip(*np.nonzero(wrong), strict=True)) == {(2, 3), (5, 6)}
    assert (error[7, :, :3] == 0).all() and (error[7, :, 3] > 0).all() and error[0, 0, 3] == 0


def test_large_images_are_shrunk():
    mask = np.zeros((600, 1200), np.uint8)
    picture = decoded(layers(photo(600, 1200), mask, mask, PALETTE)["truth"], "RGB")
    assert picture.shape == (WIDEST // 2, WIDEST, 3) and (picture == PALETTE[0]).all()
