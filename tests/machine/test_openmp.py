import sys
from threading import Thread

import pytest
import torch

from segdla.machine.openmp import computing_alone
from segdla.machine.threads import Background

pytestmark = [
    pytest.mark.usefixtures("two_threads"),
    pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP lets idle threads be"),
]


def test_a_thread_in_the_background_has_no_team():
    numbers = []
    with Background(threads=1) as background:
        background.do(lambda: numbers.append(torch.get_num_threads()))
    assert numbers == [1] and torch.get_num_threads() == 2


def test_a_thread_is_alone_for_the_time_of_a_context_and_others_are_not():
    others = []
    with computing_alone():
        alone = torch.get_num_threads()
        thread = Thread(target=lambda: others.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert (alone, others, torch.get_num_threads()) == (1, [2], 2)
