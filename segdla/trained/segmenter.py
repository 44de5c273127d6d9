"""A trained network as one object: images in, and class ids, probabilities or colours out."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segdla.checkpoints import hub
from segdla.data.images import as_rgb
from segdla.errors import UserError
from segdla.inference.from_config import Predictor
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.models.dlaseg import DLASeg
from segdla.trained.open import Size, TrainedNetwork, WindowSetting, open_trained
from segdla.visualize import colorize

if TYPE_CHECKING:
    from segdla.export.write import Export

OneImage = np.ndarray | Image.Image | str | os.PathLike[str]
"""An image (H,W,3) RGB or (H,W) grey, uint8, a PIL image or a path."""
Images = list[Any] | tuple[Any, ...] | Iterator[Any]
"""Several of them. (An array or a string is a Sequence or an Iterable too, and one image.)"""


@dataclass(frozen=True)
class Segmenter:
    """A trained network that predicts; several threads may use it at once, and it can be pickled.

    An image is an array (H,W,3) RGB or (H,W) grey, uint8, a PIL image or a path, and may have any size. A list of them
    gives a list. A tensor (3,H,W) or (B,3,H,W), RGB in 0..255, is predicted at once and gives a tensor on ``device``.
    """

    trained: TrainedNetwork
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id."""
        return self.trained.classes.names

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """The RGB colours of the classes, by id."""
        return self.trained.classes.palette

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        return self.trained.device

    @property
    def path(self) -> Path:
        """The file that it was read from."""
        return self.trained.path

    @property
    def model(self) -> DLASeg:
        """The network as a module, in its fastest form, which can't be trained.

        Raises UserError if the network was exported and a runtime of its own computes it.
        """
        if self.trained.model is None:
            raise UserError(f"{self.path} is computed by its own runtime, not by PyTorch; load the run it came from")
        return self.trained.model

    @overload
    def predict(self, image: Tensor) -> Tensor: ...
    @overload
    def predict(self, image: OneImage) -> np.ndarray: ...
    @overload
    def predict(self, image: Images) -> list[Any]: ...
    def predict(self, image: Any) -> Any:
        """Return the class ids (H,W) uint8 of an image, at its size; of classes that overlap, sets (see ``Classes``).

        A list gives a list, a tensor (B,3,H,W) a tensor (B,H,W). Raises UserError if something is not an image.
        """
        return self._each(image, self._predictor.class_ids)

    def smoothed(self) -> Callable[[OneImage], np.ndarray]:
        """Return a ``predict`` for the frames of one video in turn; averaged along the motion, they flicker less."""
        class_ids = self._predictor.smoothed()
        return lambda image: self._each(image, class_ids)

    @overload
    def probabilities(self, image: Tensor) -> Tensor: ...
    @overload
    def probabilities(self, image: OneImage) -> np.ndarray: ...
    @overload
    def probabilities(self, image: Images) -> list[Any]: ...
    def probabilities(self, image: Any) -> Any:
        """Return probabilities (C,H,W) float32 of an image; those of a pixel add up to 1, unless classes overlap.

        ``predict`` follows from them. Over scales and mirrored images they are averaged as ``eval.merge`` of the run
        says: ``probs`` is the mean, ``logprobs`` and ``logits`` are the normalised geometric mean. A list gives a list,
        a tensor (B,3,H,W) a tensor (B,C,H,W). Raises UserError if something is not an image.
        """
        return self._each(image, self._predictor.probabilities)

    @overload
    def predict_with_confidence(self, image: Tensor) -> tuple[Tensor, Tensor]: ...
    @overload
    def predict_with_confidence(self, image: OneImage) -> tuple[np.ndarray, np.ndarray]: ...
    @overload
    def predict_with_confidence(self, image: Images) -> list[Any]: ...
    def predict_with_confidence(self, image: Any) -> Any:
        """Return what ``predict`` does, and the probability (H,W) float32 of each pixel's class, in one pass.

        A list gives a list of such pairs, a tensor (B,3,H,W) two tensors (B,H,W). Raises UserError if something is not
        an image.
        """
        if _are_several(image):
            return [self.predict_with_confidence(one) for one in image]
        both = self._each(image, self._predictor.ids_and_confidence)  # (2,H,W) or (B,2,H,W)
        ids, confidence = both[..., 0, :, :], both[..., 1, :, :]
        return ids.to(torch.uint8) if isinstance(ids, Tensor) else ids.astype(np.uint8), confidence

    @overload
    def colorize(self, image: Tensor | OneImage) -> np.ndarray: ...
    @overload
    def colorize(self, image: Images) -> list[Any]: ...
    def colorize(self, image: Any) -> Any:
        """Return the colours (H,W,3) RGB uint8 of class ids (H,W), as ``predict`` gives them, or of an image's.

        An array of two dimensions is always taken for class ids: predict a grey image first. A list gives a list.
        """
        if _are_several(image):
            return [self.colorize(one) for one in image]
        if isinstance(image, Tensor):
            return colorize(self.trained.classes.drawn(self.predict(image).cpu().numpy()), self.palette)
        is_ids = isinstance(image, np.ndarray) and image.ndim == 2
        return colorize(self.trained.classes.drawn(image if is_ids else self.predict(image)), self.palette)

    def export(
        self, path: Path | str, *, int8: bool = False, num_images: int = 20, max_drop: float = 2.0, size: Size = None
    ) -> "Export":
        """Write the network in the format of the suffix: .onnx, .xml (OpenVINO), .pt2, .ncnn or .tflite (LiteRT).

        It must compute the same. ``int8`` puts convolutions into 8 bits, which may cost ``max_drop`` points of mIoU on
        ``num_images`` validation images. ``size`` is for a .tflite file.

        Raises UserError if the file exists, or is not kept.
        """
        from segdla.trained.export_trained import export_trained  # imports all data sets

        return export_trained(self.trained, path, int8, num_images, max_drop, size)

    def save_to_hub(self, name: str, private: bool = False) -> str:
        """Upload the checkpoint to the Hugging Face Hub as OWNER/NAME; return its address.

        ``load("hf://OWNER/NAME")`` loads it again. Raises UserError if it can't be uploaded.
        """
        return hub.upload(name, self.path, self.trained.card, private)

    def __repr__(self) -> str:
        return f"Segmenter({self.path}, {len(self.classes)} classes, {self.device})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Runtimes and compiled functions can't be pickled, so the copy opens the file again.
        trained = self.trained
        where = trained.path.absolute(), str(trained.device)
        return _reopened, (*where, trained.overrides, trained.own_model, self.scales, self.flip)

    @cached_property
    def _predictor(self) -> Predictor:
        return self.trained.predictor(self.scales, self.flip)

    def _each(self, image: Any, predict: Callable[[Tensor], Tensor]) -> Any:
        if isinstance(image, Tensor):
            return self._at_once(image, predict)
        if _are_several(image):
            return [self._each(one, predict) for one in image]
        pixels = torch.from_numpy(as_rgb(image, self.trained.config.sample_range)).permute(2, 0, 1)  # (3,H,W)
        return self._at_once(pixels, predict).cpu().numpy()

    @torch.inference_mode()
    def _at_once(self, images: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        if images.ndim not in (3, 4) or images.shape[-3] != 3 or not images.numel():
            raise UserError(f"a tensor of images is RGB (3, H, W) or (B, 3, H, W) in 0..255, not {tuple(images.shape)}")
        remedy = (
            f"an image of {images.shape[-2]}x{images.shape[-1]} is too large to be seen whole; see it by (smaller) "
            "windows: window=(512, 512), or --window 512 512"
        )
        with answering_out_of_memory(self.device, remedy):
            batch = images if images.ndim == 4 else images[None]
            if self.trained.model is None:  # a runtime takes bytes alone
                batch = batch.round().clamp(0, 255).to(torch.uint8) if batch.is_floating_point() else batch
            prediction = predict(batch.to(self.device))
        return prediction if images.ndim == 4 else prediction[0]


def load(
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    *,
    multiscale: bool | Sequence[float] = False,
    flip: bool = False,
    window: WindowSetting | None = None,
    precision: Literal["fp32", "tf32", "bf16", "fp16"] | None = None,
    compile: bool = False,
    temperature: float | Literal["fitted"] | None = None,
    threshold: float | None = None,
    runs: str | os.PathLike[str] = "runs",
    model: DLASeg | None = None,
) -> Segmenter:
    """Load a trained network as one object: ``load("runs/x").predict(image)`` gives class ids (H,W) uint8.

    checkpoint: a run, a checkpoint, an exported file or ``hf://OWNER/NAME``. None is the newest run in the folder
    ``runs`` that was not trained on drawn scenes; before there is one, the street-scene network that comes along.
    device: ``auto`` (CUDA, else MPS, else the CPU), or a torch device.
    multiscale: sum over scales; True takes those of the run's ``eval.scales``. flip: sum over mirrored images too.
    window: (height, width) of overlapping windows; ``whole`` for no windows; ``auto`` for windows on large images only.
    None is the run's ``eval.window``, which is ``auto`` unless set.
    precision: None is the precision of the run. If the device lacks it, the nearest that it has is used.
    compile: compile the network, which takes a minute or more and makes it faster for images of any size.
    temperature: divides the logits of ``probabilities``; ``fitted`` is what ``segdla test --fit-temperature`` kept.
    threshold: of head sigmoid, the probability of an object's pixels; None is the fitted one, or 0.5.
    model: your own network, if the run was trained with one. It is copied, and the copy gets the weights.

    Raises UserError, one line with the remedy, if the network is missing or an option does not fit.
    """
    settings = {
        "eval.scales": None if isinstance(multiscale, bool) else multiscale,
        "eval.window": window,
        "eval.compile": compile or None,
        "eval.temperature": temperature,
        "eval.threshold": threshold,
        "train.precision": precision,
    }
    overrides = {key: value for key, value in settings.items() if value is not None}
    trained = open_trained(checkpoint, device, Path(runs), overrides, for_photographs=True, model=model)
    return Segmenter(trained, (1.0,) if multiscale is False else trained.config.eval.scales, flip)


def _reopened(
    path: Path, device: str, overrides: Mapping[str, Any], model: DLASeg | None, scales: tuple[float, ...], flip: bool
) -> Segmenter:
    return Segmenter(open_trained(path, device, overrides=overrides, model=model), scales, flip)


def _are_several(image: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(image, Iterable) and not isinstance(image, str | np.ndarray | Tensor)
