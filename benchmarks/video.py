"""Flicker with and without --smooth, and frames a second: python benchmarks/video.py [--films 8] [--rounds 5]

The films are drawn: a camera pans over a street by whole pixels, a car drives through it, and each frame has a sensor's
noise, a brightness and JPEG losses of its own. So it is known exactly where each pixel was in the frame before. The
flicker of class ids is the share of pixels whose class is another there; the truth's is 0.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import cv2
import measure
import numpy as np
import torch

import segdla
from segdla.data.scenes.canvas import CAR, NAMES
from segdla.data.scenes.street import draw_scene
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.inference import smoothing
from segdla.media import video_writer
from segdla.media.inputs import Input
from segdla.media.outputs import Output
from segdla.media.run import predict_files
from segdla.media.video import VideoReader
from segdla.media.video_writer import VideoWriter

SIZE = (96, 128)  # of the scenes that the quickstart's network is trained on
Predict = Callable[[np.ndarray], np.ndarray]


class Frame(NamedTuple):
    """A frame, its truth, and where each of its pixels was in the frame before: (H,W,2), -1 if it was hidden."""

    image: np.ndarray
    mask: np.ndarray
    origin: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--frames", type=int, default=30, help="of a film (default: 30)")
    parser.add_argument("--rounds", type=int, default=5, help="of timing (default: 5)")
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="trained if it is not there")
    parser.add_argument("--beside", default="not recorded", help="other work on the machine, for the record")
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure.run_training(args.run, "configs/quickstart.yaml", alone=False)
    segmenter = segdla.load(args.run, "cpu")
    result = {
        "machine": measure.machine(torch.device("cpu")) | {"beside": args.beside},
        "films": {"number": args.films, "frames": args.frames, "size": SIZE},
        "flicker": {f"noise {noise}": flicker(segmenter, args.films, args.frames, noise) for noise in (4, 8, 12)},
        "pace": pace(args.rounds),
        "cost": cost(segmenter, args.rounds),
    }
    print(result["pace"], result["cost"])
    measure.write("video", result)


def flicker(segmenter: segdla.Segmenter, count: int, length: int, noise: float) -> dict[str, dict[str, float]]:
    """Return flicker and mIoU in percent of each way to predict, and mIoU where things move fast and after cuts."""
    films = [[*film(index, length, noise)] for index in range(count)]
    third = length // 3
    fast = [frames[::3] for frames in films]
    cuts = [[frame for frames in films for frame in frames[part : part + third]] for part in range(0, length, third)]
    still = mock.patch.object(smoothing, "_flow", lambda grey, _: np.zeros((*grey.shape, 2), np.float32))
    unchecked = mock.patch.multiple(smoothing, _LARGEST_DIFFERENCE=np.inf, _SMALLEST_MATCH=0)
    ways: dict[str, tuple[contextlib.AbstractContextManager, Callable[[], Predict]]] = {
        "frame by frame": (contextlib.nullcontext(), lambda: segmenter.predict),
        "smooth": (contextlib.nullcontext(), segmenter.smoothed),
        **{
            f"smooth, earlier frames weigh {weight}": (
                mock.patch.object(smoothing, "_KEPT", weight),
                segmenter.smoothed,
            )
            for weight in (0.5, 0.7, 0.8, 0.9)
        },
        "smooth, without flow": (still, segmenter.smoothed),
        "smooth, without the check": (unchecked, segmenter.smoothed),
    }
    table = {}
    for name, (change, begin) in ways.items():
        with change:
            changed, mean_iou = score(films, begin)
            row = {"flicker": changed, "miou": mean_iou, "miou, fast": score(fast, begin)[1]}
            table[name] = row | {"miou, cuts": score(cuts, begin)[1]}
        print(f"noise {noise}, {name}: {table[name]}", flush=True)
    return table


def score(films: list[list[Frame]], begin: Callable[[], Predict]) -> tuple[float, float]:
    """Return the percentage of pixels whose class changes from frame to frame, and mIoU in percent."""
    confusion, changed, seen = ConfusionMatrix(len(NAMES)), 0, 0
    for frames in films:
        predict, before = begin(), None
        for frame in frames:
            ids = predict(frame.image)
            confusion.count(torch.from_numpy(ids), torch.from_numpy(frame.mask))
            if before is not None:
                row, column = np.moveaxis(frame.origin, -1, 0)
                changed += int((ids != before[row, column])[row >= 0].sum())
                seen += int((row >= 0).sum())
            before = ids
    return round(100 * changed / seen, 3), round(100 * confusion.scores(NAMES).mean_iou, 2)


def film(index: int, length: int, noise: float, size: tuple[int, int] = SIZE) -> Iterator[Frame]:
    """Draw a film of so many frames."""
    height, width = size
    rng = np.random.default_rng((7, index))
    spare = height // 6, width // 4
    street, labels = draw_scene(index, seed=7, height=height + spare[0], width=width + spare[1])
    car, shape, car_row = car_of(index, size)
    phases, start, speed = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0, width), rng.choice((-1, 1)) * width / 100
    before: tuple[np.ndarray, tuple[int, int], tuple[int, int]] | None = None
    for number in range(length):
        sway = 0.5 + 0.5 * np.sin(phases + (number / 17, number / 13))
        top, left = (round(float(part * most)) for part, most in zip(sway, spare, strict=True))
        place = car_row + spare[0] // 2 - top, round(start + speed * number) % (width + car.shape[1]) - car.shape[1]
        image, mask = (array[top : top + height, left : left + width].copy() for array in (street, labels))
        is_car = paste(image, mask, car, shape, place)
        origin = np.full((height, width, 2), -1)
        if before is not None:
            origin = origins(is_car, before[0], (top - before[1][0], left - before[1][1]), place, before[2])
        before = is_car, (top, left), place
        yield Frame(photograph(image, noise, rng), mask, origin)


def car_of(index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, int]:
    """Return a car of another scene, its shape and the row of its roof."""
    for number in range(100):
        image, mask = draw_scene(100 * index + number, seed=1, height=size[0], width=size[1])
        _, regions, boxes, _ = cv2.connectedComponentsWithStats((mask == CAR).astype(np.uint8))
        if len(boxes) > 1 and boxes[1:, cv2.CC_STAT_AREA].max() > 0.01 * mask.size:
            largest = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())
            x, y, width, height = boxes[largest, :4]
            part = slice(y, y + height), slice(x, x + width)
            return image[part], regions[part] == largest, int(y)
    raise AssertionError("a hundred scenes without a car")


def paste(
    image: np.ndarray, mask: np.ndarray, car: np.ndarray, shape: np.ndarray, place: tuple[int, int]
) -> np.ndarray:
    """Draw the car; return where it is."""
    rows, columns = np.nonzero(shape)
    inside = np.all([rows + place[0] >= 0, rows + place[0] < mask.shape[0], columns + place[1] >= 0], axis=0)
    inside &= columns + place[1] < mask.shape[1]
    rows, columns = rows[inside], columns[inside]
    there = np.zeros(mask.shape, bool)
    there[rows + place[0], columns + place[1]] = True
    image[there], mask[there] = car[rows, columns], CAR
    return there


def origins(
    is_car: np.ndarray,
    was_car: np.ndarray,
    turn: tuple[int, int],
    place: tuple[int, int],
    place_before: tuple[int, int],
) -> np.ndarray:
    """Return where each pixel was in the frame before, (H,W,2); -1 if it was outside, hidden, or the car began anew."""
    height, width = is_car.shape
    drive = place_before[0] - place[0], place_before[1] - place[1]
    row, column = (
        position + np.where(is_car, way, pan)
        for position, way, pan in zip(np.indices(is_car.shape), drive, turn, strict=True)
    )
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    if abs(drive[1]) > width / 2:
        inside &= ~is_car
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    return np.where((inside & (was_car[row, column] == is_car))[..., None], np.stack((row, column), axis=-1), -1)


def photograph(image: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return the image as a cheap camera gives it."""
    light = image * rng.normal(1, 0.02) + rng.normal(0, noise, image.shape)
    photo = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1))


