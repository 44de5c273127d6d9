"""Measure each knob of a CamVid recipe: python benchmarks/recipe.py --camvid DIR [--config CONFIG] [--only NAME ...]

Each variant changes one thing in the config and is trained by ``segdla train``. CamVid's validation images lie between
its training images, so whole drives are held out of the training images instead: 0006R0 in one training of each
variant, 0001TP in another, each with its own seed. Images have half size, so that a training takes minutes: images are
averaged, labels taken from the pixel in the middle, and the crop is half of the config's. Test images are not used.

Several trainings run at once, each on one core, and together on an accelerator if there is one. The script goes on
where it was stopped and writes results/recipe_CONFIG.json after each variant.
"""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import torch
from measure import RESULTS, machine, run_training, write

from segdla.config import load_config

HELD_OUT = {"0006R0": 0, "0001TP": 1}  # drive: seed
VARIANTS = {
    "the recipe": (),
    "ENet's class weights": ("loss.class_weights=enet",),
    "median-frequency weights": ("loss.class_weights=median_frequency",),
    "square roots of the ENet weights": (
        "loss.class_weights=[2.37, 2.07, 5.79, 1.83, 3.94, 2.96, 5.62, 5.66, 3.58, 6.17, 6.63]",
    ),
    "no moving average": ("train.ema=null",),
    "a constant rate, averaged": ("train.schedule=step", "train.milestones=[10000]"),  # SWAD
    "SGD": ("train.optimizer=sgd", "train.lr=0.05", "train.weight_decay=0.0005", "train.decay_all=true"),
    "output stride 2": ("model.output_stride=2",),
    "crops from anywhere": ("data.augment.balance=0",),
    "rotation by 10 degrees": ("data.augment.rotate=10",),
    "scales 0.5 to 2": ("data.augment.scale=[0.5, 2.0]",),
    "scales 0.75 to 1.25": ("data.augment.scale=[0.75, 1.25]",),
    "no jitter": ("data.augment.jitter=0",),
    "jitter 0.6": ("data.augment.jitter=0.6",),
    "gamma, hue, blur, noise": (
        "data.augment.transforms=[{RandomGamma: {gamma_limit: [50, 200], p: 0.5}}, "
        "{HueSaturationValue: {hue_shift_limit: 15, sat_shift_limit: 40, val_shift_limit: 0, p: 0.5}}, "
        "{GaussianBlur: {blur_limit: [3, 5], p: 0.2}}, {GaussNoise: {std_range: [0.02, 0.1], p: 0.2}}]",
    ),
    "no gamma, hue, blur": ("data.augment.transforms=[]",),
    "half the classes of another crop pasted": ("data.augment.paste=0.5",),
    "nothing pasted": ("data.augment.paste=0",),
    "OHEM": ("loss.cross_entropy=0", "loss.ohem=1"),
    "no dice": ("loss.dice=0",),
    "Lovasz in place of dice": ("loss.dice=0", "loss.lovasz=1"),
    "label smoothing 0.1": ("loss.label_smoothing=0.1",),
    "weight decay 0.1": ("train.weight_decay=0.1",),
    "twice as long": (),  # see epochs_of
}


def epochs_of(variant: str, epochs: int) -> int:
    return 2 * epochs if variant == "twice as long" else epochs


def halve(camvid: Path, target: Path) -> None:
    """Write the training images at half size, once for each drive held out, whose images are for validation."""
    for drive in HELD_OUT:
        for file in sorted((camvid / "train").iterdir()):
            part = "val" if file.name.startswith(drive) else "train"
            labels = (camvid / "trainannot" / file.name).with_suffix(".png")
            for kind, source, mode in (("", file, cv2.INTER_AREA), ("annot", labels, cv2.INTER_NEAREST_EXACT)):
                array = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
                half = target / drive / f"{part}{kind}" / f"{source.stem}.png"
                half.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(half), cv2.resize(array, None, fx=0.5, fy=0.5, interpolation=mode))


def train(config: Path, variant: str, drive: str, epochs: int, work: Path) -> dict:
    """Train a variant; return the scores of its last weights on the drive held out."""
    crop = [side // 2 for side in load_config(config, {"data.root": "."}).data.crop]
    settings = (
        f"data.root={work / drive}",
        f"data.crop={crop}",
        "data.cache=ram",
        f"data.workers={int(torch.cuda.is_available())}",
        f"train.seed={HELD_OUT[drive]}",
        f"train.epochs={epochs}",
        f"train.eval_every={epochs}",
        "data.train_on_val=false",
    )
    run = work / config.stem / f"{variant}, {drive}".replace(" ", "_")
    run_training(run, str(config), *settings, *VARIANTS[variant], alone=False)
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    return {"seed": HELD_OUT[drive], "mean_iou": scores["mean_iou"], "iou": scores["iou"]}


def table(results: dict[str, dict]) -> str:
    """Return a Markdown table of mIoU by variant, beside the recipe's."""
    base = results["the recipe"]["held_out"]
    lines = [f"| variant | {' | '.join(f'{drive} held out' for drive in HELD_OUT)} | mean | change |", "|---" * 5 + "|"]
    for variant, result in results.items():
        ious = [100 * result["held_out"][drive]["mean_iou"] for drive in HELD_OUT]
        changes = [iou - 100 * base[drive]["mean_iou"] for iou, drive in zip(ious, HELD_OUT, strict=True)]
        change = f"{sum(changes) / 2:+.1f} ({changes[0]:+.1f}, {changes[1]:+.1f})"
        lines.append(f"| {variant} | {' | '.join(f'{iou:.1f}' for iou in ious)} | {sum(ious) / 2:.1f} | {change} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid as the SegNet authors prepared it")
    recipe = Path("configs/camvid_compact_cpu.yaml")
    parser.add_argument("--config", type=Path, default=recipe, help=f"the recipe (default: {recipe})")
    parser.add_argument("--epochs", type=int, default=40, help="(default: 40)")
    variants = list(VARIANTS)
    parser.add_argument(
        "--only", nargs="+", choices=variants, default=variants, metavar="VARIANT", help="(default: all)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at once (default: one a core)")
    work = Path("runs/recipe")
    parser.add_argument("--work", type=Path, default=work, help=f"folder of the images and the runs (default: {work})")
    args = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    record = RESULTS / f"recipe_{args.config.stem}.json"
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"variants": {}}
    if before.get("config", str(args.config)) != str(args.config):
        parser.error(f"{record} is of {before['config']}; remove it to start anew")
    results = before["variants"]
    if not all((args.work / drive).exists() for drive in HELD_OUT):
        halve(args.camvid, args.work)
    todo = [variant for variant in args.only if variant not in results]
    with ThreadPoolExecutor(args.jobs) as cores:
        running = {
            variant: {
                drive: cores.submit(train, args.config, variant, drive, epochs_of(variant, args.epochs), args.work)
                for drive in HELD_OUT
            }
            for variant in todo
        }
        for variant, trainings in running.items():
            held_out = {drive: training.result() for drive, training in trainings.items()}
            results[variant] = {
                "changes": VARIANTS[variant],
                "epochs": epochs_of(variant, args.epochs),
                "held_out": held_out,
            }
            write(record.stem, {"config": str(args.config), **machine(device), "threads": 1, "variants": results})
    print(table(results))


if __name__ == "__main__":
    main()
