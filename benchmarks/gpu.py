"""Measure a GPU in eight minutes, ours beside its peers: python benchmarks/gpu.py [--authors DIR] [--minutes 8]

Its parts are the training step, the prediction, the counts of an evaluation, a resumed run and an exported file. Each
runs in a process of its own and writes what it has after every figure, so that an error or the end of the time costs no
other part. Contenders are segmentation-models-pytorch's FPN and U-Net over timm's dla34, torchvision's FCN over
ResNet-50, and the authors' dla34up if DIR is a checkout of github.com/ucbdrive/dla; those of a package that is missing
are left out. Each trains in its fastest form: kernels launched one by one, or recorded as one CUDA graph. Without a GPU
all parts run in miniature on the processor, which proves that they run, and nothing is recorded.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import alternating, machine, write
from torch import Tensor, nn
from training_step import NUM_CLASSES, images_and_targets, our_loop, ours, peer, theirs

import segdla
from segdla.checkpoints.find import SHIPPED
from segdla.data.loader import Batch
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.inference.score_maps import classify
from segdla.machine.device import choose_device, in_precision
from segdla.models.dlaseg import at_image_size
from segdla.models.fold import for_prediction
from segdla.training.cuda_graph import Recorded
from segdla.training.losses import cross_entropy

Record = dict[str, object]
Keep = Callable[[str, Record], None]
FASTEST = "bf16", "channels_last"  # of all networks in results/training_step_cuda.json


def fcn() -> nn.Module:
    return segdla.create_model("dla34", NUM_CLASSES, network="torchvision/fcn_resnet50")


def networks(authors: str | None) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Yield ours and the peers by name, as functions that make them."""
    yield "ours, DLA-34, stride 4", partial(ours, 4)
    yield "ours, DLA-34, stride 2", partial(ours, 2)
    yield "ours, DLA-46-C, stride 4", partial(segdla.create_model, "dla46_c", NUM_CLASSES, output_stride=4)
    if find_spec("segmentation_models_pytorch"):
        yield "smp FPN", partial(peer, "FPN")
        yield "smp U-Net", partial(peer, "Unet")
    yield "torchvision FCN", fcn
    if authors:
        yield "authors, DLA-34, stride 2", partial(theirs, authors)


def ours_beside(name: str) -> str:
    """Return the network of ours that a contender is compared with: DLA-34 at its stride."""
    return f"ours, DLA-34, stride {2 if 'stride 2' in name else 4}"


