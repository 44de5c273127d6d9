"""Data sets from any format to any other, as docs/converting.md promises it."""

import itertools
import json
import re
import shutil

import cv2
import numpy as np
import pytest
from exports import write_json, zipped
from PIL import Image
from support import ROOT, photo, write

import segdla
from segdla.data.label_files.written_formats import WRITTEN
from segdla.data.source import Classes, Source
from segdla.doctor.from_config import open_labels
from segdla.errors import UserError

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 150, 0), (0, 0, 250))
NAMES = ("background", "road", "a b", "on no image")


class Drawn(Source):
    """Images of random blocks, with ignored pixels over them."""

    classes = Classes(NAMES, PALETTE)

    def __init__(self, split, count=2, has_ignored=True):
        self.split, self.count, self.has_ignored = split, count, has_ignored

    def __len__(self):
        return self.count

    def name(self, index):
        return f"{self.split}{index}"

    def read(self, index):
        ids = np.random.default_rng([index, *self.split.encode()]).integers(0, 3, (5, 6)).astype(np.uint8)
        target = cv2.resize(ids, (15, 12), interpolation=cv2.INTER_NEAREST)
        target[2:4, 3:8] = 255 if self.has_ignored else 0
        return photo(12, 15, index), target


SPLITS = {"train": Drawn("train"), "val": Drawn("val", count=1)}


def rows():
    """The table of the page: what each format keeps."""
    page = (ROOT / "docs" / "converting.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| ((?:(?:yes|no) \| ){4}(?:yes|no)) \|$", page, re.MULTILINE)
    return {form: [cell.strip() == "yes" for cell in cells.split("|")] for form, cells in found}


