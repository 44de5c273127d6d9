"""Fixtures of the tests of training."""

import numpy as np
import pytest

from segdla.training import log


@pytest.fixture(autouse=True)
def _blank_curves(monkeypatch):
    """Curves are not drawn, which takes most of a tiny run's time; test_log draws them."""
    monkeypatch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
