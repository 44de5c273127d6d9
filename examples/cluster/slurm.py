"""Predict a million images on Slurm: an array of workers, which are queued again when they are preempted or killed.

python examples/cluster/slurm.py photos/ masks/ jobs.jsonl --workers 64 --partition gpu; pip install submitit first.
Run it once more if some workers are lost: what is done stays done.
"""

import argparse
import sys

import submitit


class Worker:
    """One worker; after a preemption or a time-out, submitit queues a new one in its place."""

    def __init__(self, argv: list[str]):
        self.argv = argv

    def __call__(self) -> int:
        from segdla.__main__ import main

        return main(["predict", *self.argv])

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        return submitit.helpers.DelayedSubmission(self)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs")
    parser.add_argument("output")
    parser.add_argument("manifest")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cluster", help="slurm, or local to try it (default: slurm if there is one)")
    parser.add_argument("--partition")
    args, more = parser.parse_known_args()  # more options are those of segdla predict
    executor = submitit.AutoExecutor("slurm-logs", cluster=args.cluster, slurm_max_num_timeout=100)
    executor.update_parameters(timeout_min=240, slurm_array_parallelism=args.workers)
    if args.partition:
        executor.update_parameters(slurm_partition=args.partition, slurm_gpus_per_task=1)
    argv = [args.inputs, "--output", args.output, "--manifest", args.manifest, *more]
    with executor.batch():  # one array job
        jobs = [executor.submit(Worker(argv)) for _ in range(args.workers)]
    sys.exit(max(job.result() for job in jobs))
