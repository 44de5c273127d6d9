import base64
import io

import numpy as np
import torch
from PIL import Image
from support import photo

from segdla.evaluation.evaluator import Prediction
from segdla.report.pictures import UNSURE, WIDEST, Pictures, layers

PALETTE = ((10, 20, 30), (200, 0, 0))


def decoded(uri, mode):
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(body))).convert(mode))


def test_layers_are_the_image_its_masks_and_errors():
    image, target, class_ids = photo(8, 12), np.zeros((8, 12), np.uint8), np.zeros((8, 12), np.uint8)
    target[2, 3], class_ids[5, 6], target[7] = 1, 1, 255
    unsure = np.zeros((8, 12), np.uint8)
    unsure[:, 6:] = 255
    pictures = layers(image, target, class_ids, unsure, PALETTE)
    assert list(pictures) == ["image", "truth", "prediction", "error", "uncertainty"]
    assert np.abs(decoded(pictures["image"], "RGB").astype(int) - image).mean() < 12  # it is compressed
    assert tuple(decoded(pictures["truth"], "RGB")[2, 3]) == PALETTE[1]
    np.testing.assert_array_equal(decoded(pictures["prediction"], "RGB"), np.array(PALETTE, np.uint8)[class_ids])
    error = decoded(pictures["error"], "RGBA")
    wrong = (error[..., 0] > 200) & (error[..., 3] > 0)
    assert set(zip(*np.nonzero(wrong), strict=True)) == {(2, 3), (5, 6)}
    assert (error[7, :, :3] == 0).all() and (error[7, :, 3] > 0).all() and error[0, 0, 3] == 0
    colors = decoded(pictures["uncertainty"], "RGB")
    assert colors.shape == (4, 6, 3) and colors[:, 0].max() < 40 and colors[:, 5].min() > 100  # dark, and bright


def test_colours_of_uncertainty_grow_lighter():
    lightness = UNSURE @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.3).all() and lightness[0] < 1 and lightness[-1] > 240


def test_uncertainty_is_the_probability_of_other_classes():
    probabilities = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(1, 2, 8, 8)  # a threshold may choose the first
    pictures, blank = Pictures(PALETTE), torch.zeros(1, 8, 8, dtype=torch.uint8)
    pictures.update(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), blank, Prediction(blank, probabilities, ("one",)))
    color = decoded(pictures.result()["one"]["uncertainty"], "RGB")[2, 2].astype(int)
    assert abs(color - UNSURE[round(0.75 * 255)]).max() < 12  # it is compressed


def test_large_images_are_shrunk():
    mask = np.zeros((600, 1200), np.uint8)
    picture = decoded(layers(photo(600, 1200), mask, mask, mask, PALETTE)["truth"], "RGB")
    assert picture.shape == (WIDEST // 2, WIDEST, 3) and (picture == PALETTE[0]).all()
