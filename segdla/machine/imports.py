"""Imports of large modules."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Collect no garbage while modules are imported.

    Their hundred thousand objects come to stay. To look for garbage among them, again and again, takes a fifth of the
    time in which torch is imported.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
