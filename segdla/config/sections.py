"""The whole config: its sections, and what they ask of each other."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from segdla.config.annotations import AnnotationsConfig
from segdla.config.data import CamVidConfig, CityscapesConfig, FilesConfig, FolderConfig, MasksConfig, ScenesConfig
from segdla.config.evaluation import EvalConfig
from segdla.config.image_folders import ImageFolderConfig, ImagesConfig, WholeImagesConfig
from segdla.config.loss import LossConfig
from segdla.config.model import ModelConfig
from segdla.config.public_sets import PublicConfig
from segdla.config.section import Section
from segdla.config.training import TrainConfig

# Sections of networks for images without masks: one label an image, or the backbone's maps alone.
_DECODERS: dict[str, dict[str, Any]] = {
    "image_folder": {"decoder": "pool"},
    "images": {"decoder": "none", "output_stride": 32},
}


class Config(Section):
    """Everything about a run. A config file holds only what differs from the defaults."""

    data: Annotated[
        ScenesConfig
        | CamVidConfig
        | CityscapesConfig
        | PublicConfig
        | FolderConfig
        | AnnotationsConfig
        | ImageFolderConfig
        | ImagesConfig,
        Field(discriminator="dataset"),
    ]
    """The data set."""
    model: ModelConfig = ModelConfig()
    """The network."""
    loss: LossConfig = LossConfig()
    """The training loss."""
    train: TrainConfig = TrainConfig()
    """Training."""
    eval: EvalConfig = EvalConfig()
    """Evaluation and prediction."""

    @model_validator(mode="before")
    @classmethod
    def _choose_a_decoder_for_whole_images(cls, values: Any) -> Any:
        """Give networks for images without masks their decoder, so that the section model says all about them."""
        data, model = (values.get(key) for key in ("data", "model")) if isinstance(values, dict) else (None, None)
        decoder = _DECODERS.get(str(data.get("dataset"))) if isinstance(data, dict) else None
        return (
            {**values, "model": {**decoder, **(model or {})}} if decoder and isinstance(model, dict | None) else values
        )

    @model_validator(mode="after")
    def _require_what_suits_whole_images(self) -> Self:
        dataset, decoder = self.data.dataset, self.model.decoder
        if decoder != _DECODERS.get(dataset, {}).get("decoder", decoder) or (decoder == "pool") != (
            dataset == "image_folder"
        ):
            raise ValueError(
                f"model.decoder {decoder} does not suit data.dataset {dataset}: pool is for one label an image "
                "(image_folder), none for no label (images), the others for masks; leave it out"
            )
        if isinstance(self.data, WholeImagesConfig):
            self.loss.require_terms_of_whole_images()
            if self.model.network is not None:
                raise ValueError(f"model.network {self.model.network} is for masks; choose a model.backbone")
        if isinstance(self.data, ImagesConfig) and (self.train.teacher is None or not self.train.distill.features):
            raise ValueError(
                "data.dataset images has no labels: set train.teacher, and give train.distill.features a weight, or "
                "choose another data set"
            )
        return self

    @model_validator(mode="after")
    def _require_determinism_where_it_is_asked_for(self) -> Self:
        if self.train.deterministic and "deformable" in (self.model.node, self.model.backbone_node):
            raise ValueError(
                "train.deterministic does not hold for deformable nodes, whose gradients CUDA sums in any order; set "
                "it to false, or choose another model.node"
            )
        return self

    @model_validator(mode="after")
    def _require_a_head_that_fits(self) -> Self:
        self.loss.require_terms_of(self.model.head)
        overlapping = isinstance(self.data, AnnotationsConfig) and self.data.overlapping
        if isinstance(self.data, FolderConfig | AnnotationsConfig):  # the classes of others are known when opened
            self.model.require_head_for(len(self.data.classes), overlapping)
        if overlapping and self.loss.class_weights is not None:
            raise ValueError("loss.class_weights are for classes of which a pixel has one; leave it out (data.overlap)")
        if overlapping and (self.eval.boundary_f or self.eval.object_sizes):
            raise ValueError(
                "eval.boundary_f and eval.object_sizes are for classes of which a pixel has one; leave them out "
                "(data.overlap)"
            )
        if self.eval.threshold is not None and self.model.head == "softmax":
            raise ValueError("eval.threshold is for head sigmoid; leave it out, or set model.head")
        return self

    @model_validator(mode="after")
    def _require_images_to_validate_on(self) -> Self:
        if self.train.patience and self.trains_on_val:
            raise ValueError(
                "train.patience waits for a better mIoU, which says nothing of images that are trained on; set it to "
                "0, or data.train_on_val to false"
            )
        return self

    @model_validator(mode="after")
    def _require_what_unlabelled_images_are_learned_by(self) -> Self:
        t = self.train
        if not isinstance(self.data, MasksConfig):
            return self
        usual = MasksConfig.model_fields["confidence"].default  # a run's own config names it too
        if self.data.confidence != usual and (self.data.unlabelled is None or t.teacher):
            why = "train.teacher needs none" if t.teacher else "there are none"
            raise ValueError(
                f"data.confidence {self.data.confidence:g} is of labels that the moving average gives to "
                f"data.unlabelled, and {why}; leave it out"
            )
        if self.data.unlabelled is not None and not (t.teacher or t.ema):
            raise ValueError(
                "data.unlabelled has no labels to learn from; set train.ema, whose average then says what is in the "
                "images, or train.teacher, or leave it out"
            )
        return self

    @property
    def trains_on_val(self) -> bool:
        """True if the validation images are trained on too."""
        return isinstance(self.data, FilesConfig) and self.data.train_on_val

    @property
    def sample_range(self) -> tuple[int, int] | None:
        """The samples that are black and white in images of more than 8 bits; None for all of a file's bits."""
        return self.data.sample_range if isinstance(self.data, FolderConfig | AnnotationsConfig) else None
