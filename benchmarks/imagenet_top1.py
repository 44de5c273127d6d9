"""Count how often ImageNet weights are right: python benchmarks/imagenet_top1.py FOLDER [--backbones NAME ...]

FOLDER holds photographs of ImageNet's 1000 classes: in a folder a class, or beside each other with names that begin
with the class, as n01440764_tench.JPEG. The public repository EliSchwartz/imagenet-sample-images has one of each class.

Each backbone becomes the network that `segdla pretrain` trains, with the weights that `model.weights` names, and is
scored as `segdla test` scores it. Photographs are scaled and cropped as timm says for the network.
"""

import argparse
import math
from pathlib import Path

import torch
from measure import machine, write

from segdla.config import TIMM, parse
from segdla.data.from_config import whole_images
from segdla.data.source import Classes
from segdla.data.whole_images.image_folder import LabelledImages
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.top_scores import TopCounts
from segdla.inference.best_first import best_first
from segdla.machine.device import in_precision
from segdla.machine.terminal import progress
from segdla.models.from_config import build_network, load_initial_weights, with_exact_weights
from segdla.models.timm_backbone import published

NUM_CLASSES = 1000
TF_LITE = [f"timm/tf_efficientnet_lite{number}" for number in range(3)]
BATCH = 50


def photographs(folder: Path) -> LabelledImages:
    """Return the photographs with their class, which is the place of its name among all in alphabetical order."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    names = [(path.name if path.parent == folder else path.parent.name).split("_")[0] for path in paths]
    classes = {name: number for number, name in enumerate(sorted(set(names)))}
    if len(classes) != NUM_CLASSES:
        raise SystemExit(f"{folder} holds {len(classes)} classes, not ImageNet's {NUM_CLASSES}")
    files = [path.relative_to(folder).as_posix() for path in paths]
    known = Classes(tuple(classes), ((0, 0, 0),) * NUM_CLASSES, whole_images=True)
    return LabelledImages(folder, files, [classes[name] for name in names], known)


def count(source: LabelledImages, backbone: str, weights: str) -> dict[str, object]:
    """Return the shares of photographs whose class is the first, or among the first five, of a network."""
    facts = published(backbone.removeprefix(TIMM))
    side = facts.input_size[-1]
    scaling = {"crop": [side, side], "resize": math.floor(side / facts.crop_pct), "interpolation": facts.interpolation}
    data = {"dataset": "image_folder", "root": str(source.folder), "workers": 0, **scaling}
    model = {"backbone": backbone, "weights": weights}
    config = parse({"data": data, "model": model, "eval": {"batch_size": BATCH}})
    exact = with_exact_weights(config.model)
    network = build_network(exact, NUM_CLASSES)
    load_initial_weights(network, exact)
    device, counts = torch.device("cpu"), TopCounts()
    class_ids = best_first(in_precision(network.eval().logits, device, "fp32"))
    batches = progress(whole_images(config, source, device), "classifying")
    count_batches(lambda images: Prediction(class_ids(images)), batches, [counts], device)
    scores = counts.scores(source.classes.names)
    return {"weights": exact.weights, "top1": scores.top1, "top5": scores.top5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of photographs")
    parser.add_argument(
        "--backbones", nargs="+", default=TF_LITE, metavar="NAME", help=f"(default: {' '.join(TF_LITE)})"
    )
    parser.add_argument("--weights", default="imagenet", help="as in model.weights (default: imagenet)")
    args = parser.parse_args()
    source = photographs(args.folder)
    rows = {}
    for backbone in args.backbones:
        row = rows[backbone] = count(source, backbone, args.weights)
        print(f"{backbone}, {row['weights']}: top-1 {100 * row['top1']:.1f}, top-5 {100 * row['top5']:.1f}", flush=True)
    write("imagenet_top1", {**machine(torch.device("cpu")), "images": len(source), "backbones": rows})


if __name__ == "__main__":
    main()
