"""The weights of classes in a loss: as the config lists them, or counted in the masks."""

from collections.abc import Sequence
from functools import partial

from segdla.data.class_weights import count_pixels, enet_weights, median_frequency_weights
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.terminal import progress, say


def weigh_classes(setting: Sequence[float] | str | None, source: Source, *, may_skip: bool) -> Sequence[float] | None:
    """Return one weight a class: those of ``setting``, or counted as it says; None if all classes weigh the same.

    With ``may_skip``, masks that can't be read are not counted. Raises UserError if they may not be skipped, if the
    number of weights is wrong, or if classes overlap.
    """
    names = source.classes.names
    if setting is not None:
        source.classes.require_exclusive("loss.class_weights")
    if isinstance(setting, str):
        counting = partial(progress, description="counting pixels")
        on_error = _say_left_out if may_skip else None
        class_pixels, image_pixels = distributed.on_main(lambda: count_pixels(source, counting, on_error))
        weights = (
            median_frequency_weights(class_pixels, image_pixels)
            if setting == "median_frequency"
            else enet_weights(class_pixels)
        )
        if distributed.is_main():
            words = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
            say(f"class weights ({setting}): {words}")
        return weights.tolist()
    if setting is not None and len(setting) != len(names):
        raise UserError(f"loss.class_weights has {len(setting)} numbers for {len(names)} classes; give one a class")
    return setting


def _say_left_out(error: UserError) -> None:
    say(f"left out: {error}")
