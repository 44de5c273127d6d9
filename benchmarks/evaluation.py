"""What evaluating costs at 1024x2048 with 19 classes: counting, multi-scale, and a whole evaluation; beside others.

python benchmarks/evaluation.py [--parts counting multiscale whole]    on the CPU; writes results/evaluation.json
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segdla import build, config
from segdla.build.predictor import predictor
from segdla.data.dataset import Classes, SegmentationDataset
from segdla.data.loader import WholeImages
from segdla.evaluation import evaluate
from segdla.inference.predictors import _resize_images, flip, in_precision, maps_of, multiscale, segment
from segdla.metrics import ConfusionMatrix

RESULTS = Path(__file__).parent / "results"
SIZE, CLASSES, SCALES = (1024, 2048), 19, (0.5, 0.75, 1.0, 1.25, 1.5)
CPU = torch.device("cpu")


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The median of some runs, after one more."""
    work()
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def street() -> tuple[Tensor, Tensor]:
    """A truth (H,W) of 16x16 blocks, a few of them ignored, and a prediction that is right in nine pixels of ten."""
    random = np.random.default_rng(0)
    truth = np.kron(random.integers(0, CLASSES + 1, (64, 128)), np.ones((16, 16), int)).astype(np.uint8)
    prediction = np.where(random.random(SIZE) < 0.1, random.integers(0, CLASSES, SIZE), truth % CLASSES)
    truth[truth == CLASSES] = 255
    return torch.from_numpy(prediction.astype(np.uint8))[None], torch.from_numpy(truth)[None]


