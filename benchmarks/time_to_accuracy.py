"""Measure accuracy over training time on CamVid: python benchmarks/time_to_accuracy.py --camvid DIR [--minutes 60]

Contenders are DLA-34 and DLA-46-C at output stride 4 and segmentation-models-pytorch's U-Net and FPN over ResNet-18.
All are trained from scratch by one recipe: that of --config, at AdamW's customary learning rate, for which none of them
was tuned, with a warm-up over a tenth of the steps. There is no moving average, because a short run would not outgrow
its first weights. Training loop, precision, memory layout and crops (from anywhere) are the same too.

Time is counted in steps. The time of a step is measured first, with the contenders alternating on an idle machine, and
kept in the record. A machine that is busy later changes no result, and the steps may be taken on an accelerator. Crops
and evaluations do not count. The script writes results/time_to_accuracy.json, from which it goes on when it is called
again, and docs/time_to_accuracy.png.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from measure import RESULTS, machine, write
from torch import Tensor, nn

from segdla.config import Config, load_config
from segdla.data.from_config import cached, open_split, whole_images
from segdla.data.loader import Batch, TrainingKeys, training_batches
from segdla.data.samples import SegmentationDataset
from segdla.data.source import Source
from segdla.data.transforms import TrainingTransform
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.inference.score_maps import classify
from segdla.machine.device import choose_device, in_precision, start
from segdla.models.dlaseg import padded
from segdla.models.from_config import build_network
from segdla.training.from_config import build_loss, build_training
from segdla.training.state import Plan
from segdla.training.step import gradients_of, take_step

CPU = torch.device("cpu")
EVALUATIONS = 6
ROUNDS = 15
LEARNING_RATE = 0.001


class Peer(nn.Module):
    """A network of segmentation-models-pytorch that takes the same images as ours: bytes, of any size."""

    def __init__(self, kind: str, num_classes: int):
        super().__init__()
        import segmentation_models_pytorch as smp

        self.network = getattr(smp, kind)("resnet18", encoder_weights=None, classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return self.network((padded(images, 32) - 117.0) / 58.0)[..., :height, :width]


def contender(name: str, config: Config, num_classes: int) -> nn.Module:
    """Return a contender, freshly initialised."""
    torch.manual_seed(config.train.seed)
    kind = {"smp U-Net, ResNet-18": "Unet", "smp FPN, ResNet-18": "FPN"}.get(name)
    if kind is not None:
        return Peer(kind, num_classes)
    model = load_config(config, {"model.backbone": name.removeprefix("segdla ")}).model
    return build_network(model, num_classes)


CONTENDERS = ("segdla dla34", "segdla dla46_c", "smp U-Net, ResNet-18", "smp FPN, ResNet-18")


def crops(config: Config, source: Source) -> Iterator[Batch]:
    """Yield batches of crops, without end."""
    a = config.data.augment
    transform = TrainingTransform(config.data.crop, a.scale, a.rotate, a.flip, a.jitter, 0.0, a.transforms)
    dataset = SegmentationDataset(source, transform, config.train.seed)
    keys = TrainingKeys(len(dataset), config.train.batch_size, 10**9, config.train.seed)
    return training_batches(dataset, keys, workers=1, pin=False)


def score(network: nn.Module, config: Config, source: Source, device: torch.device) -> float:
    """Return the mIoU of a network in training."""
    forward = in_precision(network.eval(), device, config.train.precision)
    confusion = ConfusionMatrix(len(source.classes), device)
    images = whole_images(config, source, device)
    count_batches(lambda batch: Prediction(classify(forward(batch))), images, [confusion], device)
    network.train()
    return confusion.scores(source.classes.names).mean_iou


class Learner:
    """A contender in training, for a number of steps."""

    def __init__(self, name: str, config: Config, source: Source, steps: int, device: torch.device):
        t = config.train.model_copy(update={"lr": LEARNING_RATE, "warmup_steps": steps // 10, "ema": None})
        network = contender(name, config, len(source.classes))
        self.network = network.to(device, memory_format=torch.channels_last).train()
        precision = start(device, t.precision).precision
        self.plan = Plan(Path(), device, steps, steps, precision, clip_norm=t.clip_norm)
        self.training = build_training(t, self.network, self.plan)
        objective = build_loss(config.loss, source, device)
        self.gradients = gradients_of(self.training, self.network, objective, self.plan)

    def step(self, batch: Batch) -> None:
        self.training.set_lr()
        take_step(self.training, self.gradients, (batch,), self.plan)
        self.training.step += 1


def seconds_a_step(config: Config, source: Source) -> dict[str, float]:
    """Return each contender's median seconds of a training step on the CPU."""
    learners = {name: Learner(name, config, source, 1 + ROUNDS, CPU) for name in CONTENDERS}
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number, batch in enumerate(islice(crops(config, source), 1 + ROUNDS)):
        for name, learner in learners.items():
            begin = time.perf_counter()
            learner.step(batch)
            if number:  # the first step takes longer
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def train(name: str, config: Config, sources: dict[str, Source], steps: int, device: torch.device) -> dict:
    """Train a contender and return its record: the curve on the validation images, and the score on the test images."""
    learner = Learner(name, config, sources["train"], steps, device)
    curve = []
    for done, batch in enumerate(islice(crops(config, sources["train"]), steps), start=1):
        learner.step(batch)
        if done * EVALUATIONS // steps > len(curve):
            mean_iou = score(learner.network, config, sources["val"], device)
            curve.append({"step": done, "val_mean_iou": mean_iou})
            print(f"{name:22} step {done:5} of {steps}  val mIoU {100 * mean_iou:.1f}", flush=True)
    return {
        "parameters": sum(p.numel() for p in learner.network.parameters()),
        "steps": steps,
        "taken_on": f"{machine(device)['device']}, torch {torch.__version__}",
        "curve": curve,
        "test_mean_iou": score(learner.network, config, sources["test"], device),
    }


