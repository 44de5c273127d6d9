"""Ray as the engine: ``Segment``, the stateful class for ``map_batches``, and ``predict``, which does each input once.

Ray starts the actors, gives them GPUs or processors, and restarts them; the manifest sees to it that nothing is missing
and nothing done twice. The package ray is imported when it is first used: pip install "segdla[ray]".
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segdla.errors import UserError
from segdla.machine.remote.remote_path import as_path
from segdla.trained.file_job import FileJob
from segdla.trained.segmenter import Segmenter, load

if TYPE_CHECKING:
    import ray.data

_UNITS_AT_ONCE = 16  # at most; so that reading, computing and writing overlap
_TURNS = 4  # batches of an actor, at least, so that all actors end together


class Segment:
    """Segment batches of Ray Data in an actor: ``dataset.map_batches(Segment, fn_constructor_args=["runs/mine"])``.

    A batch with ``image`` gets ``class_ids``; ``options`` are those of ``segdla.load``. With a ``job``, as ``predict``
    makes it, batches are units of work instead, and become the records of their inputs.
    """

    def __init__(self, checkpoint: str | None = None, job: dict[str, Any] | None = None, **options: Any):
        self._segmenter: Segmenter = load(checkpoint, **options)
        self._worker = self._job = None
        if job is not None:
            self._files = _files(self._segmenter, **job)
            self._worker = self._files.worker()
            self._job = self._worker.__enter__()  # alive as long as the actor: Ray ends it by killing it

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self._job is None:
            ids = [self._segmenter.predict(np.asarray(image)) for image in batch["image"]]
            return {**batch, "class_ids": _column(ids)}
        units = [int(unit) for unit in batch["unit"]]
        self._job.work(self._files.predicted(), units=units)
        records = [*self._job.records(units)]
        return {name: _column([record[name] for record in records]) for name in records[0]}


def predict(
    inputs: Sequence[str],
    output: str,
    manifest: str,
    checkpoint: str | None = None,
    kinds: Sequence[str] = ("color",),
    retry_failed: bool = False,
    concurrency: int | tuple[int, int] = 2,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    **options: Any,
) -> "ray.data.Dataset":
    """Return a Ray dataset of the records of all inputs that are left to do; they are done when it is used.

    ``inputs``, ``output``, ``manifest`` and ``kinds`` are those of ``segdla predict``, ``options`` those of
    ``segdla.load``. ``concurrency`` is the number of actors, or the smallest and the largest; ``num_cpus`` and
    ``num_gpus`` are what each takes. Killed, it goes on when it is called again.

    Raises UserError if ray is missing, or as ``FileJob`` does.
    """
    try:
        import ray.data
    except ImportError:
        raise UserError('segdla.ray takes the package ray: pip install "segdla[ray]"') from None
    job: dict[str, Any] = {"inputs": list(inputs), "output": output, "manifest": manifest, "kinds": tuple(kinds)}
    job["retry_failed"] = retry_failed
    with _files(load(checkpoint, **options), **job).worker() as plan:
        units = plan.unfinished()
    actors = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    at_once = max(1, min(_UNITS_AT_ONCE, len(units) // (_TURNS * actors[1])))
    blocks = max(1, len(units) // at_once)
    return ray.data.from_items([{"unit": unit} for unit in units], override_num_blocks=blocks).map_batches(
        Segment,
        fn_constructor_args=[checkpoint, job],
        fn_constructor_kwargs=options,
        batch_size=at_once,
        compute=ray.data.ActorPoolStrategy(min_size=actors[0], max_size=actors[1]),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


def _files(segmenter: Segmenter, output: str, **job: Any) -> FileJob:
    return FileJob(output=as_path(output), segmenter=segmenter, **job)


def _column(values: list[Any]) -> np.ndarray:
    """Return values as an array: of one shape, or of objects."""
    if len({np.shape(value) for value in values}) == 1 and isinstance(values[0], np.ndarray | float):
        return np.stack(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column
