"""Kill workers of a manifest at random: python benchmarks/exactly_once.py [--images 20000] [--kills 20]

What is missing, listed twice, or has other bytes than an undisturbed prediction of the same small images? Then the peak
memory of a worker by the number of images, and the throughput of a manifest against the plain command's loop over the
same images, in turns. At last two actors of Ray against two plain processes that share the images, in turns, by the
wall's clock and by the processors': all of it, and what comes after the first output.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import cv2
import measure
import numpy as np
import torch

import segdla
from segdla.checkpoints.checkpoint import Card, write_checkpoint
from segdla.config import parse
from segdla.data.source import Classes
from segdla.media.inputs import find_inputs
from segdla.media.outputs import Output
from segdla.media.run import predict_files
from segdla.models.from_config import build_network
from segdla.trained.file_job import FileJob

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timed", type=int, help="images of a round of timing (default: all)")
    parser.add_argument("--rounds", type=int, default=2, help="of timing (default: 2)")
    parts = ("killed", "memory", "throughput", "ray")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="the others stay as recorded")
    parser.add_argument("--name", default="exactly_once", help="of the record")
    args = parser.parse_args()
    path = measure.RESULTS / f"{args.name}.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "photos", args.images)
        write_network(folder / "network.safetensors")
        if "killed" in args.parts:
            result["undisturbed"] = undisturbed(folder, "plain")
            result["killed"] = killed(folder, args.kills, args.workers)
        if "memory" in args.parts:
            result["memory"] = memory(folder, args.images)
        if "throughput" in args.parts:
            timed = args.timed or args.images
            result["throughput"] = {"images": timed, "rounds": args.rounds} | throughput(folder, timed, args.rounds)
        if "ray" in args.parts:
            timed = args.timed or args.images
            result["ray"] = {"images": timed, "rounds": args.rounds} | by_ray(folder, timed, args.rounds)
    result["machine"] = measure.machine(torch.device("cpu"))
    print(json.dumps(result, indent=2))
    measure.write(args.name, result)


def draw_images(folder: Path, count: int) -> None:
    """Write images of 64x64 pixels of noise."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        noise = cv2.resize(draw.integers(0, 256, (8, 8, 3), np.uint8), (64, 64))
        cv2.imwrite(str(folder / f"{index:06}.png"), noise)


def write_network(path: Path) -> None:
    """Write a network that nobody trained."""
    torch.manual_seed(0)
    overrides = {"model.backbone": "dla46_c", "model.output_stride": 8, "train.device": "cpu"}
    config = parse({"data": {"dataset": "scenes"}}, overrides)
    network = build_network(config.model, len(CLASSES.names))
    write_checkpoint(path, network.state_dict(), Card(config.model_dump(mode="json"), CLASSES))


