"""``segdla pretrain``: train a classification network, or teach a backbone features, for others to start from."""

import argparse
from typing import TYPE_CHECKING, Any

from segdla.commands import train
from segdla.commands.arguments import Parser
from segdla.errors import UserError, in_shell
from segdla.machine.files import unused
from segdla.machine.imports import collecting_nothing

if TYPE_CHECKING:
    from segdla.training.run import Run

DESCRIPTION = """Train a network that classifies whole images, in folders DIR/train/CLASS/ and DIR/val/CLASS/, and keep
everything about it in a run folder, as segdla train does. Or, without any labels, let a backbone learn the features of
another network: --teacher NAME --images DIR. A network for masks then starts from its backbone:
segdla train CONFIG model.weights=RUN."""
# For --images; what follows on the command line counts before them.
_USUAL: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 32,
    "optimizer": "adamw",
    "lr": 0.002,
    "weight_decay": 0.02,
    "decay_all": False,
    "schedule": "cosine",
    "warmup_steps": 100,
    "clip_norm": 5.0,
}


def add_arguments(parser: Parser) -> None:
    train.add_arguments(parser)
    group = parser.add_argument_group("features of a teacher, without labels")
    group.add_argument(
        "--teacher", metavar="NAME", help="network to learn from: timm/NAME with its weights, or a run (train.teacher)"
    )
    group.add_argument("--images", metavar="DIR", help="folder or archive of any images; takes no CONFIG")


def main(args: argparse.Namespace) -> int:
    """Train as ``segdla train`` does, on images without masks; return the exit status."""
    if args.images or args.teacher:
        return train.main(args, learn_features)
    if not (args.config or args.resume):
        raise UserError(
            "name a config, such as configs/imagenet_dla34.yaml, --resume a run, or give --teacher NAME --images DIR"
        )
    if args.config and not args.resume:
        from segdla.config import WholeImagesConfig, load_config, parse_overrides

        data = load_config(args.config, parse_overrides(args.overrides)).data
        if not isinstance(data, WholeImagesConfig):
            raise UserError(
                f"{args.config} has masks (data.dataset {data.dataset}), and pretraining is on folders of classes "
                f"(image_folder); train on it with: segdla train {in_shell(args.config)}"
            )
    return train.main(args)


def learn_features(args: argparse.Namespace) -> "Run":
    """Let a backbone learn a teacher's features. Raises UserError if the arguments contradict each other."""
    with collecting_nothing():
        from segdla.config import parse, parse_overrides
        from segdla.machine import distributed
        from segdla.training.run import train

    words = [word for word in (args.config, *args.overrides) if word]
    if not (args.images and args.teacher) or args.resume or args.find_lr or any("=" not in word for word in words):
        raise UserError(
            "--teacher NAME and --images DIR go together, without CONFIG, --resume and --find-lr: a config says "
            "data: {dataset: images, images: DIR} and train.teacher itself, and a run is resumed by its name alone"
        )
    data = {"dataset": "images", "images": args.images}
    values = {"data": data, "train": {**_USUAL, "teacher": args.teacher}, "eval": {"batch_size": 16}}
    config = parse(values, parse_overrides(words), source="--images")
    name = args.name or distributed.on_main(lambda: unused(args.runs / "features").name)
    return train(config, name=name, runs=args.runs)
