"""NCNN: made by pnnx, computed by ncnn; one zip archive of NCNN's two files and the card.

``unzip best.ncnn`` gives ``model.ncnn.param``, ``model.ncnn.bin`` and ``card.json``. The network takes RGB in 0..255,
of sides that are multiples of the card's ``divisor``, as blob ``in0``; it gives the logits as blob ``out0``.
"""

import json
import subprocess
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segdla.errors import UserError
from segdla.export.graph import Graph, needing
from segdla.models.dlaseg import padded

SUFFIX = ".ncnn"
WRITES: tuple[str, ...] = (SUFFIX,)
PACKAGES: tuple[str, ...] = ("ncnn", "pnnx")
INT8 = False
ONE_SIZE = False
_CARD, _PARAM, _WEIGHTS = "card.json", "model.ncnn.param", "model.ncnn.bin"


class _Logits(nn.Module):
    def __init__(self, graph: Graph):
        super().__init__()
        self.network = graph.network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.logits(images)


def write(graph: Graph, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    """Write the network with its card; the padding is not in the file.

    Raises UserError if packages are missing, or pnnx can't convert the network.
    """
    with needing("ncnn"):
        import pnnx
    divisor = graph.network.divisor
    sizes = [(4 * divisor, 6 * divisor), (3 * divisor, 2 * divisor)]  # two: sides are free
    if graph.size is not None:
        height, width = graph.size
        sizes = [(height + -height % divisor, width + -width % divisor)]
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch deprecates tracing, which is what pnnx reads
            images = torch.zeros(1, 3, *sizes[0])
            torch.jit.trace(_Logits(graph), images, check_trace=False).save(str(traced))
        shapes = [f"inputshape{n}=[1,3,{h},{w}]f32" for n, (h, w) in zip(("", "2"), sizes, strict=False)]
        command = [pnnx.EXEC_PATH, traced.name, *shapes, "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        files = [Path(folder) / name for name in (_PARAM, _WEIGHTS)]
        if done.returncode or not all(file.is_file() for file in files):
            words = " ".join((done.stderr or done.stdout).split())[-200:]
            raise UserError(f"pnnx can't convert this network ({words}); choose --format onnx or litert")
        with zipfile.ZipFile(path, "w") as archive:  # stored, so that it can be read where it lies
            for file in files:
                archive.write(file, file.name)
            archive.writestr(_CARD, json.dumps({**json.loads(card), "divisor": divisor}))


def read_card(path: Path) -> str:
    """Return the card."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(_CARD).decode()


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    """Return a function from images to logits, the card, and the CPU, the one device that computes."""
    with needing("ncnn"):
        import ncnn

    card = read_card(path)
    divisor = json.loads(card)["divisor"]
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        names = [archive.extract(name, folder) for name in (_PARAM, _WEIGHTS)]
        net = ncnn.Net()
        net.opt.num_threads = torch.get_num_threads()
        net.opt.use_vulkan_compute = False
        for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            if hasattr(net.opt, f"use_{half}"):
                setattr(net.opt, f"use_{half}", False)
        if net.load_param(names[0]) or net.load_model(names[1]):
            raise ValueError("NCNN can't load it: it lacks an operator, or the file is damaged")

    def one(image: np.ndarray) -> Tensor:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image))
            failed, output = extractor.extract("out0")
            assert not failed, f"NCNN: error {failed}"
            return torch.from_numpy(np.array(output))  # a copy: the memory is the extractor's

    def logits(images: Tensor) -> Tensor:
        batch = np.ascontiguousarray(padded(images.cpu(), divisor).float().numpy())
        return torch.stack([one(image) for image in batch]).to(images.device)

    return logits, card, torch.device("cpu")