def start(folder: Path, photos: str, output: str, *options: str) -> subprocess.Popen:
    """Start ``segdla predict`` as a worker, or without a manifest."""
    network = str(folder / "network.safetensors")
    command = [sys.executable, "-m", "segdla", "predict", photos, "--output", output, *options]
    return subprocess.Popen(
        [*command, "--checkpoint", network, "--device", "cpu", "--output-kind", "ids"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def digests(folder: Path) -> dict[str, str]:
    """Return a hash of each output, and of whatever else lies there."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def undisturbed(folder: Path, output: str) -> dict[str, float]:
    """Predict all without a manifest; return the seconds."""
    began = time.perf_counter()
    assert start(folder, "photos", output).wait() == 0
    return {"seconds": time.perf_counter() - began}


def killed(folder: Path, kills: int, count: int) -> dict[str, object]:
    """Let workers share the images; kill one of them at random, and start another, each time a share is done."""
    draw, began = random.Random(0), time.perf_counter()
    manifest = ("--manifest", "jobs.jsonl")
    workers = [start(folder, "photos", "out", *manifest) for _ in range(count)]
    total = sum(1 for _ in (folder / "photos").iterdir())
    done = 0
    while any(worker.poll() is None for worker in workers):
        time.sleep(0.05)
        finished = sum(1 for _ in (folder / "out" / "ids").glob("*.png")) if (folder / "out" / "ids").exists() else 0
        if done < kills and finished > total * (done + draw.random()) / (kills + 1):
            victim = draw.randrange(count)
            os.kill(workers[victim].pid, signal.SIGKILL)
            workers[victim].wait()
            workers[victim] = start(folder, "photos", "out", *manifest)
            done += 1
    assert start(folder, "photos", "out", *manifest).wait() == 0
    listed = Counter(record["input"] for record in parts(folder / "jobs.jsonl"))
    journals = (folder / "jobs.jsonl" / "_work" / "journals").glob("0*.jsonl")
    recorded = Counter(
        (journal.name.split(".")[0], json.loads(line)["n"])
        for journal in journals
        for line in journal.read_bytes().split(b"\n")[:-1]
        if b'"n"' in line
    )
    before, after = digests(folder / "plain" / "ids"), digests(folder / "out" / "ids")
    return {
        "images": total,
        "workers": count,
        "kills": done,
        "missing": total - len(listed),
        "listed twice": sum(number > 1 for number in listed.values()),
        "recorded twice": sum(number > 1 for number in recorded.values()),
        "other bytes": sum(before[name] != after.get(name) for name in before),
        "other files": len({*after} - {*before}),
        "seconds": time.perf_counter() - began,
    }


def parts(manifest: Path) -> Iterator[dict]:
    """Yield the records in a manifest."""
    for part in sorted(manifest.glob("part-*.jsonl")):
        yield from map(json.loads, part.read_text().splitlines())


def memory(folder: Path, count: int) -> dict[str, float]:
    """Return the peak MiB of a worker that has a tenth of the images, and of one that has all."""
    few = folder / "few"
    few.mkdir()
    for path in sorted((folder / "photos").iterdir())[: count // 10]:
        (few / path.name).symlink_to(path)
    peaks = {}
    for photos in ("few", "photos"):
        worker = start(folder, photos, f"out-{photos}", "--manifest", f"jobs-{photos}.jsonl")
        _, status, usage = os.wait4(worker.pid, 0)
        assert status == 0
        peaks[f"{len([*(folder / photos).iterdir()])} images"] = usage.ru_maxrss / 1024
    return peaks


def throughput(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of the plain loop and of a manifest over the same images."""
    torch.set_num_threads(1)
    timed = folder / "timed"
    timed.mkdir()
    for path in sorted((folder / "photos").iterdir())[:count]:
        (timed / path.name).symlink_to(path)
    network = str(folder / "network.safetensors")
    segmenter, numbers = segdla.load(network, "cpu"), iter(range(10**6))

    def plain() -> None:
        output = Output(folder / f"timed-{next(numbers)}", ("ids",), CLASSES.names, CLASSES.palette)
        predict_files(find_inputs([str(timed)]), segmenter.predict, output, print, lambda *_: None)

    def manifest() -> None:
        number = next(numbers)
        manifest = str(folder / f"jobs-{number}.jsonl")
        files = FileJob([str(timed)], folder / f"timed-{number}", manifest, segmenter, ["ids"])
        with files.worker() as job:
            job.work(files.predicted())

    seconds = measure.alternating({"plain loop": plain, "manifest": manifest}, rounds)
    return seconds | {f"plain / {name}": seconds["plain loop"] / seconds[name] for name in ("manifest",)}


def by_ray(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Return the medians of two plain processes and of two of Ray's actors, and what the first are of the second.

    Ray's cluster stands; processes and actors start anew each time.
    """
    import ray

    from segdla.ray import predict

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (else what runs beside it comes first)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    for index, path in enumerate(sorted((folder / "photos").iterdir())[:count]):
        for name in ("both", f"half-{index % 2}"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / path.name).symlink_to(path)

    def plain(output: str) -> None:
        workers = [start(folder, f"half-{number}", output) for number in range(2)]
        assert [worker.wait() for worker in workers] == [0, 0]

    def actors(output: str) -> None:
        places = [str(folder / output), str(folder / f"{output}.jsonl")]
        network = str(folder / "network.safetensors")
        predict([str(folder / "both")], *places, network, ["ids"], device="cpu", num_cpus=1).materialize()

    clocks, seen = Clocks(), []
    for number in range(rounds):
        for name, work in (("two processes", plain), ("two actors", actors)):
            output = f"{name.split()[1]}-{number}"
            durations = timed(partial(work, output), folder / output / "ids", count, clocks)
            seen.append({f"{name}, {kind}": value for kind, value in durations.items()})
    ray.shutdown()
    medians = {name: statistics.median(one[name] for one in seen if name in one) for one in seen[:2] for name in one}
    ratios = {
        f"ratio, {kind}": medians[f"two processes, {kind}"] / medians[f"two actors, {kind}"] for kind in durations
    }
    return ratios | medians


class Clocks:
    """The wall's clock, and the processor's of this process and all below it, those that have ended too."""

    def __init__(self):
        self.used: dict[tuple[int, float], float] = {}

    def read(self) -> dict[str, float]:
        """Return the seconds of both."""
        import psutil  # Ray brings it along

        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            with suppress(psutil.Error):  # it has ended
                times = process.cpu_times()
                self.used[process.pid, process.create_time()] = times.user + times.system
        return {"seconds": time.perf_counter(), "processor seconds": sum(self.used.values())}


def timed(work: Callable[[], None], ids: Path, count: int, clocks: Clocks) -> dict[str, float]:
    """Return how long a work takes that writes ``count`` files into a folder: from its start, and from the first."""
    began, first = clocks.read(), None
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        while not working.done():
            time.sleep(0.05 if first is None else 0.5)  # a look at all processes costs milliseconds
            now = clocks.read()
            first = first or (now if any(ids.glob("*.png")) else None)
    working.result()
    end = clocks.read()
    assert first is not None
    assert sum(1 for _ in ids.glob("*.png")) == count
    whole = {kind: end[kind] - began[kind] for kind in end}
    return whole | {f"{kind} after the first output": end[kind] - first[kind] for kind in end}


if __name__ == "__main__":
    main()