def confusion_update() -> dict[str, float]:
    """Milliseconds an image, on one core."""
    import segmentation_models_pytorch as smp
    import torchmetrics.classification as metrics

    prediction, truth = street()
    longs = prediction.long(), truth.long()
    ours = ConfusionMatrix(CLASSES)
    theirs = {
        name: metric(CLASSES, ignore_index=255, validate_args=validate, **more)
        for name, metric, validate, more in (
            ("torchmetrics, Jaccard", metrics.MulticlassJaccardIndex, True, {"average": None}),
            ("torchmetrics, unvalidated", metrics.MulticlassConfusionMatrix, False, {}),
        )
    }

    def gathered():  # the usual way, torchvision's reference scripts' among others: pick valid pixels, then count pairs
        target, predicted = longs[1].flatten(), longs[0].flatten()
        valid = (target >= 0) & (target < CLASSES)
        torch.bincount(CLASSES * target[valid] + predicted[valid], minlength=CLASSES**2)

    ways = {
        "segdla": lambda: ours.update(prediction, truth),
        "gather and bincount (torchvision's reference)": gathered,
        "smp get_stats": lambda: smp.metrics.get_stats(
            *longs, mode="multiclass", num_classes=CLASSES, ignore_index=255
        ),
        **{name: functools.partial(metric.update, *longs) for name, metric in theirs.items()},
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = {name: 1000 * seconds(way) for name, way in ways.items()}
    torch.set_num_threads(threads)
    return times


def stand_in(images: Tensor, stride: int) -> Tensor:
    """Logits (B,C,h,w) that cost next to nothing, so that what is measured is what is done with them."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(CLASSES, 3, 1, 1, generator=random) / 100
    return F.conv2d(images[..., ::stride, ::stride].float() - 127, weights)


def maps_at_full_size(images: Tensor, stride: int):
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
    total = torch.zeros(1, CLASSES, *SIZE)
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
    """Prints what a way needs beyond the network alone: peak memory in MB, seconds; and a digest of the classes."""
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
            found = {"MB": (peak(work) - alone) / 1e6}
        else:
            found = {"seconds": seconds(work, 2) - seconds(network, 2), "ids": hash(ids.tobytes())}
    print(json.dumps(found))


def multi_scale(stride: int) -> dict[str, dict]:
    found = {}
    for way in WAYS if stride == 4 else [way for way in WAYS if "segdla" in way]:
        command = [sys.executable, __file__, "--way", way, "--stride", str(stride)]
        # glibc gives memory back at once that it maps block by block: so the peak is what is alive, not what was.
        # (It takes time, so that time is not measured then.)
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        mapping = {**environment, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
        timed, weighed = (
            json.loads(subprocess.run(command, capture_output=True, check=True, env=env).stdout)
            for env in (environment, mapping)
        )
        found[way] = {**weighed, **timed}
    assert found["segdla"]["ids"] == found["segdla, low_memory"]["ids"], "low_memory chose other classes"
    return {way: {key: values[key] for key in ("MB", "seconds")} for way, values in found.items()}


class Noise:
    """Images of the size of Cityscapes', from memory."""

    classes = Classes(tuple(map(str, range(CLASSES))), ((0, 0, 0),) * CLASSES)

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(index)
        return random.integers(0, 256, (*SIZE, 3), np.uint8), random.integers(0, CLASSES, SIZE).astype(np.uint8)


def whole_evaluation(stride: int, images: int) -> dict[str, float]:
    """Seconds an image: bare forward passes of DLA-34, and evaluations around them."""
    import torchmetrics.classification as metrics

    settings = config.parse({"data": {"dataset": "cityscapes"}, "model": {"output_stride": stride}})
    network = build.model(settings, CLASSES).to(CPU, memory_format=torch.channels_last).eval()
    batches = list(WholeImages(SegmentationDataset(Noise(images)), 1, workers=0, pin=False))
    logits = in_precision(network.logits, CPU, "fp32")
    predict = predictor(logits, stride, settings.eval)

    @torch.inference_mode()
    def forward():
        for batch in batches:
            network(batch.images)

    @torch.inference_mode()
    def usual():
        metric = metrics.MulticlassJaccardIndex(CLASSES, average=None, ignore_index=255)
        for batch in batches:
            metric.update(network(batch.images).argmax(1), batch.targets.long())

    ways = {"forward passes": forward, "segdla": lambda: evaluate(predict, batches, CLASSES, CPU), "usual": usual}
    forward()
    spent = {name: [] for name in ways}
    for _ in range(3):  # in turns: a machine's speed drifts
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            spent[name].append((time.perf_counter() - started) / images)
    return {name: statistics.median(times) for name, times in spent.items()}


def machine() -> str:
    cpu = Path("/proc/cpuinfo").read_text().split("model name")[1].splitlines()[0].strip("\t :")
    capability = torch.backends.cpu.get_cpu_capability().replace("AVX", "AVX-")
    return f"{os.cpu_count()} cores of an {cpu} ({capability}), torch {torch.__version__}"


PARTS = ("counting", "multiscale", "whole")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="the others' results stay as they are")
    parser.add_argument("--stride", type=int, default=2, help="of the network in the whole evaluation")
    parser.add_argument("--images", type=int, default=3, help="in the whole evaluation")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        return in_a_process_of_its_own(args.way, args.stride)

    path = RESULTS / "evaluation.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    result |= {"machine": machine(), "images": [1, 3, *SIZE], "classes": CLASSES, "scales": SCALES, "flip": True}
    if "counting" in args.parts:
        result["confusion update, ms on one core"] = times = confusion_update()
        for name, spent in times.items():
            print(f"{name:48} {spent:8.1f} ms")
    for stride in (2, 4, 8) if "multiscale" in args.parts else ():
        result[f"multi-scale, stride {stride}"] = needed = multi_scale(stride)
        for name, needs in needed.items():
            print(f"stride {stride}, {name:20} {needs['MB']:8.0f} MB {needs['seconds']:8.2f} s", flush=True)
    if "whole" in args.parts:
        times = whole_evaluation(args.stride, args.images)
        result[f"evaluation of DLA-34, stride {args.stride}, s an image"] = times
        for name, spent in times.items():
            print(f"{name:48} {spent:8.2f} s   {spent / times['forward passes'] - 1:+.1%}")
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
