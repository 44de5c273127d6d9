"""Damaged checkpoints, states and weights files are read and load, or give an answer of one short line."""

import pytest
from fuzz_checkpoints import READERS, damaged_inside, read, samples
from fuzz_images import EXTREMES, KINDS, Edit, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

EDITS = st.lists(
    st.builds(Edit, st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 6 * len(EXTREMES))), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def whole(folder):
    return samples(folder)


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(folder, whole, name):
    for content in (whole[name], damaged_inside(whole[name], [])):
        (folder / name).write_bytes(content)
        assert read(folder / name) == "read"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(READERS)), edits=EDITS, inside=st.booleans())
def test_damaged_files_are_read_or_give_an_answer(folder, whole, name, edits, inside):
    content = damaged_inside(whole[name], edits) if inside else damaged(whole[name], edits, mends_checksums=False)
    (folder / name).write_bytes(content)
    read(folder / name)
