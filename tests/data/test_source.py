import inspect
import pickle
import textwrap

import numpy as np
import pytest

from segdla.data.source import Classes, Source, UnreadableMaskError
from segdla.errors import UserError


def example():
    """Run the example in the docstring of ``Source``, and return its class."""
    text = inspect.getdoc(Source)
    start = text.index("    class Gradients")
    namespace = {"np": np, "Classes": Classes, "Source": Source}
    exec(textwrap.dedent(text[start : text.index("\nand hand it in")]), namespace)
    return namespace["Gradients"]


def test_the_example_of_a_source_is_one():
    gradients = example()()
    image, target = gradients.read(90)
    assert image.shape == (48, 64, 3) and image.dtype == target.dtype == np.uint8
    assert np.unique(target).tolist() == [0, 1]
    np.testing.assert_array_equal(gradients.target(90), target)


def test_what_a_source_does_not_say_has_a_default():
    gradients = example()()
    assert gradients.labelled and not gradients.has_server
    assert not gradients.problems and not gradients.unused
    assert gradients.files(0) == () and not gradients.official_truths()
    with pytest.raises(UserError, match=r"a Gradients can't be joined .*data\.train_on_val"):
        gradients.joined(gradients)


def test_a_source_must_have_a_length_names_and_pairs():
    class Nameless(Source):
        def __len__(self):
            return 1

        def read(self, index):
            return np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)

    with pytest.raises(TypeError, match="name"):
        Nameless()


def test_classes_are_tuples_with_a_colour_each():
    classes = Classes(["road", "car"], [(1, 2, 3), (4, 5, 6)])
    assert classes == Classes(("road", "car"), ((1, 2, 3), (4, 5, 6))) and len(classes) == 2
    with pytest.raises(UserError, match="2 classes have 1 colours; give each class one colour"):
        Classes(("road", "car"), ((1, 2, 3),))


def test_errors_travel_from_loader_workers():
    error = pickle.loads(pickle.dumps(UnreadableMaskError("m.png is empty")))
    assert isinstance(error, UserError) and str(error) == "m.png is empty"


def test_values_of_overlapping_classes_are_sets():
    a, b = ("a", "b"), ((1, 2, 3), (4, 5, 6))
    exclusive, overlapping = Classes(a, b), Classes(a, b, overlapping=True)
    counts = np.zeros(256, np.int64)
    counts[[0, 1, 2, 3, 255]] = 1, 10, 100, 1000, 5
    assert exclusive.pixels(counts).tolist() == [1, 10]
    assert overlapping.pixels(counts).tolist() == [1010, 1100]
    values = np.array([[0, 1, 2, 3, 255]], np.uint8)
    assert exclusive.drawn(values) is values
    assert overlapping.drawn(values).tolist() == [[254, 0, 1, 1, 255]]  # none, and the last on top
    exclusive.require_exclusive("a report")
    with pytest.raises(UserError, match=r"a report is for classes of which each pixel has one, and these overlap"):
        overlapping.require_exclusive("a report")
    with pytest.raises(UserError, match=r"8 classes overlap .*, and at most 7 may"):
        Classes(tuple("abcdefgh"), ((0, 0, 0),) * 8, overlapping=True)
