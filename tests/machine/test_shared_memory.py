import errno
import multiprocessing

import pytest

from segdla.errors import UserError
from segdla.machine.shared_memory import require_locks


def test_no_room_for_locks_is_answered_before_a_loader_starts(monkeypatch):
    """A container's /dev/shm of 4 kB has room for one."""
    room, made = 9, []

    def lock():
        if len(made) == room:
            raise OSError(errno.ENOSPC, "No space left on device")
        made.append(1)

    monkeypatch.setattr(multiprocessing, "Lock", lock)
    with pytest.raises(UserError, match=r"locks of 1 loader processes \(No space left .*docker --shm-size.*workers=0"):
        require_locks(1)
    made.clear()
    room = 10
    require_locks(1)
