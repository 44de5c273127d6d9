"""The kinds of outputs of predictions, by name. This file imports nothing, because ``--help`` reads it."""

KINDS = {
    "ids": "PNGs whose pixels are class ids; of a video, one a frame in NAME.frames/",
    "color": "PNGs with a palette: coloured to look at, and their pixels are the ids; RGB, if classes overlap",
    "masks": "a PNG of black and white for each class, NAME/ID_CLASS.png; pixels may be of several, if classes overlap",
    "overlay": "the colours over the image, but for the background's, with a legend where there is room",
    "side-by-side": "image, overlay and legend",
}
"""Kinds of pictures."""
POLYGONS = {
    "coco": "polygons, one JSON of all images (COCO)",
    "yolo": "polygons, a text file for each image, and data.yaml",
    "labelme": "polygons, a JSON file for each image (Labelme)",
    "cvat": "polygons, one XML of all images (CVAT for images)",
}
"""Kinds of labels, by the format's name; ``label_outputs.py`` writes them."""
