import numpy as np
import pytest

from segdla.data.labels import IGNORE_INDEX, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.scenes import Scenes
from segdla.data.source import Source
from segdla.data.subset import SourceView, Subset, evenly_spaced


def test_a_subset_is_the_source_at_its_indexes():
    scenes = Scenes("val", 5, (32, 48))
    subset = Subset(scenes, [3, 1])
    assert len(subset) == 2 and subset.classes is scenes.classes and subset.labelled
    assert [subset.name(i) for i in range(2)] == ["val_00003", "val_00001"]
    for index, original in enumerate((3, 1)):
        for part, expected in zip(subset.read(index), scenes.read(original), strict=True):
            np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(subset.target(index), scenes.read(original)[1])


def test_a_subset_has_the_files_and_official_truths_of_its_images(tmp_path):
    class Official(PairSource):
        labelled, has_server = False, True

        def official_truths(self):
            return {self.name(index): mask for index, (_, mask) in enumerate(self.pairs)}

    pairs = [(tmp_path / f"{i}.png", tmp_path / f"m{i}.png") for i in range(3)]
    official = Official(pairs, Scenes.classes, IdEncoding({0: IGNORE_INDEX}))
    subset = Subset(official, [2])
    assert subset.files(0) == pairs[2] and subset.official_truths() == {"2": pairs[2][1]}
    assert not subset.labelled and subset.has_server and subset.goes_by_ids and subset.sample_range is None


@pytest.mark.parametrize(("count", "indexes"), [(3, [0, 4, 8]), (1, [0]), (20, list(range(9)))])
def test_a_few_images_are_from_all_over_a_source(count, indexes):
    assert evenly_spaced(Scenes("val", 9, (32, 48)), count).indexes == indexes


def test_a_view_hands_on_all_that_a_source_has():
    # A view is not joined: data sets are, before they are seen through anything. Its indexes are its own.
    own = {"joined", "labelled_once"}
    declared = {name for name in vars(Source) if not name.startswith("_")} - own
    handed_on = {*vars(SourceView), *vars(SourceView(Scenes("val", 1, (32, 48))))}
    assert declared - handed_on == {"problems", "unused"}  # of the files beside the images, which a view leaves out
