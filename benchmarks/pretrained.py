"""Measure what ImageNet weights give on CamVid: python benchmarks/pretrained.py --camvid DIR [--steps N]

One recipe, once from the weights that `model.weights: imagenet` names and once from scratch, for as many steps. Two
learning rates each, so that neither start is judged by the other's. As in recipe.py, images have half size, and the
drives that are held out of the training images are scored; test images are not used. One drive takes one core.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from measure import machine, run_training, write
from recipe import HELD_OUT, halve

CONFIG = Path("configs/camvid_compact_cpu.yaml")
STARTS = {"ImageNet weights": "model.weights=imagenet", "from scratch": "model.weights=null"}
RATES = (0.001, 0.004)


def train(start: str, rate: float, drive: str, args: argparse.Namespace) -> float:
    """Return the mIoU of a training's last weights on the drive held out."""
    settings = (
        f"data.root={args.work / drive}",
        "data.crop=[128, 160]",
        "data.workers=0",
        "data.train_on_val=false",
        f"model.backbone={args.backbone}",
        STARTS[start],
        f"train.lr={rate}",
        f"train.warmup_steps={args.steps // 8}",
        f"train.seed={HELD_OUT[drive]}",
        f"train.steps={args.steps}",
        f"train.ema={0.9 if args.steps < 500 else 0.998}",
        "train.eval_every=1000",
    )
    name = f"{args.backbone.rpartition('/')[2]}_{start}_{rate}_{drive}_{args.steps}".replace(" ", "_")
    run = args.work / name
    run_training(run, str(CONFIG), *settings, alone=False)
    return float(json.loads((run / "scores.json").read_text(encoding="utf-8"))["mean_iou"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid as the SegNet authors prepared it")
    parser.add_argument(
        "--backbone", default="timm/tf_efficientnet_lite0", help="(default: timm/tf_efficientnet_lite0)"
    )
    parser.add_argument("--steps", type=int, default=1000, help="of each training (default: 1000)")
    parser.add_argument("--drives", nargs="+", choices=list(HELD_OUT), default=list(HELD_OUT), help="(default: both)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one core each (default: 2)")
    work = Path("runs/pretrained")
    parser.add_argument("--work", type=Path, default=work, help=f"folder of the images and the runs (default: {work})")
    args = parser.parse_args()
    if not all((args.work / drive).exists() for drive in HELD_OUT):
        halve(args.camvid, args.work)
    keys = [(start, rate, drive) for rate in RATES for start in STARTS for drive in args.drives]
    with ThreadPoolExecutor(args.jobs) as cores:
        scores = list(cores.map(lambda key: train(*key, args), keys))
    rows = [
        {"start": start, "lr": rate, "drive": drive, "mean_iou": score}
        for (start, rate, drive), score in zip(keys, scores, strict=True)
    ]
    for row in rows:
        print(f"| {row['start']} | {row['lr']} | {row['drive']} | {100 * row['mean_iou']:.1f} |")
    facts = {"config": str(CONFIG), "backbone": args.backbone, "steps": args.steps}
    write("pretrained", {**machine(torch.device("cpu")), "threads": 1, **facts, "trainings": rows})


if __name__ == "__main__":
    main()
