"""A network in every form that can compute it here, measured: eager, compiled, and each runtime that is installed."""

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from segdla.checkpoints.checkpoint import Card, read_checkpoint
from segdla.checkpoints.find import find_checkpoint
from segdla.checkpoints.from_config import restored
from segdla.config import Config, EvalConfig, find_config, load_config, parse
from segdla.data.from_config import open_split
from segdla.data.source import Classes
from segdla.errors import UserError, quoted
from segdla.export.formats import FORMATS, open_file, write_file
from segdla.inference.from_config import Predictor, num_logits
from segdla.inference.predictors import LogitsOf
from segdla.machine.device import compiled, in_precision, start
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.machine.speed import Speed, measure
from segdla.machine.terminal import say
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import folded, for_prediction
from segdla.models.from_config import build_network

_NUM_CLASSES = 19  # Cityscapes', for a config whose data set is not here


def backends() -> dict[str, tuple[str, ...]]:
    """Return the backends that ``segdla benchmark`` measures, with the packages that each needs."""
    return {"eager": (), "compiled": ()} | {name: f.PACKAGES for name, f in FORMATS.items() if f.PACKAGES}


class Measurement(NamedTuple):
    """A backend with its precision, the device that it computes on, and its speed."""

    backend: str
    device: torch.device
    speed: Speed


class Work(NamedTuple):
    """The work that is measured: ``batch`` images of ``size`` (height, width) at a time, for some seconds."""

    size: tuple[int, int]
    batch: int
    seconds: float

    def measure(self, logits_of: LogitsOf, stride: int, device: torch.device) -> Speed:
        """Measure the way from images to class ids. Raises UserError if memory runs out."""
        remedy = f"lower batch (--batch, now {self.batch}) or size (--size, now {self.size[0]}x{self.size[1]})"
        with torch.inference_mode(), answering_out_of_memory(device, remedy):
            images = torch.randint(0, 256, (self.batch, 3, *self.size), dtype=torch.uint8, device=device)
            predictor = Predictor(logits_of, stride, EvalConfig(window="whole"))
            return measure(partial(predictor.class_ids, images), device, self.seconds)


def open_network(name: str, overrides: Mapping[str, Any]) -> tuple[DLASeg, Config]:
    """Open a network on the CPU: that of a run or checkpoint with its weights, that of a config without.

    Raises UserError if none has that name.
    """
    path = Path(name) if Path(name).is_dir() else find_config(name)
    if path.suffix not in (".yaml", ".yml"):
        checkpoint = read_checkpoint(find_checkpoint(name).path)
        config = parse(checkpoint.card.config, overrides, source=str(checkpoint.path))
        return restored(checkpoint, config, torch.device("cpu")), config
    config = load_config(path, overrides)
    try:
        number = num_logits(config, open_split(config, "train").classes)
    except UserError as error:
        number = _NUM_CLASSES
        say(f"with {number} classes, as the data set is not here ({error})")
    return build_network(config.model, number).eval(), config


def measure_file(path: Path, device: torch.device, work: Work) -> Measurement:
    """Measure an exported file. Raises UserError if it can't be read."""
    start(device, "fp32")  # for what the file does not compute
    exported = open_file(find_checkpoint(path).path, device)
    speed = work.measure(exported.logits_of, exported.stride, exported.device)
    return Measurement(f"{path.suffix} {exported.precision}", exported.device, speed)


def measure_backends(
    network: DLASeg, config: Config, device: torch.device, work: Work, chosen: Sequence[str] | None = None
) -> Iterator[Measurement]:
    """Measure a network, on the CPU, in the ``chosen`` backends, or all that are installed; the network is changed.

    Raises UserError if one of them is unknown or not installed.
    """
    unknown = [backend for backend in chosen or () if backend not in backends()]
    if unknown:
        raise UserError(f"{quoted(unknown[0])} is none of the backends {', '.join(backends())}")
    installed = [name for name, packages in backends().items() if all(map(find_spec, packages))]
    if config.model.decoder == "pool":  # which is not exported
        installed = [name for name in installed if name not in FORMATS]
        if foreign := [name for name in chosen or () if name in FORMATS]:
            raise UserError(f"{foreign[0]} is for networks for masks; this one labels whole images, so leave it out")
    chosen = chosen or installed
    stride = network.output_stride
    start(device, "fp32")  # exported files compute in it
    card = Card(config.model_dump(mode="json"), Classes((), ()))
    with tempfile.TemporaryDirectory() as folder:
        for kind in [backend for backend in chosen if backend in FORMATS]:  # first, as the rest changes the network
            path = Path(folder) / f"network{FORMATS[kind].SUFFIX}"
            write_file(network, card, path, kind, size=work.size if FORMATS[kind].ONE_SIZE else None)
            exported = open_file(path, device)
            speed = work.measure(exported.logits_of, stride, exported.device)
            yield Measurement(f"{kind} fp32", exported.device, speed)
    precision = start(device, config.train.precision).precision
    network = network.to(device).to(memory_format=torch.channels_last)
    if "compiled" in chosen:
        logits_of = in_precision(compiled(folded(copy.deepcopy(network)).logits, device), device, precision)
        yield Measurement(f"compiled {precision}", device, work.measure(logits_of, stride, device))
    if "eager" in chosen:
        logits_of = in_precision(for_prediction(network, device, precision).logits, device, precision)
        yield Measurement(f"eager {precision}", device, work.measure(logits_of, stride, device))
