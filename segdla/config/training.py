"""The config's section ``train``, with its defaults and limits."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from segdla.config.distill import DistillConfig
from segdla.config.section import (
    BatchSize,
    BelowOne,
    Count,
    Factor,
    Fraction,
    NonNegative,
    PathText,
    PositiveCount,
    PositiveFraction,
    Section,
    UrlText,
)


class TrainConfig(Section):
    """Training."""

    epochs: PositiveCount = 100
    """Number of passes over the training images."""
    steps: PositiveCount | None = None
    """Number of optimizer steps, in place of epochs."""
    minutes: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """Minutes that the whole run takes, in place of epochs. The first steps and an evaluation are rehearsed, and the
    number of steps that fits is written into the run's config as steps, which counts from then on. warmup_steps is a
    tenth of it at most."""
    batch_size: BatchSize | Literal["auto"] = 16
    """Number of images in an optimizer step, over all devices and all parts of the step. auto: as many as fit
    into memory, a power of two for each part; at most 64 in all (16 on a processor) and an eighth of the training
    images. The number is written into the run's config. lr stays as it is."""
    accumulate: BatchSize = 1
    """Number of parts in which a step's images go through the network, if they don't fit at once. Cross-entropy stays
    the mean over the step; batch normalisation, ohem, dice, lovasz and boundary see one part at a time."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimizer of the weights."""
    lr: Factor = 0.01
    """Learning rate, before schedule and warm-up."""
    backbone_lr: Factor = 1.0
    """Factor on lr for the backbone."""
    decoder_lr: Factor = 1.0
    """Factor on lr for decoder and classifier."""
    momentum: Fraction = 0.9
    """Momentum of sgd."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Decays of adamw's moving averages: of the gradient, and of its square. In a run of a thousand steps, 0.95 for the
    second learns faster."""
    weight_decay: NonNegative = 1e-4
    """Weight decay."""
    decay_all: bool = True
    """Decay every parameter, as the authors do; false leaves out batch normalisation and biases."""
    schedule: Literal["poly", "cosine", "step"] = "poly"
    """How lr falls, step by step. poly: as (1 - progress)^power. cosine: along half a cosine. step: by the factor gamma
    at each milestone."""
    power: NonNegative = 0.9
    """Exponent of the schedule poly."""
    milestones: tuple[PositiveCount, ...] = ()
    """Epochs at which lr falls, for the schedule step."""
    gamma: PositiveFraction = 0.1
    """Factor by which lr falls, for the schedule step."""
    warmup_steps: Count = 0
    """Number of steps at the start over which lr rises to its full value, from a hundredth of it."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the gradient of all parameters together. A larger gradient is scaled down to it."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, which is then evaluated and kept: 0.999 averages over about 1000 steps.
    Early in a run the average is over about a tenth of the steps so far."""
    sync_batchnorm: bool = True
    """On several CUDA devices, normalise over the images of all of them."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Precision to compute in. If the device lacks it or is slow in it, the nearest one is used, and printed."""
    channels_last: bool = True
    """Keep the channels of a pixel together in memory."""
    compile: bool = False
    """Compile the network for training: minutes at the start, faster steps."""
    cuda_graph: bool = False
    """Launch the kernels of a step as one CUDA graph, recorded at the first step, if there is one process. Faster if
    the GPU waits for the processor: small crops, small networks, busy cores. A step's memory is kept between steps."""
    deterministic: bool = False
    """Give the same bits each time on CUDA too; on the CPU training does so anyway."""
    device: str = "auto"
    """Device to train on: auto (CUDA, else MPS, else the CPU) or a torch device."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of everything random: first weights, order of the images, augmentation."""
    eval_every: PositiveCount = 1
    """Number of epochs between evaluations on whole validation images; the last epoch is always evaluated."""
    patience: Count = 0
    """Number of evaluations in a row without a better mIoU (of whole images, top-1) after which the run ends; 0 for any
    number. With poly and cosine, whose last steps are the smallest and often the best, leave it some room."""
    report_every: PositiveCount = 10
    """Number of steps between lines in metrics.jsonl."""
    logger: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ("tensorboard",)
    """Where numbers and pictures go besides the run's own files. All but tensorboard are extras, as in pip install
    "segdla[wandb]". One that fails or is offline stops no run."""
    upload: UrlText | None = None
    """URL of a folder that the run's folder is copied into (s3://BUCKET/RUNS), after each evaluation and at the end."""
    save_every: PositiveCount = 500
    """Number of steps between savings of the state that --resume starts from. It is saved at each evaluation and stop
    too."""
    skip_nonfinite: Count = 0
    """Number of batches whose loss or gradient is not finite that are left out before the run gives up. Each step is
    then checked, which takes a little time."""
    teacher: PathText | None = None
    """Trained network to learn from beside the labels: a run, a checkpoint or hf://OWNER/NAME, for its classes; or a
    backbone of timm's with its weights, timm/NAME or timm/NAME.TAG, for its features alone."""
    distill: DistillConfig = DistillConfig()
    """What is learned from the teacher."""

    @property
    def images_per_step(self) -> int:
        """The batch size, once it is a number."""
        assert self.batch_size != "auto", "the batch size is chosen before it is asked for"
        return self.batch_size

    @property
    def length(self) -> str:
        """The key that says how long the run is, and its value, for messages."""
        return f"train.steps (now {self.steps})" if self.steps else f"train.epochs (now {self.epochs})"

    @model_validator(mode="after")
    def _require_consistency(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones: [EPOCH, ...] go together; give both or neither")
        if self.minutes and self.schedule == "step":
            raise ValueError(
                "milestones are epochs, and how many epochs minutes hold is not known; with minutes, set schedule to "
                "poly or cosine"
            )
        if self.batch_size != "auto" and self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not accumulate ({self.accumulate}) equal parts")
        self.distill.require_fitting(self.teacher)
        return self
