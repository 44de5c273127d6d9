"""Measure learned weights of scales at test time beside plain sums: python benchmarks/scale_space.py --camvid DIR

The shipped network sees CamVid's images at five scales. Its maps are summed as ``eval.merge`` sums them, or weighted:
by a weight for each scale, by one for each scale and class, or, as in AFA-DLA (Yang et al., WACV 2023;
github.com/SysCV/dla-afa), by scale-space rendering, whose attention head gives each pixel of each scale a density. The
authors train it together with the network; here the network stays as it is, and the head alone learns.

The weights are fitted on every fourth training image, which the network was trained on too; or on one of the two drives
of the test images and scored on the other, an advantage that nobody has in earnest. All are scored on all test images
at full size. The script writes results/scale_space.json and prints a table.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from measure import machine, write
from torch import Tensor, nn

import segdla
from segdla.config import load_config
from segdla.data.from_config import open_split
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Source
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.inference.predictors import _resize_images as resized
from segdla.inference.score_maps import classify
from segdla.models.dlaseg import DLASeg, at_image_size
from segdla.models.nodes import SpatialAttention

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
PATCH = (32, 48)  # of the maps at stride 4 that are fitted on
BATCH = 4


@dataclass
class Seen:
    """An image as the network sees it at every scale: logits (C,h,w) of different sizes, and features (S,D,H/4,W/4)."""

    drive: str
    target: Tensor
    logits: list[Tensor]
    features: Tensor

    def maps(self, size: tuple[int, int]) -> Tensor:
        """Return the logits of all scales at one size: (S,C,h,w)."""
        height, width = self.target.shape
        maps = []
        for scale, logits in zip(SCALES, self.logits, strict=True):
            own = at_image_size(logits[None].float(), 4, (round(scale * height), round(scale * width)))
            maps.append(F.interpolate(own, size=size, mode="bilinear", align_corners=False))
        return torch.cat(maps)


@torch.inference_mode()
def look(network: DLASeg, source: Source, every: int) -> list[Seen]:
    """Run the network over every so many images of a source, at every scale."""
    seen = []
    for index in range(0, len(source), every):
        image, target = source.read(index)
        images = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        quarter = [side // 4 for side in target.shape]
        logits, features = [], []
        for scale in SCALES:
            maps = network.decoder(network.maps(resized(images, scale))[network.first_level :])
            logits.append(network.classifier(maps)[0].half())
            height, width = (round(scale * side) for side in quarter)
            features.append(F.interpolate(maps[..., :height, :width], size=quarter, mode="bilinear")[0].half())
        seen.append(Seen(source.name(index)[:4], torch.from_numpy(target.copy()), logits, torch.stack(features)))
    return seen


class PerScale(nn.Module):
    """A weight for each scale, or for each scale and class, by which log-probabilities are summed."""

    def __init__(self, classes: int):
        super().__init__()
        self.weights = nn.Parameter(torch.full((len(SCALES), classes, 1, 1), 1 / len(SCALES)))

    def forward(self, maps: Tensor, features: Tensor) -> Tensor:
        """Return log-probabilities (B,C,h,w) of maps (B,S,C,h,w)."""
        return (maps.log_softmax(2) * self.weights).sum(1).log_softmax(1)


class ScaleSpaceRendering(nn.Module):
    """Each pixel of a scale is as opaque as its density says, and scales are looked through from the smallest on."""

    def __init__(self, channels: int):
        super().__init__()
        self.density = nn.Sequential(*list(SpatialAttention(channels))[:-1])  # without its sigmoid

    def forward(self, maps: Tensor, features: Tensor) -> Tensor:
        """Return log-probabilities (B,C,h,w) of maps (B,S,C,h,w), by features (B,S,D,h',w')."""
        density = self.density(features.flatten(0, 1)).abs().unflatten(0, features.shape[:2])  # (B,S,1,h',w')
        share = (1 - torch.exp(-density)) * torch.exp(density - density.cumsum(1))
        share = F.interpolate(share[:, :, 0], size=maps.shape[-2:], mode="bilinear", align_corners=False)[:, :, None]
        return (maps.softmax(2) * share).sum(1).clamp(min=1e-6).log()


def fitted(module: nn.Module, seen: Sequence[Seen], steps: int, lr: float) -> nn.Module:
    """Fit a module on random patches at stride 4 by cross-entropy, and return it."""
    torch.manual_seed(0)
    quarters = [image.maps(image.features.shape[-2:]).half() for image in seen]
    optimizer = torch.optim.Adam(module.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        maps, features, targets = [], [], []
        for index in torch.randint(len(seen), (BATCH,)).tolist():
            image = seen[index]
            top, left = (
                int(torch.randint(side - part + 1, ()))
                for side, part in zip(quarters[0].shape[-2:], PATCH, strict=True)
            )
            part = (..., slice(top, top + PATCH[0]), slice(left, left + PATCH[1]))
            maps.append(quarters[index][part].float())
            features.append(image.features[part].float())
            targets.append(image.target[2::4, 2::4][part].long())
        log_probabilities = module.train()(torch.stack(maps), torch.stack(features))
        loss = F.nll_loss(log_probabilities, torch.stack(targets), ignore_index=IGNORE_INDEX)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return module.eval()


Merge = Callable[[Seen], Tensor]  # to values (1,C,H,W)


@torch.inference_mode()
def score(merge_of: dict[str, Merge], seen: Sequence[Seen], classes: Sequence[str]) -> float:
    """Return the mIoU of images, each merged in the way of its drive."""
    confusion = ConfusionMatrix(len(classes))
    for image in seen:
        confusion.count(classify(merge_of[image.drive](image)), image.target[None])
    return confusion.scores(classes).mean_iou


def by(module: nn.Module) -> Merge:
    return lambda image: module(image.maps(image.target.shape)[None], image.features[None].float())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", required=True, help="CamVid as the SegNet authors prepared it")
    parser.add_argument("--steps", type=int, default=300, help="of fitting (default: 300)")
    parser.add_argument("--every", type=int, default=1, help="one image of so many (default: 1)")
    args = parser.parse_args()

    network = segdla.load("segdla/shipped/camvid_compact.safetensors", "cpu").model.eval()
    config = load_config("configs/camvid_compact.yaml", {"data.root": args.camvid, "data.train_on_val": False})
    sources = {split: open_split(config, split) for split in ("train", "test")}
    names = sources["test"].classes.names
    test, train = look(network, sources["test"], args.every), look(network, sources["train"], 4 * args.every)
    drives = sorted({image.drive for image in test})
    others = {drive: [image for image in test if image.drive != drive] for drive in drives}
    sums: dict[str, Merge] = {
        "single scale": lambda image: image.maps(image.target.shape)[SCALES.index(1.0)][None],
        "sum of log-softmax, as `logprobs`": lambda image: image.maps(image.target.shape).log_softmax(1).sum(0)[None],
        "sum of softmax, as `probs`": lambda image: image.maps(image.target.shape).softmax(1).sum(0)[None],
    }
    scores = {name: {"": score(dict.fromkeys(drives, merge), test, names)} for name, merge in sums.items()}
    kinds = {
        "a weight for each scale": (lambda: PerScale(1), 0.02),
        "a weight for each scale and class": (lambda: PerScale(len(names)), 0.02),
        "scale-space rendering": (lambda: ScaleSpaceRendering(test[0].features.shape[1]), 0.003),
    }
    for name, (kind, lr) in kinds.items():
        whole = fitted(kind(), train, args.steps, lr)
        halves = {drive: by(fitted(kind(), others[drive], args.steps, lr)) for drive in drives}
        scores[name] = {
            "training images": score(dict.fromkeys(drives, by(whole)), test, names),
            "the other drive": score(halves, test, names),
        }
        print(name, scores[name], flush=True)
    record = {"steps": args.steps, "images": {"train": len(train), "test": len(test)}, "test_mean_iou": scores}
    write("scale_space", {**machine(torch.device("cpu")), **record})
    for name, of in scores.items():
        print(f"| {name} | {' | '.join(f'{fit}: {100 * value:.1f}' for fit, value in of.items())} |")


if __name__ == "__main__":
    main()
