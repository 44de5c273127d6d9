"""The README's CamVid rows: python benchmarks/camvid.py [--camvid DIR [--only camvid_compact] [--seeds 0 1]]

With --camvid, train each recipe with each seed and score the test images three ways; go on where it was stopped. A
training takes minutes on a GPU or, if the recipe's name says cpu, about an hour of two cores. Scores and logs are kept
in results/RECIPE/seedN; what is there is not computed again. Then print mean and spread of what is there, and the means
by class.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from itertools import chain
from pathlib import Path

from measure import RESULTS, run_training

from segdla import load_config

RECIPES = ("camvid_dla34", "camvid_compact", "camvid_compact_cpu", "camvid_lite0_cpu")
TESTS = {
    "eval_test": (),
    "eval_test_multiscale": ("--multiscale",),
    "eval_test_multiscale_flip": ("--multiscale", "--flip"),
}


def train_and_test(recipe: str, seed: int, camvid: Path, runs: Path) -> None:
    """Train a recipe with a seed, score it and copy scores and log to the results, unless they are there."""
    results, run = RESULTS / recipe / f"seed{seed}", runs / f"{recipe}_seed{seed}"
    if is_tested(results):
        return
    run_training(run, f"configs/{recipe}.yaml", f"data.root={camvid}", f"train.seed={seed}")
    results.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "metrics.jsonl", results)
    for scores, flags in TESTS.items():
        subprocess.run([sys.executable, "-m", "segdla", "test", str(run), "--split", "test", *flags], check=True)
        shutil.copy(run / f"{scores}.json", results)


def is_tested(results: Path) -> bool:
    return all((results / f"{scores}.json").exists() for scores in TESTS)


def minutes(log: Path, batch_size: int) -> float:
    """Return the minutes that the training steps took, without the evaluations between them."""
    seconds, before = 0.0, 0
    for record in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        if "images_per_second" in record:
            seconds += (record["step"] - before) * batch_size / record["images_per_second"]
            before = record["step"]
    return seconds / 60


def spread(numbers: list[float]) -> str:
    """Return the mean and, of several numbers, the lowest and the highest."""
    mean = f"{statistics.mean(numbers):.1f}"
    return mean if len(numbers) == 1 else f"{mean} ({min(numbers):.1f} to {max(numbers):.1f})"


def rows(recipe: str) -> tuple[str, list[str]]:
    """Return the recipe's row of the table of recipes, and its rows of the table of classes, over all seeds tested."""
    seeds = sorted(filter(is_tested, (RESULTS / recipe).glob("seed*")))
    batch_size = load_config(f"configs/{recipe}.yaml").train.batch_size
    row = [recipe, str(len(seeds))]
    row.append(spread([minutes(seed / "metrics.jsonl", batch_size) for seed in seeds]))
    by_class = []
    for test in TESTS:
        scores = [json.loads((seed / f"{test}.json").read_text(encoding="utf-8")) for seed in seeds]
        row.append(spread([100 * score["mean_iou"] for score in scores]))
        means = (100 * statistics.mean(score["iou"][name] for score in scores) for name in scores[0]["iou"])
        by_class.append(f"| {recipe}, {test} | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return f"| {' | '.join(row)} |", by_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, help="CamVid as the SegNet authors prepared it")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=RECIPES, metavar="RECIPE", help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(default: 0 1)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings (default: runs)")
    args = parser.parse_args()

    for recipe in args.only if args.camvid else ():
        for seed in args.seeds:
            train_and_test(recipe, seed, args.camvid, args.runs)
    recipes = [recipe for recipe in args.only if any(map(is_tested, (RESULTS / recipe).glob("seed*")))]
    by_recipe, by_class = zip(*map(rows, recipes), strict=True) if recipes else ((), ())
    print("| recipe | seeds | minutes | test mIoU | five scales | and mirrored |", "|---" * 6 + "|", sep="\n")
    print(*by_recipe, *chain(*by_class), sep="\n")


if __name__ == "__main__":
    main()
