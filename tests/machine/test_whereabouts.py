import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest
import torch.distributed as dist
from support import ROOT
from tiny_run import TINY

from segdla.errors import PeerError, UserError
from segdla.machine import distributed
from segdla.machine.whereabouts import Whereabouts, missing_of, place, timeout, told

WAITS = "segdla/machine/distributed.py, line 1, in highest\n4 steps done"
READS = "segdla/data/images.py, line 88, in read_image\n3 steps done"
BACKWARD = "segdla/training/step.py, line 37, in gradients\n4 steps done"
TIMED_OUT = RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1000ms for recv operation")


@pytest.mark.parametrize(
    ("places", "waiting", "missing"),
    [
        ([WAITS, READS, WAITS], 0, {1: READS}),
        ([READS, BACKWARD, BACKWARD, WAITS], 1, {0: READS}),  # backward waits for the others' gradients
        ([WAITS, WAITS], 1, {0: WAITS, 1: WAITS}),  # a network that lost something
    ],
)
def test_who_is_missing(places, waiting, missing):
    assert missing_of(dict(enumerate(places)), waiting) == missing


def test_the_line_names_processes_places_and_the_remedy():
    assert told({1: READS}, 4, 600.0) == (
        "processes have waited 600 s for others (of 4): process 1 is at segdla/data/images.py, line 88, in read_image "
        "(3 steps done); if that takes so long, set SEGDLA_COLLECTIVE_TIMEOUT to more seconds"
    )
    assert told(dict.fromkeys(range(10), READS), 512, 1.0).count("read_image") == 8


def test_a_place_is_the_innermost_line_of_the_package():
    def here():
        return place(sys._getframe())

    assert re.fullmatch(r"/.*test_whereabouts\.py, line \d+, in here", here())
    assert re.fullmatch(r"segdla/machine/distributed\.py, line \d+, in on_main", distributed.on_main(here))


def test_one_that_waits_says_it_and_the_others_end_without_a_word():
    store = dist.HashStore()
    first, third = (Whereabouts(store, rank, 3, 100) for rank in (0, 2))
    store.wait(["where 0", "where 2"])  # they have told where they are, and won't again for a while
    for rank, text in enumerate((WAITS, READS, WAITS)):
        store.set(f"where {rank}", text)
    assert first.answer(RuntimeError("a bug"), 1) is None and first.answer(RuntimeError("gloo: a bug"), 1) is None
    closed = RuntimeError("[gloo/transport/tcp/pair.cc:545] Connection closed by peer")
    assert "lost its connection" in str(third.answer(closed, 1))
    assert "process 1 is at segdla/data/images.py" in str(first.answer(TIMED_OUT, 1))
    assert isinstance(third.answer(TIMED_OUT, 1), PeerError) and isinstance(third.answer(closed, 1), PeerError)
    for one in (first, third):
        one.end()


def test_the_time_is_a_number_of_seconds():
    assert timeout(None) is None and timeout("90") == timedelta(seconds=90)
    for word in ("ten", "0", "-1", "nan", "1e99"):
        with pytest.raises(UserError, match=f"SEGDLA_COLLECTIVE_TIMEOUT is '{word}'; give it a number of seconds"):
            timeout(word)


@pytest.mark.slow
def test_a_process_that_hangs_is_named_with_its_place_in_one_line(tmp_path):
    config, script = tmp_path / "tiny.yaml", tmp_path / "hang.py"
    config.write_text(TINY.replace("accumulate: 2", "accumulate: 1"), encoding="utf-8")
    words = f"{str(config)!r}, {str(tmp_path)!r}, 300"
    script.write_text(f"import sys, distributed_work as work\nsys.exit(work.train_until_one_sleeps({words}))\n")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script],
        env={**os.environ, "SEGDLA_COLLECTIVE_TIMEOUT": "10", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    said = "have waited 10 s for others (of 2): process 1 is at segdla/training/loop.py, line "
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("train.py: "))
    assert said in line and "in train_steps (2 steps done)" in line
    assert "[rank0]: Traceback" not in done.stderr and "gloo" not in done.stderr
