"""Measure the way from files to training crops: python benchmarks/data_path.py [--camvid DIR]

In one thread: decoding alone, our path with and without the cache, and the usual order (decode, resize the whole frame
by a random scale, crop, flip, float and normalise) in albumentations, torchvision and the DLA authors' PIL. All of them
scale by 0.5 to 2, crop and flip. Then two workers feed a step of 40 ms. Results are written to results/data_path.json.
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import albumentations
import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from segdla.data.cache import CachedSource
from segdla.data.camvid import camvid
from segdla.data.folder import folder as folder_source
from segdla.data.labels import IGNORE_INDEX
from segdla.data.loader import TrainingKeys, training_batches
from segdla.data.pair_source import PairSource
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.data.transforms import TrainingTransform
from segdla.training.meter import Meter

RESULTS = Path(__file__).parent / "results"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALE = (0.5, 2.0)
STEP = 0.040

Pair = tuple[Path, Path]


def camera_like(root: Path, number: int, size: tuple[int, int]) -> PairSource:
    """Write drawn scenes of (height, width) as PNGs; noise like a sensor's makes them as slow to decode as photos."""
    scenes = Scenes("train", number, size)
    for index in range(number):
        image, mask = scenes.read(index)
        noise = np.random.default_rng(index).normal(0, 2.5, image.shape)
        for kind, pixels in (("images", (image + noise).clip(0, 255).astype(np.uint8)), ("masks", mask)):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{index}.png")
    return folder_source(root, scenes.classes.names, images="images", masks="masks")


def with_albumentations(crop: tuple[int, int]) -> Callable[[Pair], object]:
    pipeline = albumentations.Compose(
        [
            albumentations.RandomScale((SCALE[0] - 1, SCALE[1] - 1), p=1),
            albumentations.PadIfNeeded(*crop, border_mode=cv2.BORDER_CONSTANT, fill_mask=IGNORE_INDEX),
            albumentations.RandomCrop(*crop),
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Normalize(MEAN, STD),
            albumentations.ToTensorV2(),
        ]
    )

    def sample(pair: Pair) -> object:
        image = cv2.cvtColor(cv2.imread(str(pair[0])), cv2.COLOR_BGR2RGB)
        return pipeline(image=image, mask=cv2.imread(str(pair[1]), cv2.IMREAD_UNCHANGED))

    return sample


def with_torchvision(crop: tuple[int, int]) -> Callable[[Pair], object]:
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}
    rest = v2.Compose(
        [
            v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(),
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64}, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )

    def sample(pair: Pair) -> object:
        image = tv_tensors.Image(decode_image(str(pair[0]), ImageReadMode.RGB))
        mask = tv_tensors.Mask(decode_image(str(pair[1]), ImageReadMode.UNCHANGED))
        return rest(v2.ScaleJitter(image.shape[-2:], SCALE)(image, mask))

    return sample


