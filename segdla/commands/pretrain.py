"""``segdla pretrain``: train a classification network, whose backbone a segmentation network then starts from."""

import argparse

from segdla.commands import train
from segdla.commands.arguments import Parser
from segdla.errors import UserError

DESCRIPTION = """Train a network that classifies whole images, in folders DIR/train/CLASS/ and DIR/val/CLASS/, and keep
everything about it in a run folder, as segdla train does. A segmentation network then starts from its backbone:
segdla train CONFIG model.weights=RUN."""


def add_arguments(parser: Parser) -> None:
    train.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Train as ``segdla train`` does, if the config's images have one label each; return the exit status."""
    if args.config and not args.resume:
        from segdla.config import ImageFolderConfig, load_config, parse_overrides

        data = load_config(args.config, parse_overrides(args.overrides)).data
        if not isinstance(data, ImageFolderConfig):
            raise UserError(
                f"{args.config} has masks (data.dataset {data.dataset}), and pretraining is on folders of classes "
                f"(image_folder); train on it with: segdla train {args.config}"
            )
    return train.main(args)
