"""Damage checkpoints, states and weights files and read them: python benchmarks/fuzz_checkpoints.py [--files 500]

Each must be read and load, or give a UserError of one line of bounded length that leaves the network as it was. Bytes
are damaged as those of images are, in the whole file, or in the part that a parser reads: a safetensors file's header,
whose length is then mended, or the pickle in a file of torch, whose checksum is. The tests try fewer, and keep what
fails small.
"""

import argparse
import io
import random
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from fuzz_images import KINDS, Edit, damaged
from safetensors.torch import save
from torch import nn

from segdla.checkpoints.checkpoint import BEST, Card, read_checkpoint, write_checkpoint
from segdla.config import parse
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.evaluation.scores import Scores
from segdla.models.weights import read_state_dict
from segdla.training.state import LAST, Training, read_state, restore, write_state

MOST_CHARACTERS = 3500  # of a message
PICKLE = "data.pkl"  # in files of torch


def training() -> Training:
    """Return a training of a very small network, whose fused optimizer would read beyond small moments."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    optimizer = torch.optim.AdamW(model.named_parameters(), fused=True)
    return Training(model, optimizer, lambda step: 1.0, stream={"train.batch_size": 2, "classes": ["a", "b"]})


def stepped() -> Training:
    """Return a training after a step, so that its optimizer has moments."""
    one = training()
    one.model(torch.ones(2, 3, 4, 4)).sum().backward()
    one.optimizer.step()
    one.step = one.evaluated = 1
    return one


def samples(folder: Path) -> dict[str, bytes]:
    """Return a small whole file of each kind, by the name that it has in a run; ``folder`` is written to meanwhile."""
    state_dict = training().model.state_dict()
    config = parse({"data": {"dataset": "scenes"}}).model_dump(mode="json")
    scores = Scores(mean_iou=0.5, pixel_accuracy=0.5, mean_accuracy=0.5, iou={"a": 0.5}, accuracy={}, split="val")
    card = Card(config, Classes(("a", "b"), ((0, 0, 0), (255, 0, 0))), scores, 1, "0.1")
    write_checkpoint(folder / BEST, state_dict, card)
    write_state(folder, stepped().state_dict())
    torch.save({"epoch": 3, "state_dict": state_dict}, folder / "weights.pth")
    (folder / "weights.safetensors").write_bytes(save(state_dict))
    return {name: (folder / name).read_bytes() for name in (BEST, LAST, "weights.pth", "weights.safetensors")}


def damaged_inside(content: bytes, edits: Sequence[Edit]) -> bytes:
    """Return a file whose header or pickle is damaged, with length and checksum right."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        (length,) = struct.unpack_from("<Q", content)
        header = damaged(content[8 : 8 + length], edits, mends_checksums=False)
        return struct.pack("<Q", len(header)) + header + content[8 + length :]
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(result, "w") as after:
        for entry in before.infolist():
            part = before.read(entry)
            if entry.filename.endswith(PICKLE):
                part = damaged(part, edits, mends_checksums=False)
            after.writestr(entry.filename, part)
    return result.getvalue()


def _resume(path: Path) -> None:
    one = training()
    before = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    try:
        state = read_state(path.parent)
        assert state is not None
        restore(one, state, path.parent)
    except UserError:
        assert one.step == 0 and all(torch.equal(one.model.state_dict()[name], before[name]) for name in before)
        raise
    one.model(torch.ones(2, 3, 4, 4)).sum().backward()
    one.optimizer.step()


READERS: dict[str, Callable[[Path], object]] = {
    BEST: read_checkpoint,
    LAST: _resume,
    "weights.pth": read_state_dict,
    "weights.safetensors": read_state_dict,
}


def read(path: Path) -> str:
    """Read a file as its name says and return the outcome. Raises what reading raises that is no UserError."""
    try:
        READERS[path.name](path)
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) <= MOST_CHARACTERS, f"no short line: {message[:1000]!r}"
        return "answered"
    return "read"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--output", type=Path, default=Path("fuzz_checkpoints"), help="folder of files that fail")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    outcomes, failures, start = Counter[str](), 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = samples(Path(folder))
        for number in range(args.files):
            name = draw.choice(list(whole))
            edits = [
                Edit(draw.choice(KINDS), draw.random(), draw.getrandbits(16)) for _ in range(draw.choice((1, 1, 2, 4)))
            ]
            content = (damaged_inside if draw.random() < 0.6 else _damaged_anywhere)(whole[name], edits)
            path = Path(folder, name)
            path.write_bytes(content)
            try:
                outcomes[read(path)] += 1
            except Exception:
                failures += 1
                args.output.mkdir(exist_ok=True)
                (args.output / f"{args.seed}_{number}_{name}").write_bytes(content)
                print(f"{name}, {edits}", file=sys.stderr)
                traceback.print_exc()
    seconds = time.perf_counter() - start
    print(f"{args.files} damaged files, {failures} failures in {seconds:.0f} s: {dict(outcomes)}")
    sys.exit(failures > 0)


def _damaged_anywhere(content: bytes, edits: Sequence[Edit]) -> bytes:
    return damaged(content, edits, mends_checksums=False)


if __name__ == "__main__":
    main()