def bare_step(make: Callable[[], nn.Module], device, batch, size, steps, graph: bool) -> Callable[[], None]:
    """Return some steps of the loop that a tutorial would write, recorded as one graph or not."""
    network = make().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    images, targets = images_and_targets(device, batch, size)

    def gradients(parts: tuple[Batch, ...]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(parts[0].images)
        loss = F.cross_entropy(logits.float(), parts[0].targets.long())
        loss.backward()
        return loss.detach()

    take = Recorded(gradients, network) if graph else gradients

    def loop() -> None:
        for _ in range(steps):
            take((Batch(images, targets, ("",) * batch),))
            optimizer.step()
            optimizer.zero_grad()

    return loop


def loop_of(name: str, make: Callable[[], nn.Module], device, batch, size, steps, graph: bool) -> Callable[[], None]:
    if name.startswith("ours"):
        return our_loop(make, FASTEST, device, batch, size, steps, graph)
    return bare_step(make, device, batch, size, steps, graph)


def training(keep: Keep, device: torch.device, authors: str | None, size: tuple[int, int], batch: int) -> None:
    """Measure a training step of each contender alternately with ours, both in their fastest form."""
    steps, rounds = (10, 3) if device.type == "cuda" else (1, 1)
    work = device, batch, size, steps
    references: dict[str, Callable[[], None]] = {}
    for name, make in networks(authors):
        loops, peaks = {}, {}
        for graph in (False, True) if device.type == "cuda" else (False,):
            before = memory(device, reset=True)
            loops[graph] = loop_of(name, make, *work, graph)
            loops[graph]()
            peaks[graph] = memory(device) - before
        times = alternating({str(graph): loop for graph, loop in loops.items()}, 1)
        graph = min(loops, key=lambda form: times[str(form)])
        loop = loops[graph]
        del loops
        if name == ours_beside(name):
            references[name] = loop
        seconds = alternating({"reference": references[ours_beside(name)], "this": loop}, rounds)
        keep(
            name,
            {
                "time_over_ours": seconds["this"] / seconds["reference"],
                "milliseconds": 1000 * seconds["this"] / steps,
                "images_per_second": batch * steps / seconds["this"],
                "peak_mib": peaks[graph] / 2**20,
                "form": "one graph" if graph else "one by one",
            },
        )


def memory(device: torch.device, reset: bool = False) -> int:
    """Return the bytes in use, if ``reset``, or else the peak since then; 0 on a processor."""
    if device.type != "cuda":
        return 0
    if reset:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return torch.cuda.max_memory_allocated(device)


def recorded(work: Callable[[], Tensor], device: torch.device) -> Callable[[], object]:
    """Return work as one CUDA graph."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        work()
    return graph.replay


def prediction(keep: Keep, device: torch.device, authors: str | None, size: tuple[int, int], batch: int) -> None:
    """Measure the way from images to class ids in half precisions, launched one by one and as one graph."""
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device=device)
    ways = {}
    for name, make in networks(authors):
        is_ours = name.startswith("ours")
        for precision in ("bf16", "fp16") if device.type == "cuda" else ("bf16",):
            network = make().to(device, memory_format=torch.channels_last).eval()
            if is_ours:
                network = for_prediction(network, device, precision)
            forward = in_precision(network.logits if is_ours else network, device, precision)
            stride = network.output_stride if is_ours else 1

            def way(forward=forward, stride=stride) -> Tensor:
                return classify(at_image_size(forward(images), stride, size))

            ways[f"{name}, {precision}"] = way
            if device.type == "cuda":
                ways[f"{name}, {precision}, one graph"] = recorded(way, device)
    seconds = alternating(ways, 20 if device.type == "cuda" else 1)
    for name, value in seconds.items():
        our_best = min(seconds[other] for other in seconds if other.startswith(ours_beside(name)))
        row = {"milliseconds": 1000 * value, "images_per_second": batch / value}
        keep(name, {"time_over_ours": value / our_best, **row})


def evaluation(keep: Keep, device: torch.device, authors: str | None, size: tuple[int, int], batch: int) -> None:
    """Measure the counts of an image with 19 classes beside a gather of valid pixels and bincount."""
    targets = torch.randint(0, 19, size, device=device)
    class_ids, confusion = torch.randint(0, 19, size, device=device).to(torch.uint8), ConfusionMatrix(19, device)

    def gathered() -> Tensor:
        valid = targets != 255
        return torch.bincount(19 * targets[valid] + class_ids[valid], minlength=361)

    seconds = alternating({"ours": partial(confusion.count, class_ids, targets), "gather and bincount": gathered}, 20)
    for name, value in seconds.items():
        keep(name, {"time_over_ours": value / seconds["ours"], "milliseconds": 1000 * value})


class _Stopping:
    """Cross-entropy that asks for a stop at its n-th call."""

    def __init__(self, calls: int):
        self.calls = calls

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls -= 1
        if self.calls == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return cross_entropy(logits, targets)


def resume(keep: Keep, device: torch.device, authors: str | None, size: tuple[int, int], batch: int) -> None:
    """Train, stopped and resumed, and compare every tensor with an undisturbed run's."""
    images = {"data.train": 4 * batch, "data.val": 2, "data.workers": 0, "data.size": size, "data.crop": size}
    run = {"train.epochs": 4, "train.batch_size": batch, "train.deterministic": True, "train.device": str(device)}
    config = segdla.load_config("quickstart", images | run | {"model.backbone": "dla34", "train.precision": "bf16"})
    with tempfile.TemporaryDirectory() as folder:
        whole = segdla.train(config, name="whole", runs=folder, loss=cross_entropy).folder
        stopped = segdla.train(config, name="stopped", runs=folder, loss=_Stopping(7))
        resumed = segdla.resume(stopped, loss=cross_entropy).folder
        one, other = (torch.load(path / "last.pt", weights_only=True)["model"] for path in (whole, resumed))
    equal = sum(torch.equal(one[name], other[name]) for name in one)
    keep("resumed", {"was_stopped": not stopped.finished, "equal_tensors": equal, "tensors": len(one)})


def exported(keep: Keep, device: torch.device, authors: str | None, size: tuple[int, int], batch: int) -> None:
    """Write the shipped network as .pt2, open it on the device, and compare and time its predictions."""
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device=device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shipped.pt2"
        network = segdla.load(SHIPPED, device)
        network.export(path)
        file = segdla.load(path, device)
        agreement = (network.predict(images) == file.predict(images)).float().mean().item()
        ways = {"ours": partial(network.predict, images), "ours, .pt2": partial(file.predict, images)}
        seconds = alternating(ways, 10)
    for name, value in seconds.items():
        row = {"milliseconds": 1000 * value, "images_per_second": batch / value, "equal_pixels": agreement}
        keep(name, {"time_over_ours": value / seconds["ours"], **row})


# By name: the function, the size and the number of images; the most valuable ones first.
PARTS = {
    "training, 16 x 832x832": (training, (832, 832), 16),
    "prediction, 1 x 1024x2048": (prediction, (1024, 2048), 1),
    "training, 16 x 352x480": (training, (352, 480), 16),
    "prediction, 8 x 360x480": (prediction, (360, 480), 8),
    "resume": (resume, (96, 128), 4),
    "exported": (exported, (360, 480), 8),
    "prediction, 1 x 360x480": (prediction, (360, 480), 1),
    "prediction, 8 x 1024x2048": (prediction, (1024, 2048), 8),
    "evaluation, 1024x2048": (evaluation, (1024, 2048), 1),
}


def run_part(part: str, path: Path, authors: str | None) -> None:
    """Run a part, and write what it has into a file after every figure."""
    device = choose_device("auto")
    work, size, batch = PARTS[part]
    size, batch = (size, batch) if device.type == "cuda" else ((64, 96), 2)
    torch.backends.cudnn.benchmark = work is not resume
    rows: dict[str, Record] = {}

    def keep(name: str, row: Record) -> None:
        rows[name] = row
        path.write_text(json.dumps(rows), encoding="utf-8")
        figures = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
        print(f"{part}: {name}: {', '.join(figures)}", flush=True)

    if work in (training, resume):
        work(keep, device, authors, size, batch)
    else:
        with torch.inference_mode():
            work(keep, device, authors, size, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--authors", help="a checkout of github.com/ucbdrive/dla")
    parser.add_argument("--minutes", type=float, default=8, help="time after which no figure is taken (default: 8)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some of: {'; '.join(PARTS)}")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)  # of a part in a process of its own
    args = parser.parse_args()
    if args.record:
        run_part(args.only[0], args.record, args.authors)
        return
    device, end, result = choose_device("auto"), time.monotonic() + 60 * args.minutes, {}
    authors = ["--authors", args.authors] if args.authors else []
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(args.only or PARTS):
            path = Path(folder) / f"{number}.json"
            command = [sys.executable, __file__, "--only", part, "--record", str(path), *authors]
            try:
                ended = subprocess.run(command, timeout=max(1.0, end - time.monotonic())).returncode
            except subprocess.TimeoutExpired:
                ended = "out of time"
            rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            result[part] = {"complete": ended == 0, "rows": rows}
            if device.type == "cuda":
                write("gpu", {**machine(device), "parts": result})
    faults = [part for part, measured in result.items() if not measured["complete"]]
    print(f"not complete: {'; '.join(faults)}" if faults else "all parts are complete")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
