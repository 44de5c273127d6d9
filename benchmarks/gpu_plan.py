"""Train what a GPU is still to measure on CamVid: python benchmarks/gpu_plan.py --camvid DIR [--minutes 9.5]

The trainings are listed by what they tell, the most telling first. Each call goes on where the last one stopped: when
the minutes are up, the training is asked to end, saves its state, and the next call resumes it. Scores of the test
images, taken once a training is done, go to results/gpu_plan.json at once; the table is printed at the end of each
call. All take `train.cuda_graph`. To see that everything runs, without a GPU: --steps 2 --record try.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from camvid import spread
from measure import RESULTS, machine, write

DLA34, COMPACT = "configs/camvid_dla34.yaml", "configs/camvid_compact.yaml"
LITE0 = ("model.backbone=timm/tf_efficientnet_lite0", "train.lr=0.001")
TRAIN_ALONE = "data.train_on_val=false"
EVERY = 8  # of the training images, one is labelled
FEW = (TRAIN_ALONE, "data.root={few}")
AS_LONG = "train.steps=5520"  # as DLA-46-C takes with all labels: 23 an epoch


class Training(NamedTuple):
    """A recipe and what is changed in it; {runs}, {few} and {rest} are folders."""

    config: str
    changes: tuple[str, ...] = ()


PLAN = {
    "lite0, ImageNet weights": Training(COMPACT, (*LITE0, "model.weights=imagenet")),
    "lite0 from scratch": Training(COMPACT, (*LITE0, "model.weights=null")),
    "DLA-34, training images alone": Training(DLA34, (TRAIN_ALONE,)),
    "DLA-46-C, DLA-34 as its teacher": Training(
        COMPACT, (TRAIN_ALONE, "train.teacher={runs}/DLA-34_training_images_alone_0")
    ),
    "DLA-46-C, training images alone": Training(COMPACT, (TRAIN_ALONE,)),
    "DLA-34, an eighth labelled": Training(DLA34, (*FEW, "train.steps=12535")),
    "DLA-46-C, an eighth labelled": Training(COMPACT, (*FEW, AS_LONG)),
    "DLA-46-C, an eighth labelled, the others by its own average": Training(
        COMPACT, (*FEW, AS_LONG, "data.unlabelled={rest}")
    ),
    "DLA-46-C, an eighth labelled, the others by DLA-34": Training(
        COMPACT,
        (*FEW, AS_LONG, "data.unlabelled={rest}", "train.teacher={runs}/DLA-34_an_eighth_labelled_0"),
    ),
    "DLA-46-C, twice as long, weight decay 0.1": Training(COMPACT, ("train.epochs=480", "train.weight_decay=0.1")),
    "DLA-34, twice as long": Training(DLA34, ("train.epochs=1090",)),
    "DLA-34, 545 epochs, weight decay 0.02": Training(DLA34, ("train.weight_decay=0.02",)),
    "DLA-34, 250 epochs, weight decay 0.1": Training(DLA34, ("train.epochs=250",)),
    "DLA-34, nodes with attention in the decoder": Training(
        DLA34, ("model.node=attention", "model.backbone_node=concat")
    ),
}


def file_name(name: str, seed: int) -> str:
    return f"{name.replace(',', '').replace(' ', '_')}_{seed}"


def share_out(camvid: Path, few: Path, rest: Path) -> None:
    """Make a CamVid whose training set is every eighth image, and a folder of the other images, of links."""
    if rest.exists():
        return
    few.mkdir(parents=True)
    for folder in (entry for entry in camvid.iterdir() if entry.is_dir() and entry.name not in ("train", "trainannot")):
        (few / folder.name).symlink_to(folder.resolve())
    for part in ("train", "trainannot"):
        (few / part).mkdir()
        for path in sorted((camvid / part).iterdir())[::EVERY]:
            (few / part / path.name).symlink_to(path.resolve())
    rest.mkdir()
    for index, path in enumerate(sorted((camvid / "train").iterdir())):
        if index % EVERY:
            (rest / path.name).symlink_to(path.resolve())


def train(run: Path, training: Training, settings: list[str], until: float) -> bool:
    """Train, or resume, until it is done or the time is up; return whether it is done."""
    start = [training.config, *settings, "--runs", str(run.parent), "--name", run.name]
    what = ["--resume", str(run)] if run.exists() else start
    process = subprocess.Popen([sys.executable, "-m", "segdla", "train", *what])
    try:
        process.wait(max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.terminate()  # it saves its state
        process.wait()
    return (run / "scores.json").exists()


def test(run: Path) -> float:
    """Return the mIoU of the test images, at one scale."""
    subprocess.run([sys.executable, "-m", "segdla", "test", str(run), "--split", "test"], check=True)
    return float(json.loads((run / "eval_test.json").read_text(encoding="utf-8"))["mean_iou"])


def table(scores: dict[str, dict[str, float]]) -> str:
    lines = ["| training | seeds | test mIoU |", "|---|---|---|"]
    for name in (name for name in PLAN if scores.get(name)):
        ious = [100 * iou for iou in scores[name].values()]
        lines.append(f"| {name} | {len(ious)} | {spread(ious)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid as the SegNet authors prepared it")
    parser.add_argument("--minutes", type=float, default=9.5, help="of this call (default: 9.5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(default: 0 1)")
    parser.add_argument(
        "--only", nargs="+", choices=PLAN, default=list(PLAN), metavar="TRAINING", help="(default: all)"
    )
    parser.add_argument("--steps", type=int, help="of each training, in place of its epochs")
    runs = Path("runs/gpu_plan")
    parser.add_argument("--runs", type=Path, default=runs, help=f"folder of the trainings (default: {runs})")
    parser.add_argument("--record", default="gpu_plan", help="name of the file in results/ (default: gpu_plan)")
    args = parser.parse_args()

    until = time.monotonic() + 60 * args.minutes
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = RESULTS / f"{args.record}.json"
    scores = json.loads(path.read_text(encoding="utf-8"))["mean_iou"] if path.exists() else {}
    folders = {"runs": args.runs, "few": args.runs / "camvid_few", "rest": args.runs / "camvid_rest"}
    share_out(args.camvid, folders["few"], folders["rest"])
    length = [f"train.steps={args.steps}", "train.warmup_steps=0", "train.cuda_graph=false"] if args.steps else []
    for seed, name in ((seed, name) for seed in args.seeds for name in args.only):
        of_seeds = scores.setdefault(name, {})
        if str(seed) in of_seeds or time.monotonic() > until:
            continue
        run = args.runs / file_name(name, seed)
        changes = [change.format(**folders) for change in PLAN[name].changes]
        if not train(run, PLAN[name], [f"data.root={args.camvid}", f"train.seed={seed}", *changes, *length], until):
            break
        of_seeds[str(seed)] = test(run)
        write(path.stem, {**machine(device), "mean_iou": scores})
    print(table(scores))


if __name__ == "__main__":
    main()
