"""Doing several things at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait


def together(tasks: Sequence[Callable[[], object]], at_once: int, give_up: Callable[[], None]) -> None:
    """Runs ``tasks``, ``at_once`` at a time; after the first error those that have not begun are left undone.

    When somebody interrupts it, so are those that have: ``give_up`` has them end.
    """
    pool = ThreadPoolExecutor(at_once)
    futures: list[Future[object]] = []
    try:
        for task in tasks:
            futures.append(pool.submit(task))
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = next((future for future in futures if future in done and future.exception() is not None), None)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        give_up()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Not for the threads: a join that is interrupted takes its thread for one that has ended (Python 3.10, 3.11),
        # and then the process does not wait for it either. Steps are interrupted twice, by the terminal and by the run.
        wait([future for future in futures if not future.cancelled()])
    if failed is not None:
        failed.result()
