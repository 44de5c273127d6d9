"""Reading from object storage: our loader from a disk, from an S3 server, and from the files kept of it; and LitData's.

An S3 server (moto) runs in a process of its own, on the same machine, and waits 20 ms before each answer. Each
contender reads all pairs of a data set once, as crops, with two workers. They run in turn, so that all meet the same
machine. ``pip install -r requirements-dev.txt litdata zstd``, then ``python benchmarks/remote.py``.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from bucket import ENVIRONMENT, bucket_server
from measure import machine, write

from segdla.data.folder import folder
from segdla.data.image_writer import encode_image
from segdla.data.images import decode_image, decode_stored_mask
from segdla.data.loader import TrainingKeys, training_batches
from segdla.data.pair_source import PairSource
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.data.transforms import TrainingTransform
from segdla.machine.remote import object_store

PAIRS, SIZE, CROP, BATCH, WORKERS, ROUNDS, LATENCY = (
    64,
    (480, 640),
    (256, 256),
    8,
    2,
    3,
    0.02,
)
URL = "s3://benchmark/set"


def transform() -> TrainingTransform:
    return TrainingTransform(CROP, (0.5, 2.0), 0.0, 0.5, 0.4, 0.0, (), len(Scenes.classes))


def ours(source: PairSource) -> None:
    """Read one epoch by our loader."""
    keys = TrainingKeys(len(source), BATCH, len(source) // BATCH, seed=0)
    samples = SegmentationDataset(source, transform())
    assert sum(1 for _ in training_batches(samples, keys, WORKERS, pin=False)) == len(keys)


def litdata(cache: Path) -> Callable[[], None]:
    """Return a function that reads one epoch of the same crops by LitData's raw streaming."""
    from litdata import StreamingRawDataset
    from litdata.streaming import downloader
    from torch.utils.data import DataLoader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # there is no certificate for a loopback

    class Pairs(StreamingRawDataset):
        def setup(self, files):
            by_name: dict[str, list] = {}
            for file in sorted(files, key=lambda file: file.path):
                by_name.setdefault(Path(file.path).name, []).append(file)
            return list(by_name.values())

    crop = transform()

    def decoded(pair: list[bytes]) -> tuple[torch.Tensor, torch.Tensor]:
        image = decode_image(Path("image"), pair[0])
        mask = decode_stored_mask(Path("mask"), pair[1]).samples
        image, mask = crop(image, mask, 0)
        return torch.from_numpy(image), torch.from_numpy(mask)

    pairs = Pairs(
        URL,
        cache_dir=str(cache),
        cache_files=True,
        transform=decoded,
        recompute_index=False,
    )
    assert len(pairs) == PAIRS

    def epoch() -> None:
        loader = DataLoader(pairs, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True)
        assert sum(1 for _ in loader) == PAIRS // BATCH

    return epoch


def server_alone() -> None:
    """Fetch all objects by as many requests at once as our two workers make, and do nothing with them."""
    urls = [f"{URL}/{kind}/{i}.png" for kind in ("images", "masks") for i in range(PAIRS)]
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(object_store.read_object, urls))


class Took(NamedTuple):
    """Seconds by the clock, and of the processor, by this process and its workers."""

    clock: float
    processor: float


def took(work: Callable[[], None]) -> Took:
    before, start = os.times(), time.perf_counter()
    work()
    return Took(time.perf_counter() - start, sum(os.times()[:4]) - sum(before[:4]))


def rounds(local: Path, work: Path) -> Iterator[dict[str, Took]]:
    """Yield the seconds of each contender, round by round."""
    names = Scenes.classes.names

    def remote(tier: str) -> PairSource:
        os.environ["SEGDLA_CACHE"] = str(work / tier)
        return folder(URL, names, images="images", masks="masks")

    on_disk = folder(local, names, images="images", masks="masks")
    ours(on_disk)
    for number in range(ROUNDS):
        times = {"from a disk": took(lambda: ours(on_disk))}
        source = remote(f"tier {number}")
        times["from S3, first epoch"] = took(lambda source=source: ours(source))
        times["from S3, second epoch"] = took(lambda source=source: ours(source))
        times["from a disk, again"] = took(lambda: ours(on_disk))
        times["the server alone"] = took(server_alone)
        theirs = litdata(work / f"litdata {number}")
        times["LitData, first epoch"] = took(theirs)
        times["LitData, second epoch"] = took(theirs)
        yield times


def disk(one: dict[str, Took]) -> Took:
    """Return the mean of the two epochs from a disk, one before and one after those from S3."""
    twice = one["from a disk"], one["from a disk, again"]
    return Took(sum(t.clock for t in twice) / 2, sum(t.processor for t in twice) / 2)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    scenes = Scenes("train", PAIRS, SIZE)
    with tempfile.TemporaryDirectory() as place, bucket_server(LATENCY) as address:
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=address)
        local = Path(place, "set")
        object_store._system(URL).mkdir("benchmark")
        for i in range(PAIRS):
            image, mask = scenes.read(i)
            for kind, content in (
                ("images", encode_image(image)),
                ("masks", encode_image(mask)),
            ):
                (local / kind).mkdir(parents=True, exist_ok=True)
                (local / kind / f"{i}.png").write_bytes(content)
                object_store.write_object(f"{URL}/{kind}/{i}.png", content)
        megabytes = sum(file.stat().st_size for file in local.rglob("*.png")) / 1e6
        every = list(rounds(local, Path(place)))
        shutil.rmtree(place, ignore_errors=True)
    times = {name: round(statistics.median(one[name].clock for one in every), 3) for name in every[0]}
    ratios = {
        "second epoch: throughput / that from a disk": [
            disk(one).clock / one["from S3, second epoch"].clock for one in every
        ],
        "second epoch: processor time / that from a disk": [
            one["from S3, second epoch"].processor / disk(one).processor for one in every
        ],
        "first epoch: time / (the server alone + from a disk)": [
            one["from S3, first epoch"].clock / (one["the server alone"].clock + disk(one).clock) for one in every
        ],
        "LitData: first epoch, time / ours": [
            one["LitData, first epoch"].clock / one["from S3, first epoch"].clock for one in every
        ],
        "LitData: second epoch, time / ours": [
            one["LitData, second epoch"].clock / one["from S3, second epoch"].clock for one in every
        ],
        "LitData: second epoch, processor time / ours": [
            one["LitData, second epoch"].processor / one["from S3, second epoch"].processor for one in every
        ],
    }
    medians = {name: round(statistics.median(values), 3) for name, values in ratios.items()}
    for name, value in {**times, **medians}.items():
        print(f"{value:8.3f}  {name}")
    pairs = f"{PAIRS} pairs of {SIZE[0]}x{SIZE[1]}, {megabytes:.0f} MB; crops of {CROP[0]}x{CROP[1]}, {WORKERS} workers"
    facts = {
        **machine(torch.device("cpu")),
        "set": pairs,
        "latency": LATENCY,
        "note": "shared with other work",
    }
    write("remote", {**facts, "seconds": times, "ratios": medians})


if __name__ == "__main__":
    main()
