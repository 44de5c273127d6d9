"""What pixels without a label are, by the names of labels and the share of such pixels."""

from collections.abc import Iterable, Sequence

from segdla.data.background import BACKGROUND, background_of

IGNORED = "__ignore__"
"""The label, after labelme, of pixels that are neither trained on nor scored."""
_GAPS = 0.05  # share of pixels without a label, below which they are gaps between things that are all labelled


def class_of_rest(names: Sequence[str], listed: Iterable[str], share: float) -> tuple[str | None, str]:
    """Return the class of the pixels without a label, None if they are ignored, and the reason, for the user.

    If all pixels have labels but for gaps, the rest is ignored. Else it is a class: one of the labels, also of those
    that the format lists but no image has, if its name says so, or a new class, background.
    """
    per_cent = f"{100 * share:.2g} % of the pixels have no label"
    if share == 0 and len(names) > 1:
        return None, ""
    own = background_of([*names, *listed])
    if own is not None:
        return own, f"{per_cent}: they are {own}"
    if share < _GAPS and len(names) > 1:
        return None, f"{per_cent}, so they are ignored; if they are a class, set background"
    reason = f"{per_cent}, so they are a class, background; to ignore them, take it out of classes, and background too"
    return BACKGROUND, reason