def pace(rounds: int, count: int = 60) -> dict[str, float]:
    """Return frames a second, from 640x480 pixels of a file to an overlay in a file.

    The network is a stand-in that waits 10 ms, as for a GPU: at best 100 frames a second.
    """
    ids = np.zeros((480, 640), np.uint8)
    ids[200:] = 1

    def predict(image: np.ndarray) -> np.ndarray:
        time.sleep(0.01)
        return ids

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output = Output(folder, ("overlay",), ("a", "b"), ((0, 0, 200), (0, 200, 0)))
        entry = Input(str(folder / "film.mp4"), "film")
        writer = VideoWriter(Path(entry.path), 25)
        for frame in film(0, count, 4, (480, 640)):
            writer.write(frame.image)
        writer.close(keep=True)

        def in_turn() -> None:
            reader, writer = VideoReader(Path(entry.path)), VideoWriter(folder / "in_turn.mp4", 25)
            while (frame := reader.read()) is not None:
                writer.write(output.picture("overlay", frame.image, predict(frame.image)))
            reader.close()
            writer.close(keep=True)

        def at_once() -> None:
            predict_files([entry], predict, output, print, lambda *_: None)

        def as_mpeg4() -> None:
            with mock.patch.object(video_writer, "codec", lambda: "mp4v"):
                at_once()

        work = {"one after the other": in_turn, "overlapping": at_once, "overlapping, MPEG-4": as_mpeg4}
        seconds = measure.alternating(work, rounds)
    return {name: round(count / seconds[name], 1) for name in work}


def cost(segmenter: segdla.Segmenter, rounds: int) -> dict[str, float]:
    """Return the milliseconds of processor time that a frame of 360x480 takes, without and with smoothing."""
    frames = [frame.image for frame in film(1, 6, 4, (360, 480))]

    def each(begin: Callable[[], Predict]) -> Callable[[], object]:
        return lambda: [*map(begin(), frames)]

    work = {"frame by frame": each(lambda: segmenter.predict), "smooth": each(segmenter.smoothed)}
    seconds = measure.alternating(work, rounds, clock=time.process_time)
    return {name: round(1000 * value / len(frames), 1) for name, value in seconds.items()}


if __name__ == "__main__":
    main()