def draw(results: dict[str, dict], seconds: dict[str, float], path: Path) -> None:
    """Draw the curves of all contenders over minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axis = figure.subplots()
    for name, result in results.items():
        points = [(point["step"] * seconds[name] / 60, 100 * point["val_mean_iou"]) for point in result["curve"]]
        axis.plot(*zip(*points, strict=True), marker=".", label=f"{name}: test {100 * result['test_mean_iou']:.1f}")
    axis.set(xlabel="minutes of training on two cores", ylabel="mIoU on the validation images")
    axis.legend()
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", required=True, help="CamVid as the SegNet authors prepared it")
    recipe = "configs/camvid_compact_cpu.yaml"
    parser.add_argument("--config", default=recipe, help=f"crops, loss and optimizer of all (default: {recipe})")
    parser.add_argument("--minutes", type=float, default=60, help="training time of each contender (default: 60)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS, help="(default: all)")
    args = parser.parse_args()
    overrides = {"data.root": args.camvid, "data.cache": "ram", "data.train_on_val": False}
    config = load_config(args.config, overrides)

    device = choose_device("auto")
    sources = {split: cached(config, open_split(config, split), split) for split in ("train", "val", "test")}

    path = RESULTS / "time_to_accuracy.json"
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["minutes"] != args.minutes or record["config"] != args.config:
            parser.error(f"{path} is of {record['minutes']} minutes of {record['config']}; remove it to start anew")
    else:
        seconds = seconds_a_step(config, sources["train"])
        record = {"minutes": args.minutes, "config": args.config, "lr": LEARNING_RATE, **machine(CPU)}
        record |= {"seconds_a_step": seconds, "contenders": {}}
        write(path.stem, record)
    for name in args.contenders:
        if name in record["contenders"]:
            continue
        steps = round(60 * args.minutes / record["seconds_a_step"][name])
        record["contenders"][name] = train(name, config, sources, steps, device)
        write(path.stem, record)  # at once: each contender takes hours
    draw(record["contenders"], record["seconds_a_step"], Path("docs/time_to_accuracy.png"))


if __name__ == "__main__":
    main()