def with_pil(crop: tuple[int, int]) -> Callable[[Pair], object]:
    """Return the authors' sequence without rotation and colours, which the others don't have."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def sample(pair: Pair) -> object:
        image, mask = Image.open(pair[0]).convert("RGB"), Image.open(pair[1])
        ratio = random.uniform(*SCALE)
        size = (int(image.width * ratio), int(image.height * ratio))
        image = image.resize(size, Image.Resampling.LANCZOS if ratio < 1 else Image.Resampling.BICUBIC)
        mask = mask.resize(size, Image.Resampling.NEAREST)
        left, top = (random.randint(0, max(0, a - b)) for a, b in zip(size, crop[::-1], strict=True))
        box = (left, top, left + crop[1], top + crop[0])
        image, mask = image.crop(box), mask.crop(box)
        if random.random() < 0.5:
            image, mask = (p.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for p in (image, mask))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        return pixels.sub_(mean).div_(std), torch.from_numpy(np.array(mask)).long()

    return sample


def bare(pair: Pair) -> object:
    return cv2.imread(str(pair[0])), cv2.imread(str(pair[1]), cv2.IMREAD_UNCHANGED)


def measure(source: PairSource, cache: Path, crop: tuple[int, int], rounds: int) -> dict[str, float]:
    """Return the median milliseconds a sample of each way; they take turns at the same files, which are warm."""
    cached = CachedSource(source, cache)
    cached.build()
    plain, rotated = (TrainingTransform(crop, SCALE, rotate, flip=0.5, jitter=0) for rotate in (0, 10))
    ours, ours_cached = SegmentationDataset(source, plain), SegmentationDataset(cached, plain)
    ours_rotated = SegmentationDataset(cached, rotated)
    peers = {
        "albumentations": with_albumentations(crop),
        "torchvision v2": with_torchvision(crop),
        "PIL, the authors'": with_pil(crop),
    }
    ways: dict[str, Callable[[int, int], object]] = {
        "decoding alone": lambda turn, index: bare(source.pairs[index]),
        "ours": lambda turn, index: ours[turn, index],
        "ours, cache": lambda turn, index: ours_cached[turn, index],
        "  and 10 degrees": lambda turn, index: ours_rotated[turn, index],
        **{name: lambda turn, index, way=way: way(source.pairs[index]) for name, way in peers.items()},
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for index in range(min(len(source), 8)):
            for name, way in ways.items():
                start = time.perf_counter()
                way(turn, index)
                if turn:  # the first round warms up
                    times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(milliseconds) for name, milliseconds in times.items()}


def starvation(source: PairSource, cache: Path, crop: tuple[int, int], batch: int, rotate: float, steps: int) -> float:
    """Return the share of time that a step of 40 ms waits for two workers; colours are jittered too."""
    transform = TrainingTransform(crop, SCALE, rotate, flip=0.5, jitter=0.4)
    dataset = SegmentationDataset(CachedSource(source, cache), transform)
    warm_up = 10
    keys = TrainingKeys(len(dataset), batch, steps + warm_up, seed=0)
    batches = training_batches(dataset, keys, workers=2, pin=False)
    meter = Meter()
    loss = torch.zeros(())
    for count in (warm_up, steps):  # the workers have to start first
        for parts in meter.timed(zip(islice(batches, count), strict=True)):
            time.sleep(STEP)
            meter.add(loss, parts)
        share = meter.read().data_wait
    return share


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, help="CamVid's root, to measure it too (SegNet's layout)")
    parser.add_argument("--rounds", type=int, default=5, help="readings of each sample (default: 5)")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    random.seed(0)
    result: dict[str, object] = {
        "machine": f"{os.cpu_count()} cores of {processor()} ({torch.backends.cpu.get_cpu_capability()})",
        "versions": {m.__name__: m.__version__ for m in (cv2, albumentations, torch)},
    }
    with tempfile.TemporaryDirectory() as folder:
        sets = {"2048x1024 PNG, crop 768x768": (camera_like(Path(folder), 8, (1024, 2048)), (768, 768))}
        if args.camvid:
            sets["CamVid 480x360, crop 320x256"] = (camvid(args.camvid, "train"), (256, 320))
        for name, (source, crop) in sets.items():
            cache = Path(folder) / "cache"
            times = measure(source, cache, crop, args.rounds)
            print(f"{name}, ms a sample on one core")
            for way, ms in times.items():
                ratio = ms / times["decoding alone"]
                print(f"  {way:18} {ms:7.1f}  {1000 / ms:7.1f} samples/s   {ratio:5.2f} x decoding")
            waits = {}
            for batch, rotate in ((8, 0), (8, 10), (4, 10)):
                crops = f"{batch} crops, rotated by up to {rotate} degrees"
                shares = [starvation(source, cache, crop, batch, rotate, steps=40) for _ in range(3)]
                waits[crops] = statistics.median(shares)
                print(f"  a step of 40 ms on {crops}: {100 * waits[crops]:.1f} % of the time waiting")
            result[name] = {"ms": times, "data_wait": waits}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "data_path.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
