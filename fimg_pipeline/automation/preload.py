"""Imported once by the server that steps are forked from, so that no step pays for it.

Dagster loads most of itself (storages, migrations) only when a run needs it: a step in memory makes it do so now.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile

import dagster as dg

from fimg_pipeline.definitions import build_job, bundle_job, publish_job, publish_lists_job


def _warm_up() -> None:
    @dg.op
    def nothing() -> None:
        """Does nothing, through all of Dagster."""

    @dg.job
    def warm_up() -> None:
        nothing()

    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        warm_up.execute_in_process(
            instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        )


# The terminal's hang-up reaches every step, and Dagster does not know it: they end as by Ctrl-C, and put away what they
# hold. Unless it is to be outlived, as with nohup.
if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGINT))
_warm_up()
for job in (build_job, bundle_job, publish_job, publish_lists_job):
    job()
# What is there by now stays, so collecting garbage need not look at it in any step: doing so would also copy the memory
# that steps share with this process, page by page.
gc.collect()
gc.freeze()
