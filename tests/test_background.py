import threading
import time

import numpy as np
import pytest

from segdla.background import Background, ahead


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


def test_ahead_keeps_the_order_and_says_what_failed():
    def half(number):
        time.sleep(0.01 * (number % 3))
        return 6 // number

    given = [1, 2, 0, 3]
    results = list(ahead(half, given, threads=3))
    assert [item for item, _ in results] == given
    assert [results[i][1].result() for i in (0, 1, 3)] == [6, 3, 2]
    with pytest.raises(ZeroDivisionError):
        results[2][1].result()


@pytest.mark.parametrize(("nbytes", "most"), [(1, 5), (100, 2)])
def test_ahead_is_only_so_far_ahead(nbytes, most):
    begun = []

    def read(number):
        begun.append(number)
        return np.zeros(nbytes, np.uint8)

    for number, future in ahead(read, range(40), threads=2, waiting=4, limit=50):
        future.result()
        time.sleep(0.002)
        assert len(begun) - number <= most + 1


def test_nothing_goes_on_when_ahead_is_left():
    begun = []
    for number, _ in ahead(begun.append, range(1000), threads=1):
        if number == 3:
            break
    time.sleep(0.05)
    assert len(begun) < 20