def kept(folder, splits=SPLITS):
    """What is kept of the splits in a folder: pixels with labels, ignored ones, names by id, colours, splits."""
    found = open_labels(folder).splits
    truths, targets = (
        {source.name(i): source.target(i) for source in sources.values() for i in range(len(source))}
        for sources in (splits, found)
    )
    classes = next(iter(found.values())).classes
    assert targets.keys() == truths.keys()
    pairs = [(targets[name], truths[name]) for name in truths]
    return [
        all((target == truth)[truth != 255].all() for target, truth in pairs),
        all((target == truth)[truth == 255].all() for target, truth in pairs),
        classes.names == NAMES,
        classes.palette == PALETTE,
        {split: len(source) for split, source in found.items()} == {split: len(one) for split, one in splits.items()},
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of the set in each format."""
    root = tmp_path_factory.mktemp("sets")
    for form in WRITTEN:
        segdla.convert(SPLITS, form, root / form)
    return root


@pytest.mark.parametrize("form", WRITTEN)
def test_each_format_keeps_what_the_page_says(written, form):
    assert rows().keys() == WRITTEN.keys()
    assert kept(written / form) == rows()[form]


@pytest.mark.parametrize(("form", "other"), list(itertools.permutations(WRITTEN, 2)))
def test_from_each_format_to_each_other(written, tmp_path, form, other):
    done = segdla.convert(written / form, other, tmp_path / "out")
    assert done.images == 3 and not done.problems
    assert kept(tmp_path / "out") == [one and two for one, two in zip(rows()[form], rows()[other], strict=True)]


def test_images_are_copied_as_they_are_from_an_archive_too(written, tmp_path):
    segdla.convert(zipped(written / "cvat", tmp_path / "cvat.zip"), "coco", tmp_path / "out")
    copy = tmp_path / "out" / "images" / "val" / "val0.png"
    assert copy.read_bytes() == (written / "cvat" / "images" / "val" / "val0.png").read_bytes()
    assert kept(tmp_path / "out")[0]


def test_links_or_no_images(written, tmp_path):
    segdla.convert(written / "cvat", "yolo", tmp_path / "links", image_files="link")
    link = tmp_path / "links" / "images" / "val" / "val0.png"
    assert link.is_symlink() and link.samefile(written / "cvat" / "images" / "val" / "val0.png")
    segdla.convert(written / "cvat", "labelme", tmp_path / "none", image_files="none")
    assert not list((tmp_path / "none").rglob("*.png"))
    path = json.loads((tmp_path / "none" / "val" / "val0.json").read_text(encoding="utf-8"))["imagePath"]
    assert (tmp_path / "none" / "val" / path).samefile(link)


@pytest.mark.parametrize("form", WRITTEN)
def test_a_set_that_is_not_split(form, tmp_path):
    whole = {"": Drawn("whole")}
    segdla.convert(whole, form, tmp_path / "out")
    expected = {"train": whole[""]} if form == "yolo" else whole
    assert kept(tmp_path / "out", expected) == rows()[form]


def test_without_a_background_what_is_ignored_has_no_label(tmp_path):
    class Things(Drawn):
        classes = Classes(("grass", "road", "car"), PALETTE[:3])

    source = Things("train")
    done = segdla.convert({"train": source}, "yolo", tmp_path / "out")
    assert done.remarks == ("2 images have ignored pixels, which the format can't express: they have no label now",)
    for unlabelled, expected in (("ignored", [0, 1, 2, 255]), ("car", [0, 1, 2]), ("ground", [0, 1, 2, 3])):
        found = open_labels(tmp_path / "out", unlabelled=unlabelled).splits["train"]
        assert np.unique(found.target(0)).tolist() == expected
    np.testing.assert_array_equal(
        open_labels(tmp_path / "out", unlabelled="ignored").splits["train"].target(0), source.target(0)
    )


def test_what_can_not_be_read_is_named_and_the_rest_done(written, tmp_path):
    shutil.copytree(written / "labelme", tmp_path / "set")
    (tmp_path / "set" / "train" / "train0.png").write_bytes(b"no image")
    write(tmp_path / "set" / "train" / "further.png", photo(12, 15))
    write_json(tmp_path / "set" / "val" / "lost.json", {"shapes": [], "imagePath": "lost.png"})
    done = segdla.convert(tmp_path / "set", "coco", tmp_path / "out")
    assert done.images == 2 and len(done.problems) == 2
    assert "no image 'lost.png'" in done.problems[0] and "train0.png is not an image" in done.problems[1]
    assert done.remarks == ("left out, as they have no labels: 1, such as train/further.png",)


def test_nothing_is_left_of_what_fails(written, tmp_path):
    class Broken(Drawn):
        def read(self, index):
            raise UserError("photo 1 is broken")

    class Alike(Drawn):
        def name(self, index):
            return "alike"

    with pytest.raises(UserError, match="no image can be converted: photo 1 is broken"):
        segdla.convert({"train": Broken("train")}, "coco", tmp_path / "out")
    with pytest.raises(UserError, match=r"two images would have the name 'train/alike'"):
        segdla.convert({"train": Alike("train")}, "coco", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out exists; choose another --output, or remove it"):
        segdla.convert(SPLITS, "coco", tmp_path / "out")
    with pytest.raises(UserError, match="'tfrecord' is no format that is written; choose one of coco"):
        segdla.convert(SPLITS, "tfrecord", tmp_path / "new")


def test_small_regions_and_the_background_on_request(tmp_path):
    class Speckled(Source):
        classes = Classes(NAMES, PALETTE)

        def __len__(self):
            return 1

        def name(self, index):
            return "a"

        def read(self, index):
            target = np.zeros((8, 8), np.uint8)
            target[:, 4:], target[2, 2] = 1, 2
            return np.zeros((8, 8, 3), np.uint8), target

    segdla.convert({"train": Speckled()}, "yolo", tmp_path / "plain")
    segdla.convert({"train": Speckled()}, "yolo", tmp_path / "clean", min_pixels=2, background=True)
    lines = [
        (tmp_path / name / "labels" / "train" / "a.txt").read_text(encoding="utf-8") for name in ("plain", "clean")
    ]
    assert [sorted(line[0] for line in text.splitlines()) for text in lines] == [["1", "2"], ["0", "1"]]


def test_a_config_s_data_set(two_folders, tmp_path):
    done = segdla.convert(two_folders, "coco", tmp_path / "out")
    splits, config = open_labels(tmp_path / "out").splits, open_labels(two_folders).splits
    assert done.images == 6 and {split: len(source) for split, source in splits.items()} == {"train": 4, "val": 2}
    np.testing.assert_array_equal(splits["val"].target(1), config["val"].target(1))
    assert (tmp_path / "out" / "images" / "train" / "scene 0.png").is_file()
    with pytest.raises(UserError, match="a config says itself where images are"):
        segdla.convert(two_folders, "coco", tmp_path / "other", form="coco")


def test_images_that_stand_apart(written, tmp_path):
    segdla.convert(written / "masks" / "masks", "cvat", tmp_path / "out", images=written / "masks" / "images")
    assert kept(tmp_path / "out") == rows()["masks"]
    labels = written / "coco" / "annotations"
    segdla.convert(labels, "voc", tmp_path / "voc", images=written / "coco" / "images")
    assert kept(tmp_path / "voc") == rows()["coco"]


def merged(root, image="images/{}.png", mask="masks/{}_{}.png"):
    """Write photos, and a mask of each of two classes for each."""
    for number in range(3):
        write(root / image.format(number), photo(8, 9))
        for row, name in enumerate(("car", "road")):
            pixels = np.zeros((8, 9), np.uint8)
            pixels[3 * row : 3 * row + 2] = 255
            write(root / mask.format(number, name), pixels)
    return root


def test_several_masks_an_image_are_merged(tmp_path):
    root = merged(tmp_path / "set")
    segdla.convert(root, "coco", tmp_path / "whole", unlabelled="ground")
    segdla.convert(root / "masks", "coco", tmp_path / "apart", images=root / "images", unlabelled="ground")
    for folder in ("whole", "apart"):
        source = open_labels(tmp_path / folder, unlabelled="ground").splits[""]
        assert source.classes.names == ("ground", "car", "road")
        assert source.target(0)[:, 0].tolist() == [1, 1, 0, 2, 2, 0, 0, 0]


def test_masks_beside_their_image_are_not_counted_as_left_out(tmp_path):
    root = merged(tmp_path / "set", "{0}/images/{0}.png", "{}/masks/{}.png")
    done = segdla.convert(root, "coco", tmp_path / "out")
    assert done.images == 3 and not [remark for remark in done.remarks if remark.startswith("left out")]


def test_masks_of_ids_say_themselves_what_is_unlabelled(written, tmp_path):
    with pytest.raises(UserError, match=r"^masks say themselves what is unlabelled; leave --unlabelled out"):
        segdla.convert(written / "masks", "coco", tmp_path / "out", unlabelled="road")


def test_an_image_whose_labels_can_not_be_written_is_left_out(tmp_path):
    class Spaced(Drawn):
        def name(self, index):
            return ("plain", "a space")[index]

    done = segdla.convert({"": Spaced("")}, "voc", tmp_path / "out")
    assert done.images == 1 and "can't hold the image name 'a space.png'" in done.problems[0]
    assert [path.name for path in (tmp_path / "out" / "JPEGImages").iterdir()] == ["plain.png"]


@pytest.mark.parametrize(
    "text", ["background\ncar\nnowhere\n", "0 background\n1 car\n2 nowhere\n"], ids=["names", "ids"]
)
@pytest.mark.parametrize("rest", [0, 5], ids=["short", "alike"])
def test_classes_that_no_mask_has_and_no_palette_tells_apart(tmp_path, text, rest):
    ids = np.zeros((40, 56), np.uint8)
    ids[9:] = 1
    for number in range(2):
        write(tmp_path / "set" / "images" / f"{number}.png", photo(40, 56, number))
        mask = Image.fromarray(ids)
        mask.putpalette([0, 0, 0, 200, 0, 0, *([0] * 3 * rest)])
        (tmp_path / "set" / "masks").mkdir(exist_ok=True)
        mask.save(tmp_path / "set" / "masks" / f"{number}.png")
    (tmp_path / "set" / "masks" / "class_names.txt").write_text(text, encoding="utf-8")
    source = open_labels(tmp_path / "set").splits[""]
    assert source.classes.names == ("background", "car", "nowhere")
    np.testing.assert_array_equal(source.target(0), ids)


@pytest.mark.parametrize("split", ["../evil", "..", "a/b", "a\nb"])
def test_a_split_whose_name_is_a_path_is_refused(split, tmp_path):
    with pytest.raises(UserError, match="can't be the name of a folder; rename the split"):
        segdla.convert({split: Drawn("train")}, "labelme", tmp_path / "sets" / "out")
    assert list(tmp_path.iterdir()) == []


def test_sources_that_are_no_data_set(tmp_path):
    class Other(Drawn):
        classes = Classes(NAMES[::-1], PALETTE)

    for sources in ({}, {"train": Drawn("train"), "val": Other("val")}):
        with pytest.raises(UserError, match="one source at least, and all of the same classes"):
            segdla.convert(sources, "coco", tmp_path / "out")
