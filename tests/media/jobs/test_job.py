"""Exactly once: whatever step a worker is killed at, nothing is missing and nothing is there twice."""

import shutil
import threading
import time
from itertools import islice

import pytest
from job_worker import Killed, Worker, album, outputs, records

from segdla.errors import UserError
from segdla.machine.files import own_partial_files
from segdla.media.jobs import job_plan

NAMES = ["0.png", "1.png", "2.png", "3.png"]


@pytest.fixture(autouse=True)
def _own_nothing():
    yield
    own_partial_files("")  # as a new process


@pytest.fixture
def undisturbed(tmp_path, monkeypatch):
    """The outputs of a job of four images, one of which is broken, in two units; and its number of steps."""
    monkeypatch.setattr(job_plan, "_UNITS", 2)
    album(tmp_path)
    worker = Worker(tmp_path, broken=("2",))
    assert worker().failed == 1
    expected = outputs(tmp_path)
    assert sorted(expected) == ["0.png", "1.png", "3.png"]
    clear(tmp_path)
    return expected, worker.store.steps


def clear(folder):
    shutil.rmtree(folder / "out", ignore_errors=True)
    shutil.rmtree(folder / "jobs.jsonl", ignore_errors=True)


def inputs_of(records):
    return [record["input"].rpartition("/")[2] for record in records]


def test_a_kill_at_any_step_loses_nothing_and_repeats_nothing(undisturbed, tmp_path):
    expected, steps = undisturbed
    assert steps > 40
    for fatal in range(1, steps + 1):
        victim = Worker(tmp_path, "victim", fatal, ("2",))
        with pytest.raises(Killed):
            victim()
        heir = Worker(tmp_path, "heir", broken=("2",))
        heir()
        assert inputs_of(records(tmp_path)) == NAMES, fatal
        assert [record["status"] for record in records(tmp_path)] == ["done", "done", "failed", "done"]
        assert outputs(tmp_path) == expected, fatal  # nothing half-written either
        twice = {*victim.written} & {*heir.written}
        assert len(twice) <= 1, fatal  # what was in flight
        assert not list((tmp_path / "jobs.jsonl" / "_work" / "partial").iterdir())
        clear(tmp_path)


def test_kill_after_kill(undisturbed, tmp_path):
    """Each worker is killed a few steps after the one before it, until one is through."""
    expected, steps = undisturbed
    for stride in (7, 10, 13, 16):
        for number in range(steps):
            worker = Worker(tmp_path, f"worker-{number}", stride, ("2",))
            try:
                worker()
                break
            except Killed:
                pass
        else:
            worker = Worker(tmp_path, "last", None, ("2",))
            worker()
        assert inputs_of(records(tmp_path)) == NAMES
        assert outputs(tmp_path) == expected
        clear(tmp_path)


def test_two_at_once_share_it(tmp_path):
    album(tmp_path, 12)
    workers = [Worker(tmp_path, name) for name in ("one", "two")]
    threads = [threading.Thread(target=worker) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(workers[0].written + workers[1].written) == sorted(map(str, range(12)))
    assert len(records(tmp_path)) == 12


def test_a_failure_is_retried_on_request_and_once(tmp_path):
    album(tmp_path)
    Worker(tmp_path, broken=("1", "2"))()
    again = Worker(tmp_path, "again")
    assert again().done == 0 and [r["status"] for r in records(tmp_path)].count("failed") == 2
    assert [failure["error"].split()[-1] for failure in again.job.failures()] == ["broken"] * 2
    retrying = [Worker(tmp_path, name, broken=("2",), retry_failed=True) for name in ("three", "four")]
    with retrying[1].lease.held():
        late = retrying[1].open()  # began before the other one ends
    assert retrying[0]().done == 1 and retrying[0].written == ["1"]
    assert late.work(retrying[1].predict).failed == 0  # the failure is younger than its request
    assert [record["status"] for record in records(tmp_path)] == ["done", "done", "failed", "done"]
    assert Worker(tmp_path, "five", retry_failed=True)().done == 1
    assert {record["status"] for record in records(tmp_path)} == {"done"}
    assert late.progress().failed == 0 and late.progress().finished == late.progress().total == 4


def test_a_failure_is_retried_whatever_the_clocks_say(tmp_path, monkeypatch):
    album(tmp_path)
    now = time.time
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now() + 3600)
        Worker(tmp_path, broken=("1",))()
    assert Worker(tmp_path, "again", retry_failed=True)().done == 1


