"""Segment images: python tools/predict.py INPUT ... [--checkpoint C] [--output DIR]"""

import argparse
import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from segdla import cli, trained
from segdla.checkpoint import unused
from segdla.data.images import IMAGE_SUFFIXES, read_image
from segdla.errors import UserError
from segdla.report import console, progress
from segdla.visualize import colorize, legend, overlay, write_image


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Write, for every image and at its own size, ids/ (pixel = class id), color/ and overlay/; and a legend.png."
    )
    made.add_argument("inputs", nargs="+", metavar="INPUT", help="images, folders (searched through), or globs")
    made.add_argument("--checkpoint", metavar="RUN|CHECKPOINT", help="default: the newest run's best")
    made.add_argument("--output", type=Path, metavar="DIR", help="default: predictions, numbered if it is taken")
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    return made


def find_images(inputs: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Each image with the name, less its suffix, that its masks get: its path inside the folder it was found in."""
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not found:
                raise UserError(f"no images in {path} ({', '.join(sorted(IMAGE_SUFFIXES))})")
            yield from ((image, image.relative_to(path).with_suffix("")) for image in found)
        elif path.is_file():
            yield path, Path(path.stem)
        else:
            found = sorted(glob.glob(given, recursive=True))
            if not found:
                raise UserError(f"no image, folder or match for {given}")
            yield from ((Path(image), Path(Path(image).stem)) for image in found)


def main(args: argparse.Namespace) -> int:
    jobs: dict[Path, Path] = {}
    for image_path, name in find_images(args.inputs):
        if name in jobs:
            raise UserError(f"{jobs[name]} and {image_path} would both become {name}.png; predict them one by one")
        jobs[name] = image_path
    segmenter = trained.load(args.checkpoint, args.device, args.runs)
    console.print(f"{segmenter.path}: {len(segmenter.classes)} classes, on {segmenter.device}", soft_wrap=True)
    output = args.output or unused(Path("predictions"))
    failed = 0
    for name, image_path in progress(jobs.items(), "predicting"):
        try:
            image = read_image(image_path)
        except UserError as error:
            cli.complain(error)
            failed += 1
            continue
        ids = segmenter.predict(image)
        colors = colorize(ids, segmenter.palette)
        write_image(output / "ids" / f"{name}.png", ids)
        write_image(output / "color" / f"{name}.png", colors)
        write_image(output / "overlay" / f"{name}.png", overlay(image, colors))
    if failed < len(jobs):
        write_image(output / "legend.png", legend(segmenter.classes, segmenter.palette))
        console.print(f"{len(jobs) - failed} images segmented, in {output}/", soft_wrap=True)
    return 0 if not failed else 1 if failed < len(jobs) else 2


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
