"""Measure evaluation beside its peers: python benchmarks/evaluation.py [--parts counting metrics multiscale whole]

Counting, other metrics, multi-scale prediction and a whole evaluation, of images of 1024x2048 with 19 classes, on the
CPU. Results are written to results/evaluation.json.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segdla.config import parse
from segdla.data.labels import IGNORE_INDEX
from segdla.data.loader import WholeImages
from segdla.data.samples import SegmentationDataset
from segdla.data.source import Classes, Source
from segdla.evaluation.boundary_f import BoundaryF
from segdla.evaluation.boundary_iou import BoundaryIoU
from segdla.evaluation.calibration import Calibration
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.object_sizes import ObjectSizes
from segdla.evaluation.temperature import TemperatureFit
from segdla.inference.from_config import Predictor
from segdla.inference.predictors import _resize_images, flip, maps_of, multiscale, segment
from segdla.machine.device import in_precision
from segdla.models.from_config import build_network

RESULTS = Path(__file__).parent / "results"
SIZE, NUM_CLASSES, SCALES = (1024, 2048), 19, (0.5, 0.75, 1.0, 1.25, 1.5)
CPU = torch.device("cpu")


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time of some calls, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def street() -> tuple[Tensor, Tensor]:
    """Return class ids (1,H,W) that are right in nine pixels of ten, and their truth: 16x16 blocks, a few ignored."""
    random = np.random.default_rng(0)
    truth = np.kron(random.integers(0, NUM_CLASSES + 1, (64, 128)), np.ones((16, 16), int)).astype(np.uint8)
    prediction = np.where(random.random(SIZE) < 0.1, random.integers(0, NUM_CLASSES, SIZE), truth % NUM_CLASSES)
    truth[truth == NUM_CLASSES] = IGNORE_INDEX
    return torch.from_numpy(prediction.astype(np.uint8))[None], torch.from_numpy(truth)[None]


def confusion_update() -> dict[str, float]:
    """Return the milliseconds that each way to count takes for an image, on one core."""
    import segmentation_models_pytorch as smp
    import torchmetrics.classification as metrics

    prediction, truth = street()
    longs = prediction.long(), truth.long()
    ours = ConfusionMatrix(NUM_CLASSES)
    theirs = {
        name: metric(NUM_CLASSES, ignore_index=IGNORE_INDEX, validate_args=validate, **more)
        for name, metric, validate, more in (
            ("torchmetrics, Jaccard", metrics.MulticlassJaccardIndex, True, {"average": None}),
            ("torchmetrics, unvalidated", metrics.MulticlassConfusionMatrix, False, {}),
        )
    }

    def gather():  # the usual way, also in torchvision's reference scripts: pick valid pixels, then count pairs
        target, class_ids = longs[1].flatten(), longs[0].flatten()
        valid = (target >= 0) & (target < NUM_CLASSES)
        torch.bincount(NUM_CLASSES * target[valid] + class_ids[valid], minlength=NUM_CLASSES**2)

    ways = {
        "segdla": lambda: ours.count(prediction, truth),
        "gather and bincount (torchvision's reference)": gather,
        "smp get_stats": lambda: smp.metrics.get_stats(
            *longs, mode="multiclass", num_classes=NUM_CLASSES, ignore_index=IGNORE_INDEX
        ),
        **{name: functools.partial(metric.update, *longs) for name, metric in theirs.items()},
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = {name: 1000 * seconds(way) for name, way in ways.items()}
    torch.set_num_threads(threads)
    return times


def stand_in(images: Tensor, stride: int) -> Tensor:
    """Return logits (B,C,h,w) that cost next to nothing, so that the time is that of their further way."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(NUM_CLASSES, 3, 1, 1, generator=random) / 100
    return F.conv2d(images[..., ::stride, ::stride].float() - 127, weights)


def maps_at_full_size(images: Tensor, stride: int) -> Iterator[Tensor]:
    """Yield log-probabilities (1,C,H,W) of each scale, plain and mirrored."""
    for scale in SCALES:
        resized = _resize_images(images, scale)
        for mirrored in (False, True):
            logits = stand_in(resized.flip(-1) if mirrored else resized, stride)
            scores = F.interpolate(logits, size=resized.shape[-2:], mode="bilinear", align_corners=False)
            scores = F.interpolate(scores.log_softmax(1), size=SIZE, mode="bilinear", align_corners=False)
            yield scores.flip(-1) if mirrored else scores


