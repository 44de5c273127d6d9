"""Train a list of networks on CamVid, in pieces: python benchmarks/camvid_plan.py --camvid DIR [--plan cpu]

The trainings are listed by what they tell, the most telling first. Each call goes on where the last one stopped: when
the minutes are up, the training is asked to end, saves its state, and the next call resumes it. Scores of the test
images, taken once a training is done, go to results/camvid_plan_PLAN.json at once; the table is printed at the end of
each call. Minutes in it are the processor's, with start, evaluation and all.

The plan "gpu" is what a GPU is still to measure; to see that everything runs, without one: --steps 2 --record try. The
plan "cpu" starts from ImageNet's weights, and takes about an hour and a half of one core (OMP_NUM_THREADS=1).
"""

import argparse
import json
import resource
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


GPU_PLAN = {
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

ON_CPU = "configs/camvid_lite0_cpu.yaml"
CPU_PLAN = {
    "all labels": Training(ON_CPU),
    "an eighth labelled": Training(ON_CPU, FEW),
    "an eighth labelled, the others by the network of that eighth": Training(
        ON_CPU, (*FEW, "data.unlabelled={rest}", "train.teacher={runs}/an_eighth_labelled_0")
    ),
    "an eighth labelled, the others by its own average": Training(ON_CPU, (*FEW, "data.unlabelled={rest}")),
}
PLANS = {"gpu": GPU_PLAN, "cpu": CPU_PLAN}


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


def processor_minutes() -> float:
    """Return the minutes that the commands run so far have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def table(trainings: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = ["| training | seeds | test mIoU | minutes of the processor |", "|---|---|---|---|"]
    for name, seeds in trainings.items():
        done = [of_seed for of_seed in seeds.values() if "mean_iou" in of_seed]
        if done:
            ious, minutes = ([of_seed[key] for of_seed in done] for key in ("mean_iou", "minutes"))
            lines.append(f"| {name} | {len(done)} | {spread([100 * iou for iou in ious])} | {spread(minutes)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid as the SegNet authors prepared it")
    parser.add_argument("--plan", choices=PLANS, default="gpu", help="(default: gpu)")
    parser.add_argument("--minutes", type=float, default=9.5, help="of this call (default: 9.5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    parser.add_argument("--only", nargs="+", metavar="TRAINING", help="names of trainings (default: all of the plan)")
    parser.add_argument("--steps", type=int, help="of each training, in place of its epochs")
    parser.add_argument("--runs", type=Path, help="folder of the trainings (default: runs/camvid_plan_PLAN)")
    parser.add_argument("--record", help="name of the file in results/ (default: camvid_plan_PLAN)")
    args = parser.parse_args()

    until, plan = time.monotonic() + 60 * args.minutes, PLANS[args.plan]
    if unknown := set(args.only or ()) - set(plan):
        parser.error(f"--only: no such training: {', '.join(unknown)}; choose from: {'; '.join(plan)}")
    record = args.record or f"camvid_plan_{args.plan}"
    runs = args.runs or Path("runs") / record
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = RESULTS / f"{record}.json"
    trainings = json.loads(path.read_text(encoding="utf-8"))["trainings"] if path.exists() else {}
    folders = {"runs": runs, "few": runs / "camvid_few", "rest": runs / "camvid_rest"}
    share_out(args.camvid, folders["few"], folders["rest"])
    length = [f"train.steps={args.steps}", "train.warmup_steps=0", "train.cuda_graph=false"] if args.steps else []
    for seed, name in ((seed, name) for seed in args.seeds for name in args.only or plan):
        of_seed = trainings.setdefault(name, {}).setdefault(str(seed), {"minutes": 0.0})
        if "mean_iou" in of_seed or time.monotonic() > until:
            continue
        run, before = runs / file_name(name, seed), processor_minutes()
        changes = [change.format(**folders) for change in plan[name].changes]
        settings = [f"data.root={args.camvid}", f"train.seed={seed}", *changes, *length]
        is_done = train(run, plan[name], settings, until)
        of_seed["minutes"] += processor_minutes() - before
        if is_done:
            of_seed["mean_iou"] = test(run)
        write(path.stem, {**machine(device), "trainings": trainings})
        if not is_done:
            break
    print(table(trainings))


if __name__ == "__main__":
    main()
