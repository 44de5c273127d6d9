"""Rank images with wrong labels: ours beside Cleanlab's segmentation module, on the same probabilities.

Errors are injected into the labels of CamVid's test images, one into each of a fifth of them: an object is overlooked
(its pixels take the nearest other class), called another class, or moved by 3 to 8 % of the diagonal. The score is the
AUROC of telling these images from the others, whose own errors stay in; chance is 0.5. Cleanlab is to be installed by
whoever runs this (pip install cleanlab): it is AGPL code, and no part of the package.
"""

import argparse
import tracemalloc
from pathlib import Path

import cv2
import measure
import numpy as np
import torch
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from segdla.checkpoints.find import SHIPPED
from segdla.data.labels import IGNORE_INDEX
from segdla.doctor.label_errors import Habits, find_regions, find_suspects, image_score
from segdla.doctor.label_ranking import LabelErrors, judge_image
from segdla.trained.check_labels import levels_of
from segdla.trained.score import open_evaluation

HALF = slice(None, None, 2)
SHARE = 0.2


def probabilities(camvid: Path, cache: Path | None) -> dict[str, np.ndarray]:
    """Return levels (N,C,H,W), targets (N,H,W) and names of CamVid's test images, every second row and column."""
    if cache is not None and cache.is_file():
        return dict(np.load(cache))
    overrides = {"data.root": str(camvid), "data.cache": "none"}
    evaluation = open_evaluation(SHIPPED, "test", device="cpu", overrides=overrides)
    predictor, source = evaluation.trained.predictor(), evaluation.source
    pairs = [source.read(index) for index in range(len(source))]
    levels = [levels_of(predictor, image, torch.device("cpu"))[:, HALF, HALF] for image, _ in pairs]
    result = {"levels": np.stack(levels), "targets": np.stack([target[HALF, HALF] for _, target in pairs])}
    result["names"] = np.array([source.name(index) for index in range(len(source))])
    if cache is not None:
        np.savez(cache, **result)
    return result


def objects(target: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the connected objects of 0.3 to 30 % of an image: class and mask."""
    found = []
    for class_id in np.unique(target[target != IGNORE_INDEX]).tolist():
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (target == class_id).astype(np.uint8), connectivity=4
        )
        shares = stats[:, cv2.CC_STAT_AREA] / target.size
        found += [(class_id, labels == place) for place in range(1, count) if 0.003 <= shares[place] <= 0.3]
    return found


def damaged(target: np.ndarray, kind: str, random: np.random.Generator, num_classes: int) -> np.ndarray | None:
    """Return the labels with one error of a kind; None if there is no object."""
    candidates = objects(target)
    if not candidates:
        return None
    class_id, mask = candidates[random.integers(len(candidates))]
    result = target.copy()
    if kind == "swap":
        result[mask] = random.choice([other for other in range(num_classes) if other != class_id])
        return result
    nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    result[mask] = target[tuple(nearest)][mask]
    if kind == "shift":
        angle, distance = random.uniform(0, 2 * np.pi), random.uniform(0.03, 0.08) * np.hypot(*target.shape)
        moved = ndimage.shift(mask.astype(np.uint8), (distance * np.sin(angle), distance * np.cos(angle)), order=0)
        result[moved > 0] = class_id
    return result


def injected(targets: np.ndarray, kind: str, seed: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets with errors in a fifth of the images, and which images those are."""
    random = np.random.default_rng(seed)
    targets, is_wrong = targets.copy(), np.zeros(len(targets), bool)
    for place in random.permutation(len(targets)):
        if is_wrong.sum() < SHARE * len(targets):
            result = damaged(targets[place], kind, random, num_classes)
            if result is not None:
                targets[place], is_wrong[place] = result, True
    return targets, is_wrong


def ours(levels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return a score for each image; higher is worse."""
    habits = Habits(levels.shape[1])
    for one, target in zip(levels, targets, strict=True):
        habits.add(one, target)
    thresholds, surprise = habits.thresholds, habits.surprise
    return np.array(
        [
            image_score(find_regions(one, target, find_suspects(one, target, thresholds), surprise))
            for one, target in zip(levels, targets, strict=True)
        ]
    )


def cleanlab(levels: np.ndarray, targets: np.ndarray, method: str) -> np.ndarray:
    """Return Cleanlab's score for each image, turned so that higher is worse.

    It knows no ignored pixels: they get the label that the network predicts, which is no issue to it.
    """
    from cleanlab.segmentation.rank import get_label_quality_scores

    shares = levels.astype(np.float32)
    shares /= shares.sum(1, keepdims=True)
    labels = np.where(targets == IGNORE_INDEX, levels.argmax(1), targets).astype(np.int64)
    scores, _ = get_label_quality_scores(labels, shares, method=method, downsample=4, n_jobs=1, verbose=False)
    return -scores


def first_images(levels: np.ndarray, targets: np.ndarray, names: np.ndarray) -> list[str]:
    """Return the three images that rank first with the labels as they are."""
    return [str(names[place]) for place in np.argsort(-ours(levels, targets))[:3]]


def memory(levels: np.ndarray, targets: np.ndarray, count: int) -> float:
    """Return the MB by which memory peaks while so many images are judged one by one, as the command does."""
    from segdla.data.source import Classes

    num_classes = levels.shape[1]
    errors = LabelErrors(Classes(tuple(map(str, range(num_classes))), ((0, 0, 0),) * num_classes))
    surprise, thresholds = np.ones((num_classes, num_classes), np.float32), np.full(num_classes, 100.0)
    tracemalloc.start()
    for number in range(count):
        one, target = levels[number % len(levels)], targets[number % len(levels)]
        suspects = find_suspects(one, target, thresholds)
        regions = find_regions(one, target, suspects, surprise)
        seen = one.argmax(0).astype(np.uint8)
        judged = judge_image("test", number, f"image {number}", (), target, seen, suspects, regions, num_classes)
        errors.add(judged, regions)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True, help="folder of the SegNet authors' CamVid")
    parser.add_argument("--seeds", type=int, default=3, help="injections of each kind (default: 3)")
    parser.add_argument("--cache", type=Path, help="file to keep the probabilities in")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = probabilities(args.camvid, args.cache)
    levels, targets = data["levels"], data["targets"]
    contenders = {
        "segdla": ours,
        "Cleanlab, softmin": lambda *pair: cleanlab(*pair, "softmin"),
        "Cleanlab, num_pixel_issues": lambda *pair: cleanlab(*pair, "num_pixel_issues"),
    }
    areas: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    for kind in ("drop", "swap", "shift"):
        for seed in range(args.seeds):
            wrong, is_wrong = injected(targets, kind, seed, levels.shape[1])
            for name, contender in contenders.items():
                area = float(roc_auc_score(is_wrong, contender(levels, wrong)))
                areas[name].setdefault(kind, []).append(round(area, 4))
        print(kind, {name: f"{np.mean(of_kind[kind]):.3f}" for name, of_kind in areas.items()}, flush=True)
    result = {
        "machine": measure.machine(torch.device("cpu")),
        "images": list(levels.shape),
        "wrong": SHARE,
        "AUROC by seed": areas,
        "ranked first as they are": first_images(levels, targets, data["names"]),
        "MB for so many images": {str(count): round(memory(levels, targets, count), 1) for count in (20, 400)},
    }
    measure.write("label_errors", result)
    print(result["ranked first as they are"], result["MB for so many images"])


if __name__ == "__main__":
    main()
