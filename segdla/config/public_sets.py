"""The sections ``data`` of public data sets in the layouts in which they are released."""

from typing import Literal

from segdla.config.data import FilesConfig
from segdla.config.section import PathText


class ADE20KConfig(FilesConfig):
    """ADE20K's Scene Parsing benchmark: 150 classes."""

    dataset: Literal["ade20k"]
    """Chooses this data set."""
    root: PathText
    """Folder ADEChallengeData2016, which holds images/ and annotations/."""


class VOC2012Config(FilesConfig):
    """Pascal VOC 2012: 21 classes."""

    dataset: Literal["voc2012"]
    """Chooses this data set."""
    root: PathText
    """Folder VOC2012, which holds JPEGImages/, SegmentationClass/ and ImageSets/."""
    sbd: PathText | None = None
    """Folder benchmark_RELEASE/dataset of SBD, to train on its images too (trainaug: 10,582 images). null trains on
    the 1,464 of VOC alone."""


class MapillaryConfig(FilesConfig):
    """Mapillary Vistas: classes and colours as its own config_v1.2.json or config_v2.0.json has them."""

    dataset: Literal["mapillary"]
    """Chooses this data set."""
    root: PathText
    """Folder that holds training/, validation/ and the files config_v*.json."""
    version: Literal["v1.2", "v2.0"] = "v1.2"
    """Version of the labels; scores don't compare across them."""


class BDD100KConfig(FilesConfig):
    """BDD100K's semantic segmentation: Cityscapes' 19 classes."""

    dataset: Literal["bdd100k"]
    """Chooses this data set."""
    root: PathText
    """Folder bdd100k, which holds images/10k/ and labels/sem_seg/."""


class COCOStuffConfig(FilesConfig):
    """COCO-Stuff: 171 classes on the images of COCO 2017."""

    dataset: Literal["coco_stuff"]
    """Chooses this data set."""
    root: PathText
    """Folder that holds images/train2017/ and annotations/train2017/, and the same of val2017."""


class KITTIConfig(FilesConfig):
    """KITTI's semantic segmentation: 200 images with Cityscapes' 19 classes."""

    dataset: Literal["kitti"]
    """Chooses this data set."""
    root: PathText
    """Folder that holds training/image_2/ and training/semantic/."""


PublicConfig = ADE20KConfig | VOC2012Config | MapillaryConfig | BDD100KConfig | COCOStuffConfig | KITTIConfig
