"""COCO-Stuff (Caesar et al., CVPR 2018): 80 classes of things and 91 of stuff on the images of COCO 2017.

    root/images/{train2017,val2017}/*.jpg
    root/annotations/{train2017,val2017}/*.png    (label ids less 1; 255 is unlabeled, which is ignored)

Label ids are those of labels.txt of the set's authors, from 1 to 182. Of these, 11 things have no pixel, so 171 classes
are left. The set has no colours of its own.
"""

from pathlib import Path

from segdla.data.folder import distinct_colors
from segdla.data.labels import IGNORE_INDEX, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.paths import user_path
from segdla.data.released import no_public_labels, released_pairs
from segdla.data.source import Classes

_DOWNLOAD = (
    "unpack train2017.zip and val2017.zip of COCO into images/, stuffthingmaps_trainval2017.zip into annotations/"
)
_WITHOUT_PIXELS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}  # label ids
_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, parking
meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie,
suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis
racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog,
pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell
phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush,
banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile,
cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other,
floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other,
hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow,
plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea,
shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent, textile-other,
towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood,
water-other, waterdrops, window-blind, window-other, wood
"""
_LABEL_IDS = [i for i in range(1, 183) if i not in _WITHOUT_PIXELS]
_CLASS_NAMES = tuple(name.strip() for name in _NAMES.replace("\n", " ").split(","))
CLASSES = Classes(_CLASS_NAMES, distinct_colors(len(_CLASS_NAMES)), "COCO-Stuff 164k, 171 classes")
_ENCODE = IdEncoding({label_id - 1: i for i, label_id in enumerate(_LABEL_IDS)} | {IGNORE_INDEX: IGNORE_INDEX})


def coco_stuff(root: str | Path, split: str) -> PairSource:
    """Open one split (train, val). Raises UserError if something is missing, and says what to download."""
    if split == "test":
        raise no_public_labels("COCO-Stuff")
    root = user_path(root)
    pairing = released_pairs(root / "images" / f"{split}2017", root / "annotations" / f"{split}2017", _DOWNLOAD)
    return PairSource(pairing.pairs, CLASSES, _ENCODE, pairing.problems, pairing.unused)
