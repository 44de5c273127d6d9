"""Count how often ImageNet weights are right: python benchmarks/imagenet_top1.py FOLDER [--backbones NAME ...]

FOLDER holds photographs of ImageNet's 1000 classes: in a folder a class, or beside each other with names that begin
with the class, as n01440764_tench.JPEG. The public repository EliSchwartz/imagenet-sample-images has one of each class.

Each backbone of timm gets the weights that `model.weights` names, by the code and in the normalisation that training
takes, and a head for 1000 classes. Photographs are scaled and cropped as timm says for the network.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from measure import machine, write
from timm.data import create_transform
from torch import Tensor

from segdla.machine.terminal import progress
from segdla.models.named_weights import origin
from segdla.models.timm_backbone import classifier, published
from segdla.models.weights import read_state_dict

NUM_CLASSES = 1000
TF_LITE = [f"timm/tf_efficientnet_lite{number}" for number in range(3)]
BATCH = 50


def photographs(folder: Path) -> list[tuple[Path, int]]:
    """Return paths with their class, which is the place of its name among all in alphabetical order."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    names = [(path.name if path.parent == folder else path.parent.name).split("_")[0] for path in paths]
    classes = {name: number for number, name in enumerate(sorted(set(names)))}
    if len(classes) != NUM_CLASSES:
        raise SystemExit(f"{folder} holds {len(classes)} classes, not ImageNet's {NUM_CLASSES}")
    return [(path, classes[name]) for path, name in zip(paths, names, strict=True)]


def batches(listing: list[tuple[Path, int]], transform: object) -> Iterator[tuple[Tensor, Tensor]]:
    from PIL import Image

    for start in progress(range(0, len(listing), BATCH), "classifying"):
        part = listing[start : start + BATCH]
        images = [transform(Image.open(path).convert("RGB")) for path, _ in part]
        yield torch.stack(images), torch.tensor([number for _, number in part])


def count(listing: list[tuple[Path, int]], backbone: str, weights: str) -> dict[str, object]:
    """Return the shares of photographs whose class is the first, or among the first five, of a network."""
    name = backbone.removeprefix("timm/")
    source, facts = origin(weights, backbone), published(name)
    network = classifier(name, read_state_dict(source.fetch()), source.name).eval()
    mean, std = source.normalisation or (facts.mean, facts.std)
    transform = create_transform(
        facts.input_size, interpolation=facts.interpolation, crop_pct=facts.crop_pct, mean=mean, std=std
    )
    ranks = []
    with torch.inference_mode():
        for images, targets in batches(listing, transform):
            ranks.append((network(images).topk(5).indices == targets[:, None]).float())
    right = torch.cat(ranks).mean(0).cumsum(0)
    return {"weights": source.name, "top1": round(float(right[0]), 4), "top5": round(float(right[4]), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of photographs")
    parser.add_argument(
        "--backbones", nargs="+", default=TF_LITE, metavar="NAME", help=f"(default: {' '.join(TF_LITE)})"
    )
    parser.add_argument("--weights", default="imagenet", help="as in model.weights (default: imagenet)")
    args = parser.parse_args()
    listing = photographs(args.folder)
    rows = {}
    for backbone in args.backbones:
        row = rows[backbone] = count(listing, backbone, args.weights)
        print(f"{backbone}, {row['weights']}: top-1 {100 * row['top1']:.1f}, top-5 {100 * row['top5']:.1f}", flush=True)
    write("imagenet_top1", {**machine(torch.device("cpu")), "images": len(listing), "backbones": rows})


if __name__ == "__main__":
    main()
