"""Damaged files of every format give an array or a UserError, by any reader."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.fuzz_images import EXTREMES, KINDS, MOST_PIXELS, Edit, damaged, read_in_every_way, samples
from segdla.data.images import image_size, read_image
from segdla.errors import UserError

WHOLE = samples()
EDITS = st.lists(
    st.builds(Edit, st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 6 * len(EXTREMES))), min_size=1, max_size=6
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", MOST_PIXELS // 2)
        yield Path(tmp_path_factory.mktemp("damage"), "image.bin")


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(path, name):
    path.write_bytes(WHOLE[name])
    if name.endswith("two pictures") and not name.startswith("MPO"):  # a photo with its preview
        with pytest.raises(UserError, match="holds 2 pictures"):
            read_image(path)
    else:
        assert read_image(path).shape[:2] == image_size(path)
        read_in_every_way(path)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(WHOLE)), edits=EDITS, mends_checksums=st.booleans())
def test_damaged_files_give_an_array_or_an_answer(path, name, edits, mends_checksums):
    path.write_bytes(damaged(WHOLE[name], edits, mends_checksums=mends_checksums))
    read_in_every_way(path)
