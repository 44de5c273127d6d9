"""segdla: semantic segmentation with Deep Layer Aggregation."""

__version__ = "0.1.0"


def load(place=None, device: str = "auto"):
    """A trained network, from a run, a checkpoint file, or (None) the newest run: ``load("runs/x").predict(image)``."""
    from segdla.build import load  # torch is heavy: only who predicts waits for it

    return load(place, device)
