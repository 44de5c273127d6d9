"""Predictions written as labels, and read again."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import photo, write

from segdla.data.images import read_mask
from segdla.doctor.from_config import open_labels
from segdla.errors import UserError
from segdla.media.inputs import Input
from segdla.media.kinds import POLYGONS
from segdla.media.label_outputs import LabelOutputs, predicted_style
from segdla.media.outputs import Output

KINDS = ",".join(POLYGONS)
NAMES, PALETTE = ("Background", "car", "road"), ((0, 0, 0), (200, 0, 0), (0, 0, 250))


@pytest.fixture
def predict(tool, checkpoint):
    return lambda *argv: tool("predict")(*argv, "--checkpoint", checkpoint, "--device", "cpu")


@pytest.fixture
def photos(tmp_path):
    for index, name in enumerate(("a.png", "sub/b.jpg", "sub/c.png")):
        write(tmp_path / "photos" / name, photo(20, 30, index))
    return tmp_path / "photos"


def images_in(path):
    return [image["file_name"] for image in json.loads(path.read_text(encoding="utf-8"))["images"]]


def test_labels_are_read_as_they_were_predicted(predict, photos, tmp_path):
    assert predict("photos", "--output", "out", "--output-kind", f"{KINDS},ids") == 0
    for kind in POLYGONS:
        (source,) = open_labels(tmp_path / "out" / kind, photos).splits.values()
        assert not source.problems and source.classes.names == ("sky", "road", "car", "person", "tree")
        found = {source.name(i): source.target(i) for i in range(len(source))}
        assert found.keys() == {"a", "b", "c"}
        for name, target in found.items():
            path = tmp_path / "out" / "ids" / ("" if name == "a" else "sub") / f"{name}.png"
            np.testing.assert_array_equal(target, read_mask(path))
    file = tmp_path / "out" / "labelme" / "sub" / "b.json"
    assert (file.parent / json.loads(file.read_text(encoding="utf-8"))["imagePath"]).samefile(photos / "sub" / "b.jpg")


def test_what_was_killed_is_resumed(tmp_path):
    entries = {name: Input(f"photos/{name}.png", name) for name in "abc"}
    file = tmp_path / "coco" / "annotations" / "instances_default.json"

    def run(names, resume, killed=False):
        labels = LabelOutputs(tmp_path, list(POLYGONS), predicted_style(NAMES, PALETTE))
        labels.begin([entries[name] for name in names], resume)
        for name, kind in ((name, kind) for name in names for kind in POLYGONS):
            if not resume or not labels.paths(entries[name])[kind].exists():
                labels.write(kind, entries[name], np.ones((4, 5), np.uint8))
        if not killed:
            labels.finish([entries[name] for name in names], resume)

    run("a", resume=False, killed=True)
    assert not file.exists()
    run("bc", resume=True)
    assert images_in(file) == ["a.png", "b.png", "c.png"]
    run("b", resume=True)  # of images that are there already
    assert images_in(file) == ["a.png", "b.png", "c.png"]
    lines = (tmp_path / "yolo" / "train.txt").read_text(encoding="utf-8")
    assert lines == "./images/b.png\n./images/c.png\n"
    run("b", resume=False)  # anew
    assert images_in(file) == ["b.png"]
    text = (tmp_path / "cvat" / "annotations.xml").read_text(encoding="utf-8")
    assert text.count("<image ") == 1 and "subset" not in text  # which CVAT has in projects alone


def test_the_background_is_what_has_no_label_unless_it_is_asked_for(tmp_path):
    entry = Input("photos/a.png", "a")
    for asked, lines in ((False, 0), (True, 1)):
        labels = LabelOutputs(tmp_path, ["yolo"], predicted_style(NAMES, PALETTE, with_background=asked))
        labels.begin([entry], resume=False)
        labels.write("yolo", entry, np.zeros((4, 5), np.uint8))
        labels.finish([entry], resume=False)
        assert (tmp_path / "yolo" / "labels" / "a.txt").read_text(encoding="utf-8").count("\n") == lines


def test_a_network_of_other_classes_resumes_nothing(tmp_path):
    def output(names):
        labels = LabelOutputs(tmp_path, ["coco"], predicted_style(names, PALETTE))
        return Output(tmp_path, [], names, PALETTE, labels=labels)

    output(NAMES).begin(new=False)
    output(NAMES).begin(new=False, resume=True)
    with pytest.raises(UserError, match=r'holds labels by a network of other classes, \["Background", "car", "road"\]'):
        output(("a", "b", "c")).begin(new=False, resume=True)
    output(("a", "b", "c")).begin(new=False)  # anew


def test_a_network_that_drew_pictures_beside_them_changes_nothing(tmp_path):
    style = predicted_style(NAMES, PALETTE)
    Output(tmp_path, [], ("a", "b", "c"), PALETTE).begin(new=False)
    labelled = Output(tmp_path, [], NAMES, PALETTE, labels=LabelOutputs(tmp_path, ["coco"], style))
    labelled.begin(new=False, resume=True)
    Output(tmp_path, [], ("a", "b", "c"), PALETTE).begin(new=False)
    labelled.begin(new=False, resume=True)


def test_a_refusal_keeps_earlier_labels(tmp_path):
    image, video = Input("photos/a.png", "a"), Input("photos/film.avi", "film")
    labels = LabelOutputs(tmp_path, ["coco"], predicted_style(NAMES, PALETTE))
    labels.write("coco", image, np.ones((4, 5), np.uint8))
    with pytest.raises(UserError, match=r"film\.avi is a video"):
        labels.begin([image, video], resume=False)
    assert labels.paths(image)["coco"].exists()
    labels.begin([image], resume=False)
    assert not labels.paths(image)["coco"].exists()


def test_videos_and_unknown_kinds_are_refused_before_anything_is_done(fails, photos, checkpoint, tmp_path):
    writer = cv2.VideoWriter(str(photos / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 24))
    writer.write(photo(24, 32))
    writer.release()
    words = ("photos", "--output", "out", "--checkpoint", checkpoint, "--device", "cpu", "--output-kind")
    assert "film.avi is a video, and polygons belong to image files" in fails("predict", *words, "ids,coco")
    assert "'labelmee' is none of" in (message := fails("predict", *words, "labelmee"))
    assert "did you mean labelme?" in message
    assert not (tmp_path / "out").exists()


def test_names_of_classes_that_xml_can_not_hold():
    style = predicted_style(("a\x00",), ((0, 0, 0),))
    with pytest.raises(UserError, match="CVAT's XML can't hold the class name"):
        LabelOutputs(Path("out"), ["cvat"], style).begin([], resume=False)
