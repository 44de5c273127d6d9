"""Small, valid Cityscapes trees of drawn scenes: images, label ids, instance ids, polygons, in the official layout."""

import json

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import id2label, name2label
from support import write

from segdla.data.scenes import Scenes

# Cityscapes' names of the scenes' classes, in their order; ignored pixels are unlabeled.
_NAMES = ("sky", "building", "road", "sidewalk", "vegetation", "car", "person", "pole", "traffic sign")
_LABEL_IDS = np.array([name2label[name].id for name in _NAMES] + [0] * (256 - len(_NAMES)), np.uint8)


def write_tree(root, size=(40, 56), **splits):
    """Write as many images as named: ``write_tree(root, train=2, val=1, test=1)``. The test split has no masks."""
    for split, count in splits.items():
        scenes = Scenes("train" if split == "train_extra" else split, count, size)
        kind = "gtCoarse" if split == "train_extra" else "gtFine"
        for index in range(count):
            image, target = scenes.read(index)
            city = ("aachen", "ulm")[index % 2]
            stem = f"{city}_{index:06}_{19 + index:06}"
            write(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image[..., ::-1])
            if split != "test":
                write_truth(root / kind / split / city / f"{stem}_{kind}", _LABEL_IDS[target])
    return root


def write_truth(stem, label_ids):
    """Write the truth of one image from its label ids (H,W), as ``stem``_labelIds.png and the files beside it."""
    instance_ids = label_ids.astype(np.uint16)
    objects = []
    for label_id in np.unique(label_ids).tolist():
        parts, components = cv2.connectedComponents((label_ids == label_id).astype(np.uint8))
        for part in range(1, parts):
            where = components == part
            if id2label[label_id].hasInstances:
                instance_ids[where] = 1000 * label_id + part - 1
            outline = cv2.findContours(where.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0]
            objects.append({"label": id2label[label_id].name, "polygon": outline.reshape(-1, 2).tolist()})
    write(stem.with_name(f"{stem.name}_labelIds.png"), label_ids)
    write(stem.with_name(f"{stem.name}_instanceIds.png"), instance_ids)
    polygons = {"imgHeight": label_ids.shape[0], "imgWidth": label_ids.shape[1], "objects": objects}
    stem.with_name(f"{stem.name}_polygons.json").write_text(json.dumps(polygons), encoding="utf-8")
