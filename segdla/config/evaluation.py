"""The config's section ``eval``: evaluation and prediction."""

from typing import Annotated, Literal

from pydantic import Field

from segdla.config.section import BatchSize, BelowOne, Factor, Scale, Section, Size


class EvalConfig(Section):
    """Evaluation and prediction."""

    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (0.5, 0.75, 1.0, 1.25, 1.5)
    """Scales of the image whose score maps are summed with --multiscale."""
    merge: Literal["logprobs", "probs", "logits"] = "logprobs"
    """What is summed over scales, mirrored images and windows: log-softmax (as the authors do), softmax or raw logits.
    logprobs and logits choose the same classes."""
    window: Size | Literal["auto", "whole"] = "auto"
    """How much of an image the network sees at a time. [height, width]: overlapping windows of that many pixels.
    whole: the whole image, whatever its size. auto: windows of 1024x2048 for images above 8.3 megapixels (at the
    largest scale), else the whole image."""
    overlap: BelowOne = 0.25
    """Share of a window that its neighbour covers too; there, one fades into the other."""
    boundary_iou: bool = True
    """Whether to measure the IoU of bands along the outlines too, which costs a few hundredths of the time. It is not
    measured of classes that overlap."""
    boundary_f: bool = False
    """Whether to measure the F-score of outlines too: those within 0.8 % of the image's diagonal are right. It takes
    several milliseconds a class on the processor."""
    object_sizes: bool = False
    """Whether to measure the IoU of small, medium and large objects too, where the data set tells objects apart."""
    temperature: Factor | Literal["fitted"] | None = None
    """Divisor of the logits before they become probabilities: above 1, the network is less sure; its classes stay.
    fitted: the one that segdla test --fit-temperature wrote into the checkpoint. null: 1."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Probability above which a pixel is of the object, for head sigmoid; of each class, if they overlap. null: those
    that segdla test --fit-threshold wrote into the checkpoint, 0.5 without."""
    low_memory: bool = False
    """Keep the score maps of all scales at the output stride, instead of their sum at full size. The classes are the
    same, in less memory at output strides 4 and 8."""
    batch_size: BatchSize = 1
    """Number of whole images that each device evaluates at a time."""
    compile: bool = False
    """Compile the network for prediction: a minute or more at the start, then faster for images of any size."""
