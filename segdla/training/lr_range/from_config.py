"""The learning-rate range test of a config."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segdla.config import Config, load_config
from segdla.data.source import Source
from segdla.machine import distributed
from segdla.models.dlaseg import DLASeg
from segdla.training.lr_range.range_test import NUM_STEPS, RangeTest, range_test
from segdla.training.own.parts import Loss, Own
from segdla.training.run import batches, open_setup, prepare, started


def find_lr(
    config: Config | str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    loss: Loss | None = None,
    source: Mapping[str, Source] | None = None,
    model: DLASeg | None = None,
) -> RangeTest | None:
    """Take up to 100 steps at learning rates that rise from 1e-6 to 10; return the losses and a proposal.

    See ``train`` for the arguments. Nothing is written, and no run is begun; a ``model`` of your own is trained in
    place. None if a signal came.

    Raises UserError, one line with the remedy, if something does not fit.
    """
    settings = distributed.on_main(lambda: load_config(config, overrides))
    with started(settings) as machine:
        setup = open_setup(settings, Own(loss, source, model), machine, Path(), resumes=False)
        setup = setup._replace(plan=replace(setup.plan, num_steps=NUM_STEPS))
        _, samples, gradients = prepare(setup)
        return range_test(setup.training, gradients, batches(setup, samples), setup.plan)
