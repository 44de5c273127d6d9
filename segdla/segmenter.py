"""A trained network as one object: images in, whatever holds them, and class ids, scores or colours out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps

from segdla import hub
from segdla.build.memory import is_lack_of_memory
from segdla.data.images import read_image
from segdla.errors import UserError
from segdla.inference.predictors import Predictor
from segdla.trained import Trained, open_trained
from segdla.visualize import colorize


@dataclass(frozen=True)
class Segmenter:
    """A trained network that predicts, from several threads at once if you like.

    An image is an array (H,W,3) RGB or (H,W) grey, uint8, a PIL image, or a path; of any size. ``scales`` of it are
    summed over. What is seen at a time, the whole image or windows of it, is ``trained.config.eval.window``'s to say.
    """

    trained: Trained
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        return self.trained.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        return self.trained.palette

    @property
    def device(self) -> torch.device:
        return self.trained.device

    @property
    def path(self) -> Path:
        return self.trained.path

    def predict(self, image: Any) -> np.ndarray | list[np.ndarray]:
        """Class ids (H,W) uint8 at the image's size; of a list, or what else gives images one by one, a list of them.

        Raises UserError where an image is none.
        """
        return _each(partial(self._run, self.trained.predictor), image)

    def scores(self, image: Any) -> np.ndarray | list[np.ndarray]:
        """Probabilities (C,H,W) float32 at the image's size, each pixel's adding up to 1; ``predict`` is their argmax.

        Over scales and mirrored images they are averaged as ``eval.merge`` of the run says: ``probs`` is the mean,
        ``logprobs`` and ``logits`` the geometric mean, normalised. Of a list, a list.
        """
        return _each(partial(self._run, self.trained.scorer), image)

    def colorize(self, image: Any) -> np.ndarray | list[np.ndarray]:
        """Colours (H,W,3) RGB uint8 of the class ids (H,W) that ``predict`` gave, or of those that it gives an image.

        Two dimensions are always ids: a grey image is to be predicted first. Of a list, a list.
        """

        def colored(one: Any) -> np.ndarray:
            are_ids = isinstance(one, np.ndarray) and one.ndim == 2
            return colorize(one if are_ids else self._run(self.trained.predictor, one), self.palette)

        return _each(colored, image)

    def save_to_hub(self, name: str, private: bool = False) -> str:
        """Upload the checkpoint to the Hugging Face Hub as OWNER/NAME; returns its address.

        ``load("hf://OWNER/NAME")`` gives it back. Raises UserError where that can't be done.
        """
        return hub.upload(name, self.path, self.trained.card, private)

    def __repr__(self) -> str:
        return f"Segmenter({self.path}, {len(self.classes)} classes, {self.device})"

    @torch.inference_mode()
    def _run(self, make: Callable[..., Predictor], image: Any) -> np.ndarray:
        pixels = as_rgb(image)
        height, width = pixels.shape[:2]
        run = make(self.scales, self.flip)
        try:
            images = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device)  # (1,3,H,W)
            return run(images)[0].cpu().numpy()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
            raise UserError(
                f"out of memory on {self.device} with an image of {height}x{width}; see it by (smaller) windows: "
                "window=(512, 512), or --window 512 512"
            ) from error


def load(
    place: str | Path | None = None,
    device: str = "auto",
    *,
    multiscale: bool | Sequence[float] = False,
    flip: bool = False,
    window: tuple[int, int] | Literal["auto", "whole"] | None = None,
    precision: str | None = None,
    compile: bool = False,
    runs: str | Path = "runs",
) -> Segmenter:
    """The network of a run, a file, OWNER/NAME of the hub, or (None) of the newest run; see ``segdla.load``."""
    if not isinstance(multiscale, bool) and not (_are_numbers(multiscale) and all(0 < s <= 16 for s in multiscale)):
        raise UserError(f"multiscale={multiscale!r}: give True, False or scales up to 16, such as (0.5, 1, 1.5)")
    are_pixels = _are_numbers(window) and len(window) == 2 and min(window) >= 1
    if not are_pixels and not (window is None or (isinstance(window, str) and window in ("auto", "whole"))):
        raise UserError(f"window={window!r}: give (height, width) in pixels, 'whole' for whole images, or 'auto'")
    overrides = [f"train.precision={precision}"] * bool(precision) + ["eval.compile=true"] * compile
    if window is not None:
        overrides.append(f"eval.window={window if isinstance(window, str) else list(window)}")
    trained = open_trained(place, device, Path(runs), overrides)
    by_config = trained.config.eval.scales if multiscale else (1.0,)
    scales = by_config if isinstance(multiscale, bool) else tuple(map(float, multiscale))
    return Segmenter(trained, scales, flip)


def _are_numbers(given: Any) -> bool:
    return isinstance(given, Sequence) and bool(given) and all(isinstance(number, int | float) for number in given)


def as_rgb(image: Any) -> np.ndarray:
    """An image as RGB (H,W,3) uint8, contiguous. Raises UserError where it is none."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image) and all(image.size):
        return _from_pil(image)
    if isinstance(image, Image.Image):
        raise UserError(f"an image of {image.height}x{image.width} has no pixels")
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image is an array, a path or a PIL image, not {type(image).__name__}")
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise UserError(
            f"an image is RGB (height, width, 3) or grey (height, width), uint8 in 0..255, not {image.shape} "
            f"{image.dtype}; of several images give a list"
        )
    if image.ndim == 2:
        image = np.dstack([image] * 3)
    return np.require(image, requirements=("C", "W"))  # torch warns of what it couldn't write


def _from_pil(image: Image.Image) -> np.ndarray:
    """As ``read_image`` makes of its file: turned upright, alpha dropped, of 16 bits the upper 8."""
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return np.dstack([np.asarray(image) >> 8] * 3).astype(np.uint8)
        if image.mode in ("I", "F"):
            raise UserError("the image has 32 bits a sample; images have 8 or 16: convert it")
        return np.array(image.convert("RGB"))
    except OSError as error:  # opened, but not decoded until now
        raise UserError(f"the image can't be decoded ({error}); replace it") from error


def _each(do: Any, image: Any) -> Any:
    if isinstance(image, Iterable) and not isinstance(image, str | np.ndarray):
        return [do(one) for one in image]
    return do(image)
