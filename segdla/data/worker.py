"""The start of a loader's reader: a process of its own, or the main one."""

import os
import signal
from collections.abc import Iterable
from itertools import islice

import cv2
import numpy as np
from torch.utils.data import get_worker_info

from segdla.data.files_ahead import FilesAhead, is_remote
from segdla.data.samples import SegmentationDataset

_BLOCK = 16 << 20  # bytes, several times a sample's


def start_worker(keys: Iterable[list[tuple[int, int]]], worker: int) -> None:
    """Set up a worker process, which reads every so manieth batch of ``keys``."""
    cv2.setNumThreads(0)  # a worker is a thread already: more of them only get in each other's way
    # The C library of Linux keeps, unused, up to twice the largest block that was ever freed. So a sample is made where
    # the one before was, and not in new memory, page by page.
    np.empty(_BLOCK, np.uint8)
    # A signal to the main process's group, such as Ctrl-C's, is the main process's to answer: a worker that died of it
    # would take the running step along.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    info = get_worker_info()
    assert info is not None and isinstance(info.dataset, SegmentationDataset), "not in a worker"
    read_ahead(info.dataset, keys, worker, info.num_workers)


def read_ahead(
    dataset: SegmentationDataset, keys: Iterable[list[tuple[int, int]]], worker: int = 0, num_workers: int = 1
) -> None:
    """Let a dataset fetch remote files before their turn: of every ``num_workers``-th batch, from ``worker`` on."""
    if is_remote(dataset.source):
        dataset.ahead = FilesAhead(dataset.source, lambda: islice(keys, worker, None, num_workers))
