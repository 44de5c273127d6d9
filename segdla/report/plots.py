"""Plots as SVG for a page, drawn by matplotlib, whose axes and ticks we would not want to write again.

Text stays text, and what is drawn in ``_INK`` takes the page's own colour, so that a plot suits a dark page too.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from segdla.visualize import draw_curves

_INK, _BLUE, _ORANGE = "#010203", "#3b82f6", "#f97316"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segdla",
    "font.family": "sans-serif",
    "font.size": 10,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "grid.color": _INK,
    "grid.alpha": 0.15,
}


def curves(records: Sequence[Mapping[str, Any]]) -> Markup:
    """Return loss, learning rate and mIoU over steps, from the records of metrics.jsonl."""
    title = "Loss, learning rate and mIoU over the steps of training"
    return _svg(lambda figure: draw_curves(figure, records, _BLUE), (10, 2.8), title)


def reliability(calibration: Mapping[str, Any]) -> Markup:
    """Return accuracy over confidence, and how many pixels have each confidence, from ``Calibration.result``."""

    def draw(figure: Any) -> None:
        bins = len(calibration["pixels"])
        pixels = np.array(calibration["pixels"], float)
        middles = (np.arange(bins) + 0.5) / bins
        above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        above.bar(middles, np.nan_to_num(calibration["accuracy"]), 0.9 / bins, color=_BLUE, alpha=0.85)
        above.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--")
        above.plot(calibration["confidence"], calibration["accuracy"], "o", color=_ORANGE, markersize=4)
        above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        below.bar(middles, 100 * pixels / max(1, pixels.sum()), 0.9 / bins, color=_INK, alpha=0.5)
        below.set(xlabel="confidence", ylabel="% of pixels")
        for axis in (above, below):
            axis.grid()

    return _svg(draw, (4.6, 4.2), "Accuracy over confidence")


def places(error_map: Mapping[str, Any], shape: float) -> Markup:
    """Plot the share of wrong pixels by place in a frame, from ``ErrorMap.result``; ``shape`` is width over height."""

    def draw(figure: Any) -> None:
        labelled, wrong = (np.array(error_map[key], float) for key in ("labelled", "wrong"))
        with np.errstate(invalid="ignore"):
            shares = 100 * wrong / labelled  # NaN, left clear, where nothing is labelled
        axis = figure.subplots()
        picture = axis.imshow(shares, "inferno", vmin=0, extent=(0, shape, 0, 1), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        figure.colorbar(picture, label="% of pixels wrong", fraction=0.035)

    return _svg(draw, (6, 0.6 + 5 / max(shape, 0.5)), "Share of wrong pixels by place in the frame")


def _svg(draw: Callable[[Any], None], size: tuple[float, float], title: str) -> Markup:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend|image|QuadMesh)_?\d*"', "", text
    )
    text = text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).replace(_INK, "currentColor")
    return Markup(text)
