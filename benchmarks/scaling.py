"""Measure what several processes and saving cost: python benchmarks/scaling.py [--processes 1 2 4 8] [--rounds 8]

Three parts, written to results/scaling.json. Saving: how long a step waits for a state that is written on the spot, or
copied at once, and for one that a thread copies and writes. Processes: weak scaling on this machine, one thread and as
many images each: steps that average gradients (over gloo) and steps that don't, in turn; an evaluation; a cache, which
the first process builds while the others wait. Volume: the bytes that a ring all-reduce sends per step and GPU, and how
long that takes at the bandwidths below; this part is a calculation. A GPU has NVLink to the others of its machine, and
its share of the machine's Ethernet to all beyond.
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import RESULTS, machine, write
from torch import Tensor, nn

import segdla
from segdla.data.cache import CachedSource
from segdla.data.loader import Batch, WholeImages
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.inference.score_maps import classify
from segdla.machine import distributed
from segdla.models.dla import VARIANTS
from segdla.training.saver import Saver, copy, memory_for, pairs
from segdla.training.state import Training, write_state

CLASSES = 19
PER_MACHINE = 8  # GPUs
NVLINK, ETHERNET = 300e9, 100e9 / 8 / PER_MACHINE  # bytes/s of a GPU, one way: H100's NVLink at two thirds; 100 Gbit/s
GPUS = (8, 64, 512)


def median_ms(work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median time of calls, after one that warms up."""
    times = []
    for _ in range(1 + rounds):
        start = clock()
        work()
        times.append(1e3 * (clock() - start))
    return round(statistics.median(times[1:]), 1)


def saving(name: str, rounds: int) -> dict[str, float]:
    """Return how long a step is held up by a saving, in ms, and the size of the state: weights and AdamW's moments.

    ``held_up`` is ``save`` and what is left of the copy when the gradients are there, by the wall's clock; the other
    times of the step's thread are by the processor's, which other work on the machine does not lengthen.
    """
    model = segdla.create_model(name, CLASSES)
    optimizer = torch.optim.AdamW(model.named_parameters(), 1e-3, fused=True)
    training, images = Training(model, optimizer, lambda step: 1.0), torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
    here: list[float] = []  # when the gradients are there

    def gradients(parts: tuple[Batch, ...]) -> Tensor:
        (loss := model(images).mean()).backward()
        here.append(time.perf_counter())
        return loss.detach()

    gradients(())
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder, Saver(Path(folder)) as saver:
        held_up, of_thread = [], []
        for _ in range(1 + rounds):
            start, used = time.perf_counter(), time.thread_time()
            saver.save(training)
            held_up.append(time.perf_counter() - start)
            of_thread.append(1e3 * (time.thread_time() - used))
            saver.while_copying(gradients)(())
            held_up[-1] = 1e3 * (held_up[-1] + time.perf_counter() - here[-1])
            saver.settle()
        memory = memory_for(training.state_dict(), None)
        return {
            "state_mb": round((Path(folder) / "last.pt").stat().st_size / 1e6),
            "on_the_spot_ms": median_ms(lambda: write_state(Path(folder), training.state_dict()), rounds),
            "copied_at_once_processor_ms": median_ms(
                lambda: copy(pairs(training.state_dict(), memory)), rounds, time.thread_time
            ),
            "held_up_ms": round(statistics.median(held_up[1:]), 1),
            "held_up_best_ms": round(min(held_up[1:]), 1),
            "held_up_processor_ms": round(statistics.median(of_thread[1:]), 1),
        }


