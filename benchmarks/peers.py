"""Race networks at equal time by one recipe: python benchmarks/peers.py --camvid DIR [--minutes 60] [--only NAME ...]

Ours (DLA-46-C and DLA-34 at output stride 4), FPN and U-Net of segmentation-models-pytorch over ResNet-18, and the
semantic networks of Ultralytics, if that package is installed. Ultralytics is AGPL: whoever runs this installs it; the
package segdla neither needs nor imports it. All start at random and train on CamVid's training images in our loop, with
the crops, loss, optimizer and precision of --config, at AdamW's customary rate, for which none of them was tuned.

Each contender trains for --minutes of the clock: the learning rate follows the time that has passed. Waiting for crops
and evaluating stop that clock. One contender trains at a time, alone on the machine; the weights are saved every
minute, and the script goes on where it was stopped. It writes results/peers.json after each contender and prints a
table. With the last weights, the test images are scored once.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from measure import RESULTS, machine, write
from time_to_accuracy import LEARNING_RATE, Peer, crops, score
from torch import Tensor, nn

from segdla.config import Config, load_config
from segdla.data.from_config import cached, open_split
from segdla.data.loader import Batch
from segdla.data.source import Source
from segdla.machine.device import choose_device, in_precision, start
from segdla.machine.files import write_whole
from segdla.machine.speed import measure
from segdla.models.dlaseg import padded
from segdla.models.from_config import build_network
from segdla.models.macs import count_macs
from segdla.training.from_config import build_loss, build_training
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of, take_step

SIZE = (360, 480)
RESOLUTION = 100_000  # of the schedule, which counts thousandths of a percent of the time
SAVE_EVERY = 60.0  # seconds of training
WARMUP = 0.1  # of the time


class Ultralytics(nn.Module):
    """A semantic network of Ultralytics, from its own yaml without weights; it takes bytes of any size, as ours do."""

    def __init__(self, name: str, num_classes: int):
        super().__init__()
        from ultralytics import YOLO

        self.network = YOLO(f"{name}.yaml", task="semantic").model
        yaml = {**self.network.yaml, "nc": num_classes}
        self.network = type(self.network)(yaml, ch=3, nc=num_classes, verbose=False)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        logits = self.network(padded(images, 32) / 255)
        while not isinstance(logits, Tensor):  # auxiliary outputs follow the logits
            logits = logits[0]
        size = [side + -side % 32 for side in (height, width)]
        return nn.functional.interpolate(logits, size=size, mode="bilinear")[..., :height, :width]


def ours(backbone: str, config: Config, num_classes: int) -> nn.Module:
    return build_network(load_config(config, {"model.backbone": backbone}).model, num_classes)


CONTENDERS: dict[str, tuple[str, Callable[[Config, int], nn.Module]]] = {  # the package each needs, and how it is built
    "segdla DLA-46-C": ("torch", partial(ours, "dla46_c")),
    "segdla DLA-34": ("torch", partial(ours, "dla34")),
    "smp FPN, ResNet-18": ("segmentation_models_pytorch", lambda config, classes: Peer("FPN", classes)),
    "smp U-Net, ResNet-18": ("segmentation_models_pytorch", lambda config, classes: Peer("Unet", classes)),
    "YOLO26n semantic": ("ultralytics", lambda config, classes: Ultralytics("yolo26n-sem", classes)),
    "YOLO26s semantic": ("ultralytics", lambda config, classes: Ultralytics("yolo26s-sem", classes)),
}


@dataclass
class Race:
    """What is the same for all contenders."""

    config: Config
    sources: dict[str, Source]
    device: torch.device
    seconds: float
    work: Path


class Learner:
    """A contender in training, whose schedule follows its own clock."""

    def __init__(self, name: str, race: Race):
        config, source = race.config, race.sources["train"]
        torch.manual_seed(config.train.seed)
        t = config.train.model_copy(
            update={"lr": LEARNING_RATE, "warmup_steps": round(WARMUP * RESOLUTION), "ema": None}
        )
        network = CONTENDERS[name][1](config, len(source.classes))
        self.network = network.to(race.device, memory_format=torch.channels_last).train()
        self.precision = start(race.device, t.precision).precision
        self.plan = Plan(race.work, race.device, RESOLUTION, RESOLUTION, self.precision, clip_norm=t.clip_norm)
        self.training: Training = build_training(t, self.network, self.plan)
        self.gradients = gradients_of(
            self.training, self.network, build_loss(config.loss, source, race.device), self.plan
        )
        self.race, self.seconds, self.steps = race, 0.0, 0
        self.file = race.work / f"{name.replace(' ', '_').replace(',', '')}.pt"
        if self.file.exists():
            saved = torch.load(self.file, weights_only=True, map_location=race.device)
            self.network.load_state_dict(saved["network"])
            self.training.optimizer.load_state_dict(saved["optimizer"])
            self.seconds, self.steps = saved["seconds"], saved["steps"]

    def step(self, batch: Batch) -> None:
        begin = time.perf_counter()
        self.training.step = min(RESOLUTION - 1, int(RESOLUTION * self.seconds / self.race.seconds))
        self.training.set_lr()
        loss, _ = take_step(self.training, self.gradients, (batch,), self.plan)
        loss.item()  # waits for the device
        self.seconds += time.perf_counter() - begin
        self.steps += 1

    def save(self) -> None:
        state = {"network": self.network.state_dict(), "optimizer": self.training.optimizer.state_dict()}
        state |= {"seconds": self.seconds, "steps": self.steps}
        write_whole(self.file, lambda file: torch.save(state, file))


def train(name: str, race: Race) -> dict:
    """Train a contender until its time is up, and return its record."""
    learner = Learner(name, race)
    saved = learner.seconds
    batches = crops(
        load_config(race.config, {"train.seed": race.config.train.seed + learner.steps}), race.sources["train"]
    )
    while learner.seconds < race.seconds:
        learner.step(next(batches))
        if learner.seconds - saved > SAVE_EVERY:
            saved = learner.seconds
            learner.save()
            print(f"{name}: {saved / 60:.0f} of {race.seconds / 60:.0f} minutes, step {learner.steps}", flush=True)
    learner.save()
    record = {"steps": learner.steps, "parameters": sum(p.numel() for p in learner.network.parameters())}
    for split in ("val", "test"):
        record[f"{split}_mean_iou"] = score(learner.network, race.config, race.sources[split], race.device)
    return record | cost(learner, race)


@torch.inference_mode()
def cost(learner: Learner, race: Race) -> dict:
    """Return GFLOPs (two for a multiply-accumulate) and milliseconds of a forward pass of one image."""
    forward = in_precision(learner.network.eval(), race.device, learner.precision)
    image = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8, device=race.device)
    speed = measure(lambda: forward(image), race.device, seconds=min(10.0, race.seconds))
    return {"gflops": 2e-9 * count_macs(learner.network, *SIZE), "forward_ms": 1000 * speed.median}


def table(contenders: dict[str, dict]) -> str:
    """Return a Markdown table, the best first."""
    lines = ["| network | test mIoU | val mIoU | parameters, M | GFLOPs | forward, ms | steps |", "|---" * 7 + "|"]
    for name, r in sorted(contenders.items(), key=lambda item: -item[1]["test_mean_iou"]):
        lines.append(
            f"| {name} | {100 * r['test_mean_iou']:.1f} | {100 * r['val_mean_iou']:.1f} | {r['parameters'] / 1e6:.2f} "
            f"| {r['gflops']:.1f} | {r['forward_ms']:.0f} | {r['steps']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", required=True, help="CamVid as the SegNet authors prepared it")
    recipe = "configs/camvid_compact_cpu.yaml"
    parser.add_argument("--config", default=recipe, help=f"crops, loss and optimizer of all (default: {recipe})")
    parser.add_argument("--minutes", type=float, default=60, help="training time of each contender (default: 60)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    work = Path("runs/peers")
    parser.add_argument("--work", type=Path, default=work, help=f"folder of the weights (default: {work})")
    parser.add_argument("--results", default="peers", help="name of the file in results/ (default: peers)")
    args = parser.parse_args()

    path = RESULTS / f"{args.results}.json"
    device = choose_device("auto")
    record = {"minutes": args.minutes, "config": args.config, "lr": LEARNING_RATE, **machine(device), "contenders": {}}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in ("minutes", "config", "device") if before[key] != record[key]]
        if changed:
            parser.error(f"{path} has another {changed[0]} ({before[changed[0]]}); move it away, and {args.work} too")
        record = before
    overrides = {"data.root": args.camvid, "data.cache": "ram", "data.train_on_val": False}
    config = load_config(args.config, overrides)
    sources = {split: cached(config, open_split(config, split), split) for split in ("train", "val", "test")}
    args.work.mkdir(parents=True, exist_ok=True)
    race = Race(config, sources, device, 60 * args.minutes, args.work)
    for name in args.only:
        if name in record["contenders"]:
            continue
        package = CONTENDERS[name][0]
        if find_spec(package) is None:
            print(f"{name} is left out: {package} is not installed")
            continue
        record["contenders"][name] = train(name, race)
        write(path.stem, record)  # at once: each contender takes an hour
    print(table(record["contenders"]))


if __name__ == "__main__":
    main()
