import threading
import time

import numpy as np
import pytest

from segdla.machine import threads
from segdla.machine.threads import Background, ahead, in_threads, usable_processors


@pytest.mark.parametrize(
    ("processors", "processes", "share"), [(8, None, 8), (8, "1", 8), (8, "2", 4), (8, "3", 2), (2, "8", 1)]
)
def test_processes_share_the_processors(processors, processes, share, monkeypatch):
    monkeypatch.setattr(threads, "processors", lambda: processors)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert usable_processors() == share


def test_processors_are_those_that_this_process_may_run_on(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {1, 5, 7}, raising=False)
    assert threads.processors() == 3
    monkeypatch.delattr("os.sched_getaffinity")  # not Linux
    assert threads.processors() == 64


def test_threads_compute_in_order():
    with in_threads(lambda number: 2 * number, range(50)) as futures:
        assert [future.result() for future in futures] == list(range(0, 100, 2))


def test_threads_for_which_others_wait_take_all_processors(monkeypatch):
    monkeypatch.setattr(threads, "processors", lambda: 3)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    together = threading.Barrier(3, timeout=10)
    with in_threads(lambda _: together.wait(), range(3)) as futures:
        assert sorted(future.result() for future in futures) == [0, 1, 2]


def test_an_error_cancels_what_has_not_begun(monkeypatch):
    monkeypatch.setattr(threads, "processors", lambda: 1)
    gate, begun = threading.Event(), []

    def work(number):
        begun.append(number)
        gate.wait(10)

    with pytest.raises(ValueError, match="disk full"), in_threads(work, range(100)) as futures:
        while not begun:
            time.sleep(0.001)
        threading.Timer(0.05, gate.set).start()
        fail()
    assert begun == [0] and futures[0].done() and all(future.cancelled() for future in futures[1:])


def test_all_is_done_at_the_end():
    results = []
    with Background() as background:
        for i in range(50):
            background.do(results.append, i)
    assert sorted(results) == list(range(50))


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
    gate, results = threading.Event(), []
    with pytest.raises(KeyboardInterrupt), Background(threads=1) as background:
        background.do(gate.wait, 10)
        background.do(results.append, 1)
        threading.Timer(0.05, gate.set).start()
        raise KeyboardInterrupt
    assert results == [1]


def test_ahead_keeps_the_order_and_says_what_failed():
    def half(number):
        time.sleep(0.01 * (number % 3))
        return 6 // number

    numbers = [1, 2, 0, 3]
    results = list(ahead(half, numbers, threads=3))
    assert [item for item, _ in results] == numbers
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