def keep_every_map(images: Tensor, stride: int) -> Tensor:
    return torch.stack(list(maps_at_full_size(images, stride))).mean(0).argmax(1).to(torch.uint8)


def sum_at_full_size(images: Tensor, stride: int) -> Tensor:
    total = torch.zeros(1, NUM_CLASSES, *SIZE)
    for scores in maps_at_full_size(images, stride):
        total.add_(scores)
        del scores
    return total.max(1).indices.to(torch.uint8)


def ours(images: Tensor, stride: int, low_memory: bool) -> Tensor:
    maps = multiscale(flip(maps_of(functools.partial(stand_in, stride=stride), stride)), SCALES)
    return segment(maps, images, low_memory)


def network_alone(images: Tensor, stride: int) -> None:
    for scale in SCALES:
        resized = _resize_images(images, scale)
        for image in (resized, resized.flip(-1)):
            stand_in(image, stride)


WAYS = {
    "keep every map": keep_every_map,
    "sum at full size": sum_at_full_size,
    "segdla": functools.partial(ours, low_memory=False),
    "segdla, low_memory": functools.partial(ours, low_memory=True),
}


def in_a_process_of_its_own(way: str, stride: int) -> None:
    """Print the peak memory in MB or the seconds that a way needs beyond the network alone, and a digest of the ids."""
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = _resize_images(images[..., ::8, ::8].contiguous(), 8)  # smooth, as pictures are
    network = functools.partial(network_alone, images, stride)
    work = functools.partial(WAYS[way], images, stride)

    def peak(work: Callable[[], object]) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back
        work()
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    with torch.inference_mode():
        ids = work()[0].numpy()
        if "MALLOC_MMAP_THRESHOLD_" in os.environ:
            alone = peak(network)
            needs = {"MB": (peak(work) - alone) / 1e6}
        else:
            needs = {"seconds": seconds(work, 2) - seconds(network, 2), "ids": hash(ids.tobytes())}
    print(json.dumps(needs))


def multi_scale(stride: int) -> dict[str, dict]:
    """Return the memory and the time that each way needs."""
    needs = {}
    for way in WAYS if stride == 4 else [way for way in WAYS if "segdla" in way]:
        command = [sys.executable, __file__, "--way", way, "--stride", str(stride)]
        # glibc gives memory back at once if it maps each block by itself: then the peak is of blocks that are in use.
        # That takes time, so time is measured in another process.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        mapping = {**environment, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
        timed, weighed = (
            json.loads(subprocess.run(command, capture_output=True, check=True, env=env).stdout)
            for env in (environment, mapping)
        )
        needs[way] = {**weighed, **timed}
    assert needs["segdla"]["ids"] == needs["segdla, low_memory"]["ids"], "low_memory chose other classes"
    return {way: {key: values[key] for key in ("MB", "seconds")} for way, values in needs.items()}


class Noise(Source):
    """Images of the size of Cityscapes', from memory."""

    classes = Classes(tuple(map(str, range(NUM_CLASSES))), ((0, 0, 0),) * NUM_CLASSES)

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(index)
        return random.integers(0, 256, (*SIZE, 3), np.uint8), random.integers(0, NUM_CLASSES, SIZE).astype(np.uint8)


