"""The plan of a job, made by its first worker while the others wait; another one does it if that one dies."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from segdla.media.inputs import Input
from segdla.media.jobs.job_plan import JobPlan, keep_plan, read_plan, write_lists
from segdla.media.jobs.lease import PAUSE, Lease
from segdla.media.jobs.records import JOURNALS, UnitState, first_line, journal_name, numbers_in
from segdla.media.jobs.stores import WORK, Store

_PLAN = "plan"


def make_plan(
    store: Store,
    lease: Lease,
    wanted: dict[str, Any],
    inputs: Callable[[], Iterator[Input]],
    check: Callable[[JobPlan], None],
    pause: float = PAUSE,
) -> JobPlan:
    """Return the plan in a manifest; if it has none, let one worker list the inputs while the others wait.

    ``check`` sees the plan before it counts. Raises UserError as it does, or if the manifest is another job's.
    """
    while True:
        plan = read_plan(store, wanted)
        if plan is not None:
            return plan
        attempts = numbers_in(store.names(JOURNALS), rf"{_PLAN}\.(\d+)\.jsonl")
        last, state = max(attempts, default=0), UnitState()
        if last:
            state.add(store.read(journal_name(_PLAN, last)))
        if all(lease.is_dead(worker) for worker in state.workers) and store.create(
            journal_name(_PLAN, last + 1), first_line(lease.worker)
        ):
            for worker in state.workers:
                store.sweep(worker)
            plan = write_lists(store, wanted, f"{WORK}/inputs/{last + 1}", inputs())
            check(plan)
            if keep_plan(plan):
                return plan
        else:
            time.sleep(pause)
