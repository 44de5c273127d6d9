import re
import xml.etree.ElementTree as ET

import pytest

from segdla.report import plots

CALIBRATION = {"pixels": [0, 9], "confidence": [float("nan"), 0.8], "accuracy": [float("nan"), 0.7]}
DRAWN = {
    "curves": lambda: plots.curves([{"step": step, "loss": 1 / step, "lr": 0.1} for step in range(1, 2000)]),
    "reliability": lambda: plots.reliability(CALIBRATION),
    "places": lambda: plots.places({"labelled": [[0, 4], [4, 4]], "wrong": [[0, 1], [4, 0]]}, 1.5),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_svg_that_loads_nothing(name):
    text = str(DRAWN[name]())
    ET.fromstring(text)  # well-formed
    assert len(text) < 60_000
    links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)
    assert all((one or other).startswith(("#", "data:image/png")) for one, other in links)
    assert "currentColor" in text and "script" not in text


def test_a_plot_is_the_same_each_time():
    assert DRAWN["places"]() == DRAWN["places"]()
