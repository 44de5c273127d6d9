"""segdla: semantic segmentation with Deep Layer Aggregation."""

__version__ = "0.1.0"


def load(place=None, device: str = "auto", window: tuple[int, int] | None = None):
    """A trained network, from a run, a checkpoint file, or (None) the newest run: ``load("runs/x").predict(image)``.

    ``window`` (height, width): images larger than memory's comfort are seen by overlapping windows.
    """
    from segdla.trained import load  # torch is heavy: only who predicts waits for it

    return load(place, device, window=window)