def work_of_one(rank: int, world_size: int, port: int, rounds: int, results: multiprocessing.SimpleQueue) -> None:
    """Take steps, evaluate, and wait for a cache, as one of several processes; the first one reports."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(world_size)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    torch.set_num_threads(1)
    with distributed.process_group():
        figures = measured(rounds)
        if rank == 0:
            results.put(figures)


def measured(rounds: int) -> dict[str, float]:
    """Return the times of this process among all, in ms, by the wall's clock and its processors'; DLA-34, stride 4."""
    device = torch.device("cpu")
    model = segdla.create_model("dla34", CLASSES, output_stride=4)
    learner = distributed.replicated(model, device)
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)

    def step(*, averages: bool) -> None:
        distributed.highest(0)  # as before each step of a training
        with distributed.unsynchronised(learner) if not averages else torch.enable_grad():
            learner(images).mean().backward()
        model.zero_grad()

    with tempfile.TemporaryDirectory() as folder:
        scenes = Scenes("val", 4 * distributed.world_size(), (96, 128))
        shard = WholeImages(SegmentationDataset(scenes), 1, 0, False, distributed.rank(), distributed.world_size())
        work: dict[str, Callable[[], object]] = {
            "step": lambda: step(averages=True),
            "step_without_averaging": lambda: step(averages=False),
            "evaluation_of_4_images_each": lambda: evaluate(model, shard),
            "cache_of_4_images_each": lambda: build_cache(scenes, Path(folder)),
        }
        times: dict[str, list[float]] = {}
        for number in range(1 + rounds):
            for name, call in work.items():
                model.train(name.startswith("step"))
                start, used = time.perf_counter(), time.process_time()
                call()
                spent = {"ms": time.perf_counter() - start, "processor_ms": time.process_time() - used}
                for kind, seconds in spent.items() if number else ():  # the first round warms up
                    times.setdefault(f"{name}_{kind}", []).append(1e3 * seconds)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def evaluate(model: nn.Module, shard: WholeImages) -> None:
    """Count a shard, and add up the counts of all processes."""
    predict = lambda images: Prediction(classify(model(images)))  # noqa: E731
    count_batches(predict, shard, [ConfusionMatrix(CLASSES)], torch.device("cpu"))


def build_cache(source: Scenes, folder: Path) -> None:
    """Build a new cache in the first process, while the others wait."""
    distributed.on_main(lambda: CachedSource(source, Path(tempfile.mkdtemp(dir=folder))).build())


def scaling(processes: list[int], rounds: int) -> dict[str, dict[str, float]]:
    """Return the times with each number of processes."""
    context, table = multiprocessing.get_context("spawn"), {}
    for world_size in processes:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        results = context.SimpleQueue()
        args = (world_size, port, rounds, results)
        started = [context.Process(target=work_of_one, args=(rank, *args)) for rank in range(world_size)]
        for process in started:
            process.start()
        table[str(world_size)] = results.get()
        for process in started:
            process.join()
        print(world_size, table[str(world_size)])
    return table


def volume() -> dict[str, dict[str, float]]:
    """Return gradient megabytes, and ms of an all-reduce that nothing hides, for each variant; a calculation."""
    table = {}
    for name in VARIANTS:
        parameters = sum(p.numel() for p in segdla.create_model(name, CLASSES).parameters())
        row: dict[str, float] = {"parameters": parameters}
        for precision, size in (("fp32", 4), ("bf16", 2)):
            row[f"{precision}_mb"] = round(parameters * size / 1e6, 1)
            for gpus in GPUS:
                sent = 2 * (gpus - 1) / gpus * parameters * size
                row[f"{precision}_{gpus}_nvlink_ms"] = round(1e3 * sent / NVLINK, 2)
                if gpus > PER_MACHINE:  # reduced within each machine first: an eighth of it leaves by each GPU's share
                    machines = gpus // PER_MACHINE
                    outside = 2 * (machines - 1) / machines * parameters * size / PER_MACHINE
                    row[f"{precision}_{gpus}_ethernet_ms"] = round(1e3 * outside / ETHERNET, 2)
        table[name] = row
        print(name, row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=8)
    parts = ("saving", "processes", "volume")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="the others stay as recorded")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "scaling.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    here = machine(torch.device("cpu")) | {"processors": os.cpu_count(), "load": os.getloadavg()[0]}
    if "saving" in args.parts:
        result["saving"] = {"machine": here} | {name: saving(name, args.rounds) for name in ("dla34", "dla102")}
        print(result["saving"])
    if "processes" in args.parts:
        result["processes"] = {"machine": here} | scaling(args.processes, args.rounds)
    if "volume" in args.parts:
        result["volume"] = volume()
    write("scaling", result)


if __name__ == "__main__":
    main()