def whole_evaluation(stride: int, images: int) -> dict[str, float]:
    """Return the seconds an image of bare forward passes of DLA-34, and of evaluations around them."""
    import torchmetrics.classification as metrics

    config = parse({"data": {"dataset": "cityscapes"}, "model": {"output_stride": stride}})
    network = build_network(config.model, NUM_CLASSES).to(CPU, memory_format=torch.channels_last).eval()
    batches = list(WholeImages(SegmentationDataset(Noise(images)), 1, workers=0, pin=False))
    predictor = Predictor(in_precision(network.logits, CPU, "fp32"), stride, config.eval)

    def ours():
        count_batches(
            lambda batch: Prediction(predictor.class_ids(batch)), batches, [ConfusionMatrix(NUM_CLASSES)], CPU
        )

    @torch.inference_mode()
    def forward():
        for batch in batches:
            network(batch.images)

    @torch.inference_mode()
    def usual():
        metric = metrics.MulticlassJaccardIndex(NUM_CLASSES, average=None, ignore_index=IGNORE_INDEX)
        for batch in batches:
            metric.update(network(batch.images).argmax(1), batch.targets.long())

    ways = {"forward passes": forward, "segdla": ours, "usual": usual}
    forward()
    times = {name: [] for name in ways}
    for _ in range(3):  # in turns: a machine's speed drifts
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - start) / images)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


class Boxes(Noise):
    """An object in each cell of a grid, for IoU by object size."""

    def objects(self, index: int) -> np.ndarray:
        return 1 + np.kron(np.arange(32 * 32).reshape(32, 32), np.ones((32, 64), int))


def metrics() -> dict[str, float]:
    """Return the milliseconds of one core's time that each evaluator takes for an image, without the network's."""
    prediction, truth = street()
    probabilities = torch.rand(1, NUM_CLASSES, *SIZE, generator=torch.Generator().manual_seed(0))
    probabilities /= probabilities.sum(1, keepdim=True)
    names = Noise.classes.names
    evaluators = {
        "confusion matrix": ConfusionMatrix(NUM_CLASSES),
        "boundary IoU": BoundaryIoU(names),
        "boundary F-score": BoundaryF(names),
        "IoU by object size": ObjectSizes(Boxes(1)),
        "calibration": Calibration(names),
        "temperature": TemperatureFit(500),
    }
    shown = Prediction(prediction, probabilities, ("0",))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    times = {}
    for name, evaluator in evaluators.items():
        evaluator.update(probabilities, truth, shown)
        start = time.process_time()  # of this process alone, whatever else the machine does
        for _ in range(3):
            evaluator.update(probabilities, truth, shown)
        times[name] = 1000 * (time.process_time() - start) / 3
    torch.set_num_threads(threads)
    return times


def machine() -> str:
    cpu = Path("/proc/cpuinfo").read_text().split("model name")[1].splitlines()[0].strip("\t :")
    capability = torch.backends.cpu.get_cpu_capability().replace("AVX", "AVX-")
    return f"{os.cpu_count()} cores of an {cpu} ({capability}), torch {torch.__version__}"


PARTS = ("counting", "metrics", "multiscale", "whole")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = "parts to measure; results of the others stay as they are (default: all)"
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help=parts)
    parser.add_argument("--stride", type=int, default=2, help="output stride in the whole evaluation (default: 2)")
    parser.add_argument("--images", type=int, default=3, help="images of the whole evaluation (default: 3)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        return in_a_process_of_its_own(args.way, args.stride)

    path = RESULTS / "evaluation.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    result |= {"machine": machine(), "images": [1, 3, *SIZE], "classes": NUM_CLASSES, "scales": SCALES, "flip": True}
    if "counting" in args.parts:
        result["confusion update, ms on one core"] = times = confusion_update()
        for name, milliseconds in times.items():
            print(f"{name:48} {milliseconds:8.1f} ms")
    if "metrics" in args.parts:
        times = metrics()
        result["metrics, ms of one core's time"] = {"torch": torch.__version__, **times}
        for name, milliseconds in times.items():
            print(f"{name:48} {milliseconds:8.1f} ms", flush=True)
    for stride in (2, 4, 8) if "multiscale" in args.parts else ():
        result[f"multi-scale, stride {stride}"] = ways = multi_scale(stride)
        for name, needs in ways.items():
            print(f"stride {stride}, {name:20} {needs['MB']:8.0f} MB {needs['seconds']:8.2f} s", flush=True)
    if "whole" in args.parts:
        times = whole_evaluation(args.stride, args.images)
        result[f"evaluation of DLA-34, stride {args.stride}, s an image"] = times
        for name, taken in times.items():
            print(f"{name:48} {taken:8.2f} s   {taken / times['forward passes'] - 1:+.1%}")
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
