"""Accuracy over training time on CamVid: python benchmarks/time_to_accuracy.py --camvid DIR [--minutes 60]

From scratch: DLA-34 and DLA-46-C at output stride 4 beside segmentation-models-pytorch's U-Net and FPN over ResNet-18,
all by one recipe: that of --config, at AdamW's customary learning rate, which none of them was tuned for, with a
warm-up of a tenth of the steps, and without a moving average, which a short run would not outgrow. Engine, precision,
memory layout and crops (from anywhere, not centred on rare classes) are the same too. Time is counted in steps: how
long one takes is measured first, with the contenders alternating on a machine that does nothing else, and kept in the
record; what the machine does later changes no result, and the steps may be taken on an accelerator. Making crops and
evaluating do not count. Writes results/time_to_accuracy.json, from which it goes on, and docs/time_to_accuracy.png.
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

from segdla import build, config
from segdla.build import learning
from segdla.build.data import cached, open_split
from segdla.data.dataset import SegmentationDataset, Source
from segdla.data.loader import Batch, TrainingKeys, training_batches
from segdla.data.transforms import TrainingTransform
from segdla.engine.state import Plan
from segdla.engine.step import gradients_of, take_step
from segdla.evaluation import evaluate
from segdla.inference.predictors import in_precision
from segdla.inference.scores import classify
from segdla.models.segmenter import padded

CPU = torch.device("cpu")
EVALUATIONS = 6
ROUNDS = 15
LEARNING_RATE = 0.001


class Peer(nn.Module):
    """A network of segmentation-models-pytorch, fed as ours is: with bytes, of any size."""

    def __init__(self, kind: str, num_classes: int):
        super().__init__()
        import segmentation_models_pytorch as smp

        self.network = getattr(smp, kind)("resnet18", encoder_weights=None, classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return self.network((padded(images, 32) - 117.0) / 58.0)[..., :height, :width]


def contender(name: str, settings: config.Config, num_classes: int) -> nn.Module:
    torch.manual_seed(settings.train.seed)
    kind = {"smp U-Net, ResNet-18": "Unet", "smp FPN, ResNet-18": "FPN"}.get(name)
    if kind is not None:
        return Peer(kind, num_classes)
    model = {**settings.model.model_dump(), "backbone": name.removeprefix("segdla ")}
    return build.model(config.parse({**settings.model_dump(), "model": model}), num_classes)


CONTENDERS = ("segdla dla34", "segdla dla46_c", "smp U-Net, ResNet-18", "smp FPN, ResNet-18")


def crops(settings: config.Config, source: Source) -> Iterator[Batch]:
    a = settings.data.augment
    transform = TrainingTransform(settings.data.crop, a.scale, a.rotate, a.flip, a.jitter, 0.0, a.transforms)
    dataset = SegmentationDataset(source, transform, settings.train.seed)
    keys = TrainingKeys(len(dataset), settings.train.batch_size, 10**9, settings.train.seed)
    return training_batches(dataset, keys, workers=1, pin=False)


def score(network: nn.Module, settings: config.Config, source: Source, on: torch.device) -> float:
    forward = in_precision(network.eval(), on, settings.train.precision)
    images = build.whole_images(settings, source, on)
    confusion = evaluate(lambda batch: classify(forward(batch)), images, len(source.classes), on)
    network.train()
    return float(confusion.scores(source.classes.names)["mean_iou"])


class Learner:
    """A contender in training, for a number of steps."""

    def __init__(self, name: str, settings: config.Config, source: Source, steps: int, on: torch.device):
        t = settings.train.model_copy(update={"lr": LEARNING_RATE, "warmup_steps": steps // 10, "ema": None})
        network = contender(name, settings, len(source.classes))
        self.network = network.to(on, memory_format=torch.channels_last).train()
        self.plan = Plan(Path(), on, steps, steps, build.precision(t.precision, on), clip_norm=t.clip_norm)
        self.training = learning.start(t, self.network, self.plan)
        objective = learning.loss(settings.loss, source, on)
        self.gradients = gradients_of(self.training, self.network, objective, self.plan)

    def step(self, batch: Batch) -> None:
        self.training.set_lr()
        take_step(self.training, self.gradients, (batch,), self.plan)
        self.training.step += 1


def seconds_a_step(settings: config.Config, source: Source) -> dict[str, float]:
    learners = {name: Learner(name, settings, source, 1 + ROUNDS, CPU) for name in CONTENDERS}
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number, batch in enumerate(islice(crops(settings, source), 1 + ROUNDS)):
        for name, learner in learners.items():
            started = time.perf_counter()
            learner.step(batch)
            if number:  # the first takes longer
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def train(name: str, settings: config.Config, sources: dict[str, Source], steps: int, on: torch.device) -> dict:
    learner = Learner(name, settings, sources["train"], steps, on)
    curve = []
    for done, batch in enumerate(islice(crops(settings, sources["train"]), steps), start=1):
        learner.step(batch)
        if done * EVALUATIONS // steps > len(curve):
            reached = score(learner.network, settings, sources["val"], on)
            curve.append({"step": done, "val_mean_iou": reached})
            print(f"{name:22} step {done:5} of {steps}  val mIoU {100 * reached:.1f}", flush=True)
    return {
        "parameters": sum(p.numel() for p in learner.network.parameters()),
        "steps": steps,
        "taken_on": f"{machine(on)['device']}, torch {torch.__version__}",
        "curve": curve,
        "test_mean_iou": score(learner.network, settings, sources["test"], on),
    }


def draw(results: dict[str, dict], seconds: dict[str, float], path: Path) -> None:
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
    parser.add_argument("--config", default="configs/camvid_compact_cpu.yaml", help="crops, loss and optimizer of all")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    args = parser.parse_args()
    settings = config.load(args.config, [f"data.root={args.camvid}", "data.cache=ram", "data.train_on_val=false"])

    on = build.device("auto")
    sources = {split: cached(settings, open_split(settings, split), split) for split in ("train", "val", "test")}

    path = RESULTS / "time_to_accuracy.json"
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["minutes"] != args.minutes or record["config"] != args.config:
            parser.error(f"{path} is of {record['minutes']} minutes of {record['config']}; remove it to start anew")
    else:
        seconds = seconds_a_step(settings, sources["train"])
        record = {"minutes": args.minutes, "config": args.config, "lr": LEARNING_RATE, **machine(CPU)}
        record |= {"seconds_a_step": seconds, "contenders": {}}
        write(path.stem, record)
    for name in args.contenders:
        if name in record["contenders"]:
            continue
        steps = round(60 * args.minutes / record["seconds_a_step"][name])
        record["contenders"][name] = train(name, settings, sources, steps, on)
        write(path.stem, record)  # each is kept as soon as it is there: these are hours
    draw(record["contenders"], record["seconds_a_step"], Path("docs/time_to_accuracy.png"))


if __name__ == "__main__":
    main()
