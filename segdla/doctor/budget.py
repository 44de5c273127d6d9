"""The training run that a draft proposes: as large as fits into a stated time at a machine's measured pace."""

from dataclasses import dataclass

_SECONDS = {"cuda": 600.0}  # a draft's run takes about as long, by device
_SECONDS_ELSEWHERE = 3600.0
_BACKBONES = {"cuda": "dla34"}
_SMALL = "dla46_c"  # on processors: in an hour of two cores it is ahead of larger networks (benchmarks/README.md)
_OUTPUT_STRIDE = 4
_LARGEST_CROP = {"cuda": 768}
_LARGEST_CROP_ELSEWHERE, _SMALLEST_CROP, _SIDE_UNIT = 512, 128, 32
_FEWEST_STEPS, _MOST_STEPS, _MOST_EPOCHS = 1500, 3000, 10  # steps, or epochs of large sets, beyond which few are gained
_MOST_EVALUATIONS, _EVALUATION_SHARE = 20, 0.2  # share of the time
_FORWARD_SHARE = 1 / 3  # of a training step
_SHORTEST_STEP = 0.05  # seconds: a thousand operations, however small; 0.07 measured on one core for crops of 32x32


@dataclass(frozen=True)
class Pace:
    """The pace of a machine at training ``backbone``, in ``precision``."""

    device: str  # cpu, cuda or mps
    machine: str  # the device's name, for people
    precision: str
    step: float  # seconds a training step takes for each megapixel of its crops
    pair: float  # seconds that all processors together take to read a pair


@dataclass(frozen=True)
class Budget:
    """A training run that takes about ``seconds``."""

    backbone: str
    output_stride: int
    crop: tuple[int, int]  # (height, width)
    batch_size: int
    epochs: int
    steps: int
    eval_every: int  # epochs
    warmup_steps: int
    step_seconds: float
    seconds: float


def network_for(device: str) -> tuple[str, int]:
    """Return the backbone and the output stride that a draft proposes for a kind of device."""
    return _BACKBONES.get(device, _SMALL), _OUTPUT_STRIDE


def fit_budget(pace: Pace, size: tuple[int, int], num_train: int, num_val: int) -> Budget:
    """Fit a training run on ``num_train`` images of ``size`` (height, width) into the time for the pace's device.

    The crop is the largest at which some 1500 steps, and one epoch, fit; then there are as many steps as fit, up to
    3000 or 10 epochs. Evaluations, of ``num_val`` whole images, take at most a fifth of the time, except that there is
    always one.
    """
    limit = _SECONDS.get(pace.device, _SECONDS_ELSEWHERE)
    pixels = size[0] * size[1] / 1e6
    evaluation = num_val * (pace.pair + _FORWARD_SHARE * pace.step * pixels)
    evaluations = int(max(1, min(_MOST_EVALUATIONS, _EVALUATION_SHARE * limit // evaluation)))
    to_train = max(limit - evaluations * evaluation, limit / 2)

    def step_seconds(crop: tuple[int, int]) -> float:
        computing = max(_SHORTEST_STEP, pace.step * batch_size * crop[0] * crop[1] / 1e6)
        reading = batch_size * pace.pair
        # Loader processes share a processor with the training, and work beside any other device.
        return computing + reading if pace.device == "cpu" else max(computing, reading)

    batch_size = max(2, min(8 if min(size) > 300 else 16, num_train // 2))
    steps_per_epoch = -(-num_train // batch_size)
    needed = max(_FEWEST_STEPS, steps_per_epoch)
    largest = _LARGEST_CROP.get(pace.device, _LARGEST_CROP_ELSEWHERE)
    crops = [_crop(size, side) for side in range(largest, _SMALLEST_CROP - 1, -_SIDE_UNIT)]
    crop = next((crop for crop in crops if needed * step_seconds(crop) <= to_train), crops[-1])
    affordable = int(to_train / step_seconds(crop))
    steps = min(affordable, max(_MOST_STEPS, _MOST_EPOCHS * steps_per_epoch))
    epochs = max(1, round(steps / steps_per_epoch))
    steps = epochs * steps_per_epoch
    eval_every = -(-epochs // evaluations)
    seconds = steps * step_seconds(crop) + -(-epochs // eval_every) * evaluation
    backbone, output_stride = network_for(pace.device)
    return Budget(
        backbone, output_stride, crop, batch_size, epochs, steps, eval_every,
        warmup_steps=min(100, steps // 10), step_seconds=step_seconds(crop), seconds=seconds,
    )  # fmt: skip


def _crop(size: tuple[int, int], largest: int) -> tuple[int, int]:
    """Return a crop of an image's (height, width), of sides that are multiples of 32 and at most ``largest``."""
    height, width = (max(_SIDE_UNIT, min(largest, side) // _SIDE_UNIT * _SIDE_UNIT) for side in size)
    return height, width
