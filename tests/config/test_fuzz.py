"""Damaged and hostile configs give a Config or a UserError of one short line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_configs import KEYS, KINDS, VALUES, Edit, edited, read, texts

TEXTS = texts()
EDITS = st.lists(st.builds(Edit, st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 2**16)), max_size=8)
WORDS = st.lists(st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=2)


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "empty"])
def test_whole_configs_are_read(name):
    assert read(TEXTS[name], []) == "read"


@settings(max_examples=120, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(TEXTS)), edits=EDITS, words=WORDS)
def test_edited_configs_give_a_config_or_an_answer(name, edits, words):
    read(edited(TEXTS[name], edits), words)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(text=st.text(max_size=200), key=st.text(max_size=20), value=st.text(max_size=50))
def test_random_text_gives_an_answer_or_a_config(text, key, value):
    read(text, [])
    read(TEXTS["quickstart"], [f"{key}={value}"])
    read(TEXTS["quickstart"], [f"data.augment.transforms=[{{{value}: {{{key}: {text}}}}}]"])
