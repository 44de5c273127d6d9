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
from segdla.config import Config, EvalConfig, WholeImagesConfig, find_config, load_config, parse
from segdla.data.from_config import open_split
from segdla.data.source import Classes, Source
from segdla.errors import UserError, quoted
from segdla.export.formats import FORMATS, is_exported, open_file, write_file
from segdla.export.from_config import calibration_images, is_for_one_size, scorer_on, validation_images
from segdla.inference.from_config import Predictor, head_of, num_logits
from segdla.inference.head import SOFTMAX, WholeImage
from segdla.inference.predictors import LogitsOf
from segdla.machine.device import compiled, in_precision, start
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.machine.speed import Speed, measure
from segdla.machine.terminal import say
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import folded, for_prediction
from segdla.models.from_config import build_network
from segdla.models.macs import count_macs
from segdla.trained.open import Size, open_trained

_NUM_CLASSES = 19  # Cityscapes', for a config whose data set is not here
_SIZE = (512, 1024)
_IN_JSON = {"mIoU": "mean_iou", "top-1": "top1"}


def backends() -> dict[str, tuple[str, ...]]:
    """Return the backends that ``segdla benchmark`` measures, with the packages that each needs."""
    return {"eager": (), "compiled": ()} | {name: f.PACKAGES for name, f in FORMATS.items() if f.PACKAGES}


class Measurement(NamedTuple):
    """A backend with its precision, on a device and for images of ``size``: its speed and, if scored, its score.

    ``measure`` is that of the score: mIoU, or top-1 of a network that labels whole images.
    """

    backend: str
    device: torch.device
    size: tuple[int, int]
    speed: Speed
    score: float | None = None
    measure: str = "mIoU"

    @property
    def figures(self) -> dict[str, Any]:
        """All figures, for JSON."""
        score = {_IN_JSON[self.measure]: self.score}
        return {"device": str(self.device), "size": self.size, **self.speed._asdict(), **score}


class Work(NamedTuple):
    """The work that is measured: ``batch`` images of ``size`` (height, width) at a time, for some seconds.

    Without a size, an exported file is measured at its own, a network that labels whole images at ``data.crop``, and
    all else at 512x1024. ``num_images`` of the validation images are predicted to be scored: 0 is none, and None as
    many as ``validation_images`` takes.
    """

    size: tuple[int, int] | None = None
    batch: int = 1
    seconds: float = 10.0
    num_images: int | None = 0

    def images(self, config: Config, classes: Classes) -> Source | None:
        """Return the images to score a network on; None if there are none, or it has not been trained."""
        if not classes.names or classes.of_nothing or self.num_images == 0:
            return None
        if classes.whole_images and self.size_for(config) != self._replace(size=None).size_for(config):
            say("not scored: a network that labels whole images is scored at data.crop; leave out --size")
            return None
        return validation_images(config, classes, self.num_images)

    def size_for(self, config: Config, only_size: Size = None) -> tuple[int, int]:
        """Return the size of the images; ``only_size`` is the one that an exported file is for, if any."""
        crop = config.data.crop if isinstance(config.data, WholeImagesConfig) else None
        return self.size or only_size or crop or _SIZE


class Subject(NamedTuple):
    """A network to measure, on the CPU, with its config and its card, which holds no classes if it is not trained."""

    network: DLASeg
    config: Config
    card: Card


class _Bench(NamedTuple):
    """One way to measure and score, for all backends of a network."""

    work: Work
    config: Config
    card: Card
    images: Source | None

    def measure(
        self, name: str, logits_of: LogitsOf, stride: int, device: torch.device, only_size: Size = None
    ) -> Measurement:
        """Measure a backend from images to class ids, and score it; ``only_size`` is the one that it is for, if any.

        Raises UserError if memory runs out.
        """
        size, batch = self.work.size_for(self.config, only_size), self.work.batch
        if only_size is not None and size != only_size:
            height, width = only_size
            raise UserError(f"the file is for images of {height}x{width}, not of {size[0]}x{size[1]} (--size)")
        remedy = f"lower batch (--batch, now {batch}) or size (--size, now {size[0]}x{size[1]})"
        with torch.inference_mode(), answering_out_of_memory(device, remedy):
            images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device=device)
            predictor = Predictor(logits_of, stride, EvalConfig(window="whole"))
            speed = measure(partial(predictor.class_ids, images), device, self.work.seconds)
        if self.images is None:
            return Measurement(name, device, size, speed)
        head = head_of(self.config, self.card.classes, self.card.thresholds)
        scorer = scorer_on(self.images, self.config, head, only_size, device)
        return Measurement(name, device, size, speed, scorer.score(logits_of, stride), scorer.measure)


