"""The outputs of networks that label whole images: ``labels/NAME.json``, and ``overlay/NAME.png`` or ``.mp4``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segdla.data.image_writer import write_image
from segdla.machine.files import write_json
from segdla.machine.terminal import say
from segdla.media.captions import with_lines
from segdla.media.inputs import Input
from segdla.media.outputs import Output

CLASS_KINDS = ("labels", "overlay")
_NARROWEST = 240  # pixels; names would be cut off
_ROWS = 24  # lines that an image is high
_SMALLEST_ROW = 18  # pixels


@dataclass(frozen=True)
class ClassOutput(Output):
    """A folder of predictions (K,2) of whole images: ids and probabilities, the best first."""

    tells: bool = False  # then a line is printed for each image

    def paths(self, entry: Input) -> dict[str, Path]:
        """Return the output files of an input by kind; a video has no JSON."""
        suffixes = {"overlay": ".mp4"} if entry.is_video else {"labels": ".json", "overlay": ".png"}
        return {kind: self.folder / kind / f"{entry.name}{suffix}" for kind, suffix in suffixes.items()}

    def picture(self, kind: str, image: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """Write the classes below an image (H,W,3), with their probabilities."""
        missing = max(0, _NARROWEST - image.shape[1])
        image = cv2.copyMakeBorder(image, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        lines = [f"{100 * share:.1f} %  {name}" for name, share in self._named(class_ids)]
        return with_lines(image, lines, max(_SMALLEST_ROW, image.shape[0] // _ROWS))

    def write(self, entry: Input, image: np.ndarray, class_ids: np.ndarray) -> None:
        """Write the outputs of an image. Raises UserError if one can't be written."""
        paths, named = self.paths(entry), self._named(class_ids)
        best = [{"class": name, "probability": round(share, 6)} for name, share in named]
        write_json(paths["labels"], {"image": str(entry.path), "best": best})
        write_image(paths["overlay"], self.picture("overlay", image, class_ids))
        if self.tells:
            say(f"{entry.path}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in named))

    def write_legend(self) -> None:
        """Write nothing: classes have no colours."""

    def _named(self, best: np.ndarray) -> Sequence[tuple[str, float]]:
        return [(self.classes[int(place)], float(share)) for place, share in best]
