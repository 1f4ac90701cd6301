"""How much faster two codec workers are than one, with many instances to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import machine
from benchmarks.transcode.rounds import Cell, Effort, Sample
from benchmarks.transcode.subjects import Task
from hostd.transcoding.pool import CodecPool

_LEAST_INSTANCES = 8
_ENOUGH_S = 1.0
"""A sample of large images needs no more of them than take so long."""


def compared(tasks: Iterable[Task], effort: Effort, folder: Path) -> list[tuple[Cell, Cell]]:
    """Do each task many times with one worker and with two, in turns. Both may use two processors."""
    every = os.sched_getaffinity(0)
    pools = {workers: CodecPool(workers=workers) for workers in (1, 2)}
    try:
        os.sched_setaffinity(0, sorted(every)[:2])
        return [_compared(task, effort, pools, folder) for task in tasks]
    finally:
        os.sched_setaffinity(0, every)
        for pool in pools.values():
            pool.close()


def _compared(task: Task, effort: Effort, pools: dict[int, CodecPool], folder: Path) -> tuple[Cell, Cell]:
    cells = Cell("one worker", task), Cell("two workers", task)
    for workers, pool in pools.items():
        once = _seconds(pool, task, 2 * workers, folder, workers)  # starts the workers, which is not measured
    machine.without_niceness()
    instances = min(effort.instances, max(_LEAST_INSTANCES, round(_ENOUGH_S / once.wall)))
    for _ in range(effort.rounds):
        for cell, (workers, pool) in zip(cells, pools.items(), strict=True):
            cell.samples.append(_seconds(pool, task, instances, folder, workers))
    return cells


def _seconds(pool: CodecPool, task: Task, instances: int, folder: Path, workers: int) -> Sample:
    results = [folder / f"result-{number}.dcm" for number in range(instances)]

    def one(result: Path) -> None:
        pool.transcode(task.source, task.target, result, task.options, verify=False)

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(one, results))
    wall = time.perf_counter() - began
    for result in results:
        result.unlink()
    return Sample(wall / instances, 0.0)
