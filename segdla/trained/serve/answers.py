"""Answers to programs and the page: types that the OpenAPI description is derived from, and pictures as files."""

import base64
import time
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from segdla.data.image_writer import encode_image, encode_palette
from segdla.errors import one_line
from segdla.media.outputs import Output
from segdla.trained.segmenter import Segmenter
from segdla.trained.serve.limits import Limits
from segdla.visualize import is_tinted

Kind = Literal["ids", "color", "overlay", "side-by-side"]
"""The kinds of ``segdla predict``. ``ids``: grey PNG of class ids. ``color``: PNG with a palette, whose samples are the
ids. ``overlay``, ``side-by-side``: PNGs to look at."""
PngKind = Literal[Kind, "confidence"]
"""``confidence``: grey PNG, 255 where the class is certain."""
Picture = Literal[PngKind, "image"]
"""``image``: the image as JPEG, for a page that can't show the file."""


class Class(BaseModel):
    """A class of the network."""

    id: int
    name: str
    color: str = Field(description="#rrggbb")
    tinted: bool = Field(description="false for a background, which overlays leave as it is")


class Network(BaseModel):
    """The network behind the service, and the most that it takes."""

    backbone: str
    device: str
    classes: list[Class]
    scales: list[float]
    mirrored: bool = Field(description="scores are summed over the mirrored image too")
    upload_bytes: int = Field(description="the most that an upload may have")
    pixels: int = Field(description="the most that an image or a frame may have")
    frames: int = Field(description="the most that are predicted of a video")


class ClassShare(BaseModel):
    """A class that an image holds."""

    id: int
    name: str
    pixels: int
    share: float = Field(description="of the image's pixels, 0 to 1")
    confidence: float = Field(description="mean probability of its pixels, 0 to 1")


class Answer(BaseModel):
    """The prediction of an image."""

    height: int
    width: int
    milliseconds: float = Field(description="time to predict, without decoding and encoding")
    classes: list[ClassShare]
    pictures: dict[Picture, str] = Field(description="files in base64: PNG, and JPEG for the image")


class Frame(Answer):
    """The prediction of a video's frame."""

    index: int = Field(description="among the predicted frames, from 0")
    seconds: float = Field(description="from the video's start")
    frames: int = Field(description="how many will be predicted, about")


class Problem(BaseModel):
    """Why there is no prediction."""

    detail: str


class Answering:
    """A segmenter and the looks of its pictures."""

    def __init__(self, segmenter: Segmenter):
        segmenter.trained.classes.require_exclusive("segdla serve")
        self.segmenter = segmenter
        self.names = [one_line(name) for name in segmenter.classes]  # names may hold control characters
        self.sample_range = segmenter.trained.config.sample_range

    def network(self, limits: Limits) -> Network:
        """Describe the network."""
        colors = ("#{:02x}{:02x}{:02x}".format(*color) for color in self.segmenter.palette)
        return Network(
            backbone=self.segmenter.trained.config.model.backbone,
            device=str(self.segmenter.device),
            classes=[
                Class(id=i, name=name, color=color, tinted=is_tinted(name))
                for i, (name, color) in enumerate(zip(self.names, colors, strict=True))
            ],
            scales=list(self.segmenter.scales),
            mirrored=self.segmenter.flip,
            upload_bytes=limits.upload_bytes,
            pixels=limits.pixels,
            frames=limits.frames,
        )

    def answer(self, image: np.ndarray, pictures: Collection[Picture]) -> Answer:
        """Predict an image (H,W,3). Raises UserError if memory runs out."""
        start = time.monotonic()
        class_ids, confidence = self.segmenter.predict_with_confidence(image)
        milliseconds = 1000 * (time.monotonic() - start)
        counts = np.bincount(class_ids.ravel(), minlength=len(self.names))
        sums = np.bincount(class_ids.ravel(), confidence.ravel(), minlength=len(self.names))
        contents = {
            kind: _grey(confidence) if kind == "confidence" else self.picture(kind, image, class_ids)
            for kind in dict.fromkeys(pictures)
        }
        return Answer(
            height=class_ids.shape[0],
            width=class_ids.shape[1],
            milliseconds=round(milliseconds, 1),
            classes=[
                ClassShare(
                    id=int(i),
                    name=self.names[i],
                    pixels=int(counts[i]),
                    share=counts[i] / class_ids.size,
                    confidence=sums[i] / counts[i],
                )
                for i in np.flatnonzero(counts)
            ],
            pictures={kind: base64.b64encode(content).decode() for kind, content in contents.items()},
        )

    def predicted_picture(self, image: np.ndarray, kind: PngKind) -> bytes:
        """Predict an image (H,W,3) and return one picture of it as a file. Raises UserError if memory runs out."""
        if kind == "confidence":
            return _grey(self.segmenter.predict_with_confidence(image)[1])
        return self.picture(kind, image, self.segmenter.predict(image))

    def picture(self, kind: Picture, image: np.ndarray, class_ids: np.ndarray) -> bytes:
        """Return any picture but that of confidence as a file."""
        match kind:
            case "ids":
                return encode_image(class_ids)
            case "color":
                return encode_palette(class_ids, self.segmenter.palette)
            case "image":
                return encode_image(image, ".jpg")
        return encode_image(self.output(Path(), kind).picture(kind, image, class_ids))

    def output(self, folder: Path, kind: str) -> Output:
        """Return the outputs of one kind, as ``segdla predict`` writes them."""
        return Output(folder, [kind], self.names, self.segmenter.palette)


def _grey(shares: np.ndarray) -> bytes:
    """Return shares (H,W) as a PNG, with 255 for 1."""
    return encode_image((255 * shares).round().astype(np.uint8))