class _LateJournal:
    """A journal whose lines reach others when it is closed, as in a bucket."""

    def __init__(self, journal):
        self.journal, self.lines = journal, []

    def append(self, line):
        self.lines.append(line)

    def close(self):
        for line in self.lines:
            self.journal.append(line)
        self.journal.close()


def test_an_error_leaves_nothing_to_be_done_twice(tmp_path, monkeypatch):
    album(tmp_path)
    worker = Worker(tmp_path)
    journal = worker.store.journal
    monkeypatch.setattr(worker.store, "journal", lambda name: _LateJournal(journal(name)))

    def interrupted(inputs, record):
        worker.predict(islice(inputs, 2), record)
        raise KeyboardInterrupt

    monkeypatch.setattr(job_plan, "_UNITS", 1)
    with pytest.raises(KeyboardInterrupt):
        worker(interrupted)
    heir = Worker(tmp_path, "heir")
    assert heir().done == 2 and sorted(worker.written + heir.written) == ["0", "1", "2", "3"]


def test_a_kill_at_any_step_of_a_retry(tmp_path):
    album(tmp_path, 2)
    fatal, killed = 0, True
    while killed:
        fatal += 1
        Worker(tmp_path, "first", broken=("1",))()
        try:
            Worker(tmp_path, "victim", fatal, retry_failed=True)()
            killed = False
        except Killed:
            Worker(tmp_path, "heir", retry_failed=True)()
        assert [record["status"] for record in records(tmp_path)] == ["done", "done"], fatal
        clear(tmp_path)
    assert fatal > 5


def test_a_sleeper_that_wakes_up_adds_nothing(tmp_path, monkeypatch):
    """A worker sleeps, lock in hand, in the middle of an image; another one takes over, then the first one goes on."""
    monkeypatch.setattr(job_plan, "_UNITS", 1)
    album(tmp_path, 3)
    sleeper, heir = Worker(tmp_path, "sleeper", patience=0.3), Worker(tmp_path, "heir", patience=0.3)
    beats = threading.Event()
    monkeypatch.setattr(sleeper.lease, "_renew", beats.wait)  # no more signs of life
    monkeypatch.setattr(sleeper.lease, "_ended", beats)

    def slow(inputs, record):
        for entry in inputs:
            heir()
            return sleeper.predict([entry, *inputs], record)

    assert sleeper(slow).done == 3
    assert heir.written == ["0", "1", "2"]
    journals = sorted((tmp_path / "jobs.jsonl" / "_work" / "journals").glob("0*"))
    assert [journal.read_text().count("finished") for journal in journals] == [0, 3]
    assert len(records(tmp_path)) == 3


def test_another_network_is_refused(tmp_path):
    album(tmp_path)
    Worker(tmp_path)()
    with pytest.raises(UserError, match=r"jobs.jsonl is the manifest of another job \(network: a; now: b\); name"):
        Worker(tmp_path, wanted={"network": "b", "inputs": ["album"]})()


def test_a_list_of_many_parts_has_each_input_once(tmp_path, monkeypatch):
    monkeypatch.setattr(job_plan, "_PART", 2)
    album(tmp_path, 5)
    worker = Worker(tmp_path)
    with worker.lease.held():
        plan = worker.open().plan
        entries = [*plan]
        assert [entry.name for entry in entries] == ["0", "1", "2", "3", "4"]
        assert [entry for unit in range(plan.num_units) for entry in plan.inputs(unit)] == entries
        twice = job_plan.write_lists(worker.store, {}, "_work/inputs/again", entries * 2)
        assert [*twice] == entries
        same = [entry._replace(path="other.png") for entry in entries[:1]]
        with pytest.raises(UserError, match=r"0\.png and other\.png would both become 0\.png"):
            job_plan.write_lists(worker.store, {}, "_work/inputs/same", entries + same)


def test_a_worker_on_another_machine_is_dead_once_it_has_been_still(tmp_path, monkeypatch):
    one, two = Worker(tmp_path, "one", patience=0.2), Worker(tmp_path, "two", patience=0.2)
    monkeypatch.setattr(two.store, "is_held", lambda name: True)  # whose locks tell nothing
    with one.lease.held():
        for _ in range(6):
            assert not two.lease.is_dead("one")  # it is renewed more often
            time.sleep(0.1)
        one.lease._ended.set()  # it hangs
        until = time.monotonic() + 10
        while not two.lease.is_dead("one"):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert two.lease.is_dead("one")
