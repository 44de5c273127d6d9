import threading
import time

import pytest

from segdla.background import Background


def test_all_is_done_at_the_end():
    done = []
    with Background() as background:
        for i in range(50):
            background.do(done.append, i)
    assert sorted(done) == list(range(50))


def test_few_wait():
    gate, begun = threading.Event(), []
    with Background(threads=1, waiting=2) as background:
        background.do(gate.wait, 10)
        background.do(begun.append, 1)
        threading.Timer(0.05, gate.set).start()
        started = time.perf_counter()
        background.do(begun.append, 2)  # until the first is done
        assert time.perf_counter() - started > 0.03


def fail():
    raise ValueError("disk full")


def test_a_failure_is_raised_by_a_later_call():
    with pytest.raises(ValueError, match="disk full"), Background(waiting=1) as background:
        background.do(fail)
        background.do(print)


def test_a_failure_is_raised_at_the_end():
    with pytest.raises(ValueError, match="disk full"), Background() as background:
        background.do(fail)


def test_a_failure_of_the_caller_loses_nothing():
    gate, done = threading.Event(), []
    with pytest.raises(KeyboardInterrupt), Background(threads=1) as background:
        background.do(gate.wait, 10)
        background.do(done.append, 1)
        threading.Timer(0.05, gate.set).start()
        raise KeyboardInterrupt
    assert done == [1]
