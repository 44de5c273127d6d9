import numpy as np
from markupsafe import Markup

from segdla.data.source import Classes, Source
from segdla.data.subset import Subset
from segdla.doctor.label_errors import SuspectRegion, packed
from segdla.doctor.label_ranking import CheckedImage, LabelErrors
from segdla.doctor.misplaced_labels import Turn
from segdla.report.data_look import crop, doubtful_images, look_at_data
from segdla.trained.score import open_evaluation

CLASSES = Classes(("sky", "road"), ((0, 0, 0), (9, 9, 9)))


class Grey(Source):
    classes = CLASSES

    def __len__(self):
        return 3

    def name(self, index):
        return f"image {index}"

    def read(self, index):
        return np.full((40, 60, 3), 128, np.uint8), np.zeros((40, 60), np.uint8)


def region(score, box=(30, 10, 8, 6)):
    mask = np.ones((box[3], box[2]), bool)
    return SuspectRegion(box, 0, 1, int(mask.sum()), 0.75, 0.125, score, packed(mask))


def test_the_images_that_rank_first_with_their_worst_regions():
    errors = LabelErrors(CLASSES)
    facts = {"files": (), "size": (40, 60)}
    errors.add(CheckedImage("val", 0, "image 0", score=0.0, agreement=1.0, **facts), [])
    errors.add(CheckedImage("val", 1, "image 1", score=1.0, agreement=0.9, **facts), [region(1.0)])
    turn = Turn("mirrored", 0.4, 0.8)
    errors.add(
        CheckedImage("val", 2, "image 2", score=9.0, agreement=0.4, turn=turn, **facts),
        [region(score) for score in (9.0, 8.0, 7.0, 6.0, 5.0)],
    )
    first, second = doubtful_images(errors, Grey())
    assert (first.name, first.agreement, len(first.crops)) == ("image 2", 0.4, 4)
    assert first.faults[0].startswith("its labels are mirrored") and second.faults == []
    (one,) = second.crops
    assert (one.given, one.suggested, one.confidence) == ("sky", "road", 0.75)
    assert isinstance(one.picture, Markup) and one.picture.startswith("data:image/webp;base64,")


def test_a_crop_outlines_its_region_and_shows_its_surroundings():
    image, _ = Grey().read(0)
    whole = region(1.0, (0, 0, 60, 40))
    picture = crop(image, whole)
    assert picture.shape == (150, 225, 3) and (picture[0] == 255).all() and (picture[75, 100] == 128).all()
    small = crop(image, region(1.0))  # 12 pixels, three tenths of the height, to each side of (34, 13)
    assert small.shape == (150, 150, 3)  # rows 1 to 24 and columns 22 to 45
    rows, columns = np.nonzero((small == 255).all(-1))
    scale = 150 / 24
    assert abs(rows.min() - 9 * scale) < 4 and abs(rows.max() - 15 * scale) < 4
    assert abs(columns.min() - 8 * scale) < 4 and abs(columns.max() - 16 * scale) < 4


def test_images_in_two_splits_and_labels_in_doubt(hostile_run, hostile):
    some = Subset(hostile, range(3))
    evaluation = open_evaluation(hostile_run, source=some, device="cpu")
    look = look_at_data(evaluation, {"train": some, "val": some})
    (copies,) = look.copies
    assert (copies.kind, copies.serious, copies.number) == ("duplicate across splits", True, 3)
    assert len(copies.messages) == 3 and copies.messages[0].startswith("val: 2 times the same image: 0 <b>")
    assert look.splits["train"] == look.splits["val"] and look.splits["val"].images == 3
    assert look.doubtful and {one.name for one in look.doubtful} <= {some.name(index) for index in range(3)}
