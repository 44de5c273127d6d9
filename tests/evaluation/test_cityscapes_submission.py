import zipfile

import numpy as np
import pytest
from cityscapes_tree import write_tree
from support import write

from segdla.data.cityscapes import LABEL_ID_OF, cityscapes
from segdla.errors import UserError
from segdla.evaluation.cityscapes_submission import Submission, check

OPTIONS = {"scales": (1.0, 1.5)}


@pytest.fixture
def source(tmp_path):
    return cityscapes(write_tree(tmp_path / "set", test=3), "test")


@pytest.fixture
def begin(source, tmp_path):
    """``begin()`` makes the submission out.zip of the source."""
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"weights")
    return lambda options=OPTIONS, name="out.zip": Submission(tmp_path / name, source, weights, options)


def prediction(train_id, size=(40, 56)):
    return np.full(size, train_id, np.uint8)


def test_a_zip_of_label_ids_by_the_servers_names(begin, source, tmp_path):
    submission = begin()
    for index in range(3):
        submission.write(source.name(index), prediction(index))
    submission.finish()
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == [
            "aachen_000000_000019_leftImg8bit.png",
            "aachen_000002_000021_leftImg8bit.png",
            "ulm_000001_000020_leftImg8bit.png",
        ]
        archive.extract("ulm_000001_000020_leftImg8bit.png", tmp_path)
    from PIL import Image

    with Image.open(tmp_path / "ulm_000001_000020_leftImg8bit.png") as image:
        assert (np.asarray(image) == LABEL_ID_OF[2]).all()  # by name, ulm comes last: building is label id 11
        assert LABEL_ID_OF[2] == 11
    assert not list(tmp_path.glob("out.zip.*"))


def test_one_that_was_cut_short_goes_on(begin, source):
    submission = begin()
    submission.write(source.name(0), prediction(0))
    submission.write(source.name(1), prediction(0))
    half = submission.parts / f"{source.name(1)}.png"
    half.write_bytes(half.read_bytes()[:40])  # a power cut
    again = begin()
    assert again.done() == {source.name(0)}
    assert (again.prediction(source.name(0)) == 0).all()


def test_predictions_of_two_makers_do_not_mix(begin, source, tmp_path):
    begin()
    with pytest.raises(UserError, match="begun with another checkpoint or other options"):
        begin(options={"scales": (1.0,)})
    (tmp_path / "best.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match="begun with another checkpoint"):
        begin()


def test_what_is_missing_is_not_submitted(begin, source, tmp_path):
    submission = begin()
    submission.write(source.name(0), prediction(0))
    with pytest.raises(UserError, match=r"holds 1 predictions for 3 images, such as .*_leftImg8bit\.png"):
        submission.finish()
    assert not (tmp_path / "out.zip").exists()
    assert submission.done() == {source.name(0)}  # and nothing is lost


def test_names_that_are_taken_or_wrong(begin, tmp_path):
    with pytest.raises(UserError, match=r"the server takes a \.zip"):
        begin(name="out.tar")
    (tmp_path / "out.zip").write_bytes(b"")
    with pytest.raises(UserError, match="exists"):
        begin()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (prediction(7, (40, 55)), "is 40x55"),
        (prediction(0), "holds 0, which is no label id"),
        (prediction(34), "holds 34"),
        (np.zeros((40, 56, 3), np.uint8), "is not a single-channel"),
        (np.full((40, 56), 7, np.uint16), "is not a single-channel, 8-bit"),
    ],
)
def test_every_prediction_is_checked(source, tmp_path, content, message):
    write(tmp_path / "wrong.png", content)
    write(tmp_path / "right.png", prediction(7))
    images = {source.name(i): source.files(i)[0] for i in range(3)}
    for wrong in (None, source.name(1)):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in images:
                archive.write(tmp_path / ("wrong.png" if name == wrong else "right.png"), f"{name}.png")
        if wrong is None:
            check(tmp_path / "a.zip", images)
        else:
            with pytest.raises(UserError, match=message):
                check(tmp_path / "a.zip", images)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # made on purpose
def test_one_prediction_an_image(source, tmp_path):
    write(tmp_path / "right.png", prediction(7))
    images = {source.name(i): source.files(i)[0] for i in range(3)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in (*images, source.name(0)):
            archive.write(tmp_path / "right.png", f"{name}.png")
    with pytest.raises(UserError, match="holds 4 predictions for 3 images"):
        check(tmp_path / "a.zip", images)
