import gc

import pytest

from segdla.machine.imports import collecting_nothing


@pytest.fixture
def collecting():
    """``collecting(True)`` or ``collecting(False)`` sets whether Python collects garbage, for this test."""
    before = gc.isenabled()

    def collecting(wanted):
        gc.enable() if wanted else gc.disable()

    yield collecting
    collecting(before)


@pytest.mark.parametrize("before", [True, False])
def test_no_garbage_is_collected_and_then_as_before(collecting, before):
    collecting(before)
    with collecting_nothing():
        assert not gc.isenabled()
    assert gc.isenabled() == before


def test_garbage_is_collected_again_after_an_import_that_fails(collecting):
    collecting(True)
    with pytest.raises(ImportError), collecting_nothing():
        raise ImportError
    assert gc.isenabled()