def measure_named(
    name: str,
    overrides: Mapping[str, Any],
    device: torch.device,
    work: Work,
    chosen: Sequence[str] | None = None,
    int8: bool = False,
) -> Iterator[Measurement]:
    """Measure an exported file, or a network in the backends that are ``chosen``; say how large the network is.

    With ``int8``, the formats that have it are measured in it too. Raises UserError if something does not fit.
    """
    if is_exported(Path(name)):
        if chosen or int8:
            raise UserError(f"{name} is one backend, as it was exported; leave out --backends and --int8")
        yield measure_file(Path(name), overrides, device, work)
        return
    subject = open_subject(name, overrides)
    network, (height, width) = subject.network, work.size_for(subject.config)
    parameters, gmac = sum(p.numel() for p in network.parameters()), count_macs(network, height, width) / 1e9
    size = f"{parameters / 1e6:.2f} M parameters, {gmac:.{1 if gmac >= 1 else 3}f} GMAC at {height}x{width}"
    say(f"{subject.config.model.title}: {size}")
    yield from measure_backends(subject, device, work, chosen, int8)


def open_subject(name: str, overrides: Mapping[str, Any]) -> Subject:
    """Open a network on the CPU: that of a run or checkpoint with its weights, that of a config without.

    Raises UserError if none has that name.
    """
    path = Path(name) if Path(name).is_dir() else find_config(name)
    if path.suffix not in (".yaml", ".yml"):
        checkpoint = read_checkpoint(find_checkpoint(name).path)
        config = parse(checkpoint.card.config, overrides, source=str(checkpoint.path))
        return Subject(restored(checkpoint, config, torch.device("cpu")), config, checkpoint.card)
    config = load_config(path, overrides)
    try:
        number = num_logits(config, open_split(config, "train").classes)
    except UserError as error:
        number = _NUM_CLASSES
        say(f"with {number} classes, as the data set is not here ({error})")
    card = Card(config.model_dump(mode="json"), Classes((), (), whole_images=config.model.decoder == "pool"))
    return Subject(build_network(config.model, number).eval(), config, card)


def measure_file(path: Path, overrides: Mapping[str, Any], device: torch.device, work: Work) -> Measurement:
    """Measure an exported file. Raises UserError if it can't be read, or is not for the size."""
    trained = open_trained(path, device, overrides=overrides, whole_images=True)
    bench = _Bench(work, trained.config, trained.card, work.images(trained.config, trained.classes))
    name = f"{path.suffix} {trained.machine.precision}"
    return bench.measure(name, trained.logits_of, trained.stride, trained.device, trained.only_size)


def measure_backends(
    subject: Subject, device: torch.device, work: Work, chosen: Sequence[str] | None = None, int8: bool = False
) -> Iterator[Measurement]:
    """Measure a network in the ``chosen`` backends, or all that are installed; the network is changed.

    Raises UserError if one of them is unknown or not installed.
    """
    network, config, card = subject
    chosen = _chosen(chosen)
    head = WholeImage() if config.model.decoder == "pool" else SOFTMAX
    stride, size = network.output_stride, work.size_for(config)
    start(device, "fp32")  # exported files compute in it
    bench = _Bench(work, config, card, work.images(config, card.classes))
    with tempfile.TemporaryDirectory() as folder:
        for kind in [backend for backend in chosen if backend in FORMATS]:  # first, as the rest changes the network
            only_size = size if is_for_one_size(config, kind) else None
            for precision in ("fp32", "int8") if int8 and FORMATS[kind].INT8 else ("fp32",):
                path = Path(folder) / f"{precision}{FORMATS[kind].SUFFIX}"
                calibration = calibration_images(config) if precision == "int8" else None
                write_file(network, card, path, kind, calibration, head=head, size=only_size)
                exported = open_file(path, device)
                yield bench.measure(f"{kind} {precision}", exported.logits_of, stride, exported.device, only_size)
    precision = start(device, config.train.precision).precision
    network = network.to(device).to(memory_format=torch.channels_last)
    if "compiled" in chosen:
        logits_of = in_precision(compiled(folded(copy.deepcopy(network)).logits, device), device, precision)
        yield bench.measure(f"compiled {precision}", logits_of, stride, device)
    if "eager" in chosen:
        logits_of = in_precision(for_prediction(network, device, precision).logits, device, precision)
        yield bench.measure(f"eager {precision}", logits_of, stride, device)


def _chosen(chosen: Sequence[str] | None) -> Sequence[str]:
    """Return the chosen backends, or all that are installed. Raises UserError if one is unknown."""
    unknown = [backend for backend in chosen or () if backend not in backends()]
    if unknown:
        raise UserError(f"{quoted(unknown[0])} is none of the backends {', '.join(backends())}")
    installed = [name for name, packages in backends().items() if all(map(find_spec, packages))]
    return chosen or installed
