"""segdla: semantic segmentation with Deep Layer Aggregation."""

__version__ = "0.1.0"


def load(
    place=None,
    device="auto",
    *,
    multiscale=False,
    flip=False,
    window=None,
    precision=None,
    compile=False,
    runs="runs",
):
    """A trained network as one object: ``load("runs/x").predict(image)`` gives class ids (H,W) uint8.

    place: a run, a checkpoint, an exported file, ``hf://OWNER/NAME``, or None for the newest run in the folder
    ``runs``; before there is one, the small network for street scenes that comes along.
    device: ``auto`` (CUDA, else MPS, else the CPU), or a torch device.
    multiscale: True for the scales of the run's ``eval.scales``, or the scales. flip: the mirrored image too.
    window: (height, width) to see images by overlapping windows; ``whole``: never; ``auto``: only where they are large;
    None is what the run's ``eval.window`` says, ``auto`` unless set.
    precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``; None is what the run was trained in. Where the device lacks it,
    the nearest that it has is used. compile: a minute or more at the start, faster then, for images of any size.

    Raises UserError, one line with the remedy, where the place holds no network or an option doesn't fit.
    """
    from segdla.segmenter import load  # torch is heavy: only who predicts waits for it

    options = {"multiscale": multiscale, "flip": flip, "window": window, "precision": precision, "compile": compile}
    return load(place, device, **options, runs=runs)
