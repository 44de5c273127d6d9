import multiprocessing
import os
import signal
import time

import pytest

from segdla.machine.signals import HANG_UP, Terminated, ending_in_order, ending_signals, heeding_the_first

pytestmark = pytest.mark.skipif(HANG_UP is None, reason="Windows has no SIGHUP")
ENDING = (signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_contexts_in_order(number):
    before = [signal.getsignal(each) for each in ENDING]
    ended = []
    with pytest.raises(Terminated, match=f"ended by {number.name}") as caught, ending_in_order():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)  # a shell and the kernel both send one
            ended.append(number)
    assert caught.value.status == 128 + number and ended == [number]
    assert [signal.getsignal(each) for each in ENDING] == before


def test_a_second_sigterm_acts_as_before(monkeypatch):
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append("second"))
    try:
        with pytest.raises(Terminated), ending_in_order():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == ["second"]


def test_a_hang_up_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in ending_signals()
        with ending_in_order():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.SIGHUP in ending_signals()


def test_a_forked_process_dies_of_the_signal_as_any_other():
    with ending_in_order():
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        process.start()
        time.sleep(0.1)
        process.terminate()
        process.join(10)
    assert process.exitcode == -signal.SIGTERM


def test_the_first_signal_is_heeded_and_the_second_acts_as_before():
    heard, before = [], signal.getsignal(signal.SIGTERM)
    with heeding_the_first(lambda: heard.append(1)):
        signal.raise_signal(signal.SIGTERM)
        assert heard == [1]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert heard == [1] and signal.getsignal(signal.SIGTERM) == before
