"""Draw the README's pictures: python benchmarks/figures.py RUN FIGURE.jpg [--split S] [--images 0 40 ...]

They are rows of image, truth, prediction and errors (white; grey where the truth is ignored), with a legend.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import segdla
from segdla.config import parse_overrides
from segdla.data.from_config import open_split
from segdla.data.image_writer import write_image
from segdla.data.labels import IGNORE_INDEX
from segdla.visualize import beside, colorize, legend


def errors(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Draw the pixels (H,W) that are predicted wrongly."""
    shade = np.where(target == IGNORE_INDEX, 70, np.where(target != prediction, 255, 0)).astype(np.uint8)
    return np.dstack([shade] * 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run or checkpoint")
    parser.add_argument("figure", type=Path, help="file to write")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the run's config")
    parser.add_argument("--split", default="test", help="(default: test)")
    parser.add_argument("--images", type=int, nargs="+", default=[0], help="positions in the split (default: 0)")
    parser.add_argument("--scale", type=float, default=1, help="size of the figure (default: 1)")
    args = parser.parse_intermixed_args()

    segmenter = segdla.load(args.run)
    config = segdla.load_config(segmenter.trained.config, parse_overrides(args.overrides))
    source = open_split(config, args.split)
    rows = []
    for index in args.images:
        image, target = source.read(index)
        prediction = segmenter.predict(image)
        pictures = (colorize(ids, segmenter.palette) for ids in (target, prediction))
        rows.append(np.hstack([image, *pictures, errors(target, prediction)]))
    figure = cv2.resize(np.vstack(rows), None, fx=args.scale, fy=args.scale, interpolation=cv2.INTER_AREA)
    write_image(args.figure, beside(figure, legend(segmenter.classes, segmenter.palette)))


if __name__ == "__main__":
    main()
