import numpy as np
import pytest
from exports import write_json
from support import photo, write

from segdla.config import parse_yaml
from segdla.data.from_config import open_split
from segdla.doctor.budget import Pace
from segdla.doctor.label_draft import draft_labels
from segdla.errors import UserError

SIZE = (40, 56)


def pace(pairs, num_classes, read):
    image, target = read(pairs[0])
    assert image.shape[:2] == target.shape == SIZE
    return Pace("cpu", "cpu with 2 threads", "fp32", step=2.0, pair=0.001)


def box(top, bottom, left=0, right=56):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def label(root, name, *shapes, seed=0):
    """Write an image with labelme's file beside it."""
    write(root / f"{name}.png", photo(*SIZE, seed))
    content = {"shapes": [{"label": one, "points": points, "shape_type": "polygon"} for one, points in shapes]}
    write_json(root / f"{name}.json", content | {"imagePath": f"{name}.png", "imageHeight": 40, "imageWidth": 56})


def fill(root, *shapes, count=8, folder=""):
    for i in range(count):
        label(root / folder, f"{folder}{i}", *shapes, seed=sum(folder.encode()) + i)
    return root


def drafted(tmp_path, labels, images=None, form=None, lists=()):
    config = tmp_path / "mine.yaml"
    draft = draft_labels(labels, images, form, config, 0.25, 0, lists, pace)
    for path, text in draft.files.items():
        path.write_text(text, encoding="utf-8")
    return parse_yaml(draft.files[config]), draft


def test_labels_of_boxes_alone_are_ignored_and_told(tmp_path):
    """COCO, in which car has an outline in one image and a box in the other, and sign has boxes alone."""
    root = tmp_path / "set"
    outline = {"category_id": 1, "segmentation": [[0, 0, 56, 0, 56, 10, 0, 10]]}
    boxes = [{"category_id": i, "segmentation": [], "bbox": [0, 20, 56, 10]} for i in (1, 2)]
    shapes = [[outline, boxes[1]]] * 3 + [[boxes[0]]]
    for i in range(4):
        write(root / f"{i}.png", photo(*SIZE, i))
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 56} for i in range(4)],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "sign"}],
        "annotations": [{"image_id": i, **shape} for i, those in enumerate(shapes) for shape in those],
    }
    write_json(root / "labels.json", content)
    config, draft = drafted(tmp_path, root)
    assert config.data.ignore == ("sign",) and config.data.classes == ("background", "car")
    target = open_split(config, "train").read(0)[1]
    np.testing.assert_array_equal(target[:, 0], [1] * 10 + [0] * 10 + [255] * 10 + [0] * 10)
    remarks = "\n".join(draft.remarks)
    assert "ignored, as only boxes have them, which hold what is around an object too: ['sign']" in remarks
    assert "left out: " in remarks and "annotations[6] has no outline, only a box" in remarks
    content["annotations"] = [shape for shape in content["annotations"] if not shape["segmentation"]]
    write_json(root / "labels.json", content)
    with pytest.raises(UserError, match=r"annotations\[0\] has no outline, only a box: draw polygons"):
        draft_labels(root, None, None, tmp_path / "other.yaml", 0.25, 0, (), pace)


def test_things_get_a_background_and_a_drawn_split(tmp_path):
    config, draft = drafted(tmp_path, fill(tmp_path / "set", ("car", box(0, 10))))
    assert config.data.format == "labelme" and config.data.overlap == "last"
    assert config.data.classes == ("background", "car") and config.data.background == "background"
    text = draft.files[tmp_path / "mine.yaml"]
    assert text.startswith(f"# Drafted from {tmp_path}/set, in the format labelme: see what the doctor says: segdla")
    assert "  # of the pixels they have, in %: 75, 25\n" in text
    assert f'  train: {{list: "{tmp_path}/mine_train.txt"}}\n' in text
    train, val = open_split(config, "train"), open_split(config, "val")
    assert len(train) == 6 and len(val) == 2
    np.testing.assert_array_equal(train.read(0)[1][:, 0], [1] * 10 + [0] * 30)
    assert draft.remarks == [
        "8 labelled images of the format labelme; 2 classes",
        "75 % of the pixels have no label, so they are a class, background; to ignore them, take it out of classes, "
        "and background too",
        "6 images to train on and 2 to validate on, drawn with seed 0",
    ]


