import multiprocessing
import os
import signal

import pytest

from segdla.data.loader import WholeImages
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.training.stop import StopSignal, until_stopped


def test_a_signal_to_the_group_spares_the_workers():
    dataset = SegmentationDataset(Scenes("train", 8, (32, 32)))
    with StopSignal() as stop:
        images = iter(WholeImages(dataset, 1, workers=1, pin=False))
        next(images)
        os.kill(os.getpid(), signal.SIGTERM)
        for worker in multiprocessing.active_children():
            assert os.getpgid(worker.pid) != os.getpgrp()
        assert stop.requested
        assert len(list(images)) == 7


def test_the_first_signal_asks_for_a_stop_and_a_second_one_acts_as_before():
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
        assert not stop.requested and stop.signal is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested and stop.signal is signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_the_first_signal_is_answered_at_once(capfd):
    with StopSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        line = "SIGTERM: stopping after the running step; a second one ends it at once"
        assert capfd.readouterr().err.strip() == line


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_terminal_that_goes_away_asks_for_a_stop_however_often_it_says_so():
    with StopSignal() as stop:
        for _ in range(3):  # the shell and the kernel each send one
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal is signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("received", [[], [signal.SIGTERM]])
def test_handlers_are_put_back(received):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignal():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
        for number in received:
            os.kill(os.getpid(), number)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_items_end_with_a_stop_or_with_an_error_that_is_kept():
    with StopSignal() as stop:
        items = until_stopped(range(5), stop)
        assert next(items) == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert list(items) == []

    def broken():
        yield 1
        raise UserError("the second is broken")

    stop = StopSignal()
    assert list(until_stopped(broken(), stop)) == [1]
    assert str(stop.error) == "the second is broken" and not stop.requested


def test_an_error_of_ours_keeps_its_traceback():
    def broken():
        yield 1
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(until_stopped(broken(), StopSignal()))