def test_gaps_between_things_that_are_all_labelled_are_ignored(tmp_path):
    config, draft = drafted(tmp_path, fill(tmp_path / "set", ("sky", box(0, 20)), ("road", box(20, 39))))
    assert config.data.classes == ("road", "sky") and config.data.background is None
    assert "2.5 % of the pixels have no label, so they are ignored" in draft.remarks[1]


def test_a_label_of_that_meaning_is_the_background(tmp_path):
    config, _ = drafted(tmp_path, fill(tmp_path / "set", ("_background_", box(0, 5)), ("car", box(5, 10))))
    assert config.data.classes == ("_background_", "car") and config.data.background == "_background_"


def test_the_splits_of_the_format(tmp_path):
    for split in ("train", "valid", "test"):
        fill(tmp_path / "set", ("car", box(0, 10)), count=3, folder=split)
    config, draft = drafted(tmp_path, tmp_path / "set")
    assert [config.data.train.subset, config.data.val.subset, config.data.test.subset] == ["train", "val", "test"]
    assert list(draft.files) == [tmp_path / "mine.yaml"]
    assert [open_split(config, "val").name(i) for i in range(3)] == ["valid0", "valid1", "valid2"]


def test_what_is_wrong_is_left_out_and_named(tmp_path):
    for split in ("train", "val"):
        fill(tmp_path / "set", ("car", box(0, 10)), count=3, folder=split)
    (tmp_path / "set" / "train" / "train1.png").write_bytes(b"no image")
    label(tmp_path / "set" / "val", "line", ("car", [[1, 1], [2, 2]]))
    write(tmp_path / "set" / "val" / "alone.png", photo(*SIZE))
    config, draft = drafted(tmp_path, tmp_path / "set")
    assert len(open_split(config, "train")) == 2 and len(open_split(config, "val")) == 3
    assert "left out: " in draft.remarks[2] and draft.remarks[2].endswith("(and 1 more)")
    assert draft.remarks[3] == "left out, as they have no labels: 1, such as val/alone.png"


def test_lists_of_names(tmp_path):
    fill(tmp_path / "set", ("car", box(0, 10)), count=4)
    for name, text in (("a.txt", "0\n1\n"), ("b.txt", "3.png\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    config, _ = drafted(tmp_path, tmp_path / "set", lists=[tmp_path / "a.txt", tmp_path / "b.txt"])
    assert [open_split(config, "val").name(0), len(open_split(config, "train"))] == ["3", 2]


def test_labels_of_nothing(tmp_path):
    with pytest.raises(UserError, match="hold no shape"):
        drafted(tmp_path, fill(tmp_path / "set"))
    with pytest.raises(UserError, match=r"0 labelled images can be read, .*: .* has 2 corners"):
        drafted(tmp_path, fill(tmp_path / "other", ("car", [[1, 1], [2, 2]]), count=2))
    with pytest.raises(UserError, match="has no JSON file of images, annotations and categories"):
        drafted(tmp_path, tmp_path / "set", form="coco")


def test_a_background_that_is_listed_but_nowhere_is_what_has_no_label(tmp_path):
    """As in a set that ``segdla convert`` has written, of which hardly a pixel is background."""
    root = fill(tmp_path / "set", ("car", box(0, 20)), ("road", box(20, 39)))
    (root / "labels.txt").write_text("__ignore__\nroad\nbackground\ncar\nnowhere\n", encoding="utf-8")
    config, draft = drafted(tmp_path, root)
    assert config.data.classes == ("road", "background", "car") and config.data.background == "background"
    assert "2.5 % of the pixels have no label: they are background" in draft.remarks
