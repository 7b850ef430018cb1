"""How steps are run: a process each, from a server that has everything imported already.

Dagster's default starts an interpreter per step, which costs more than most steps here do when nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from fimg_pipeline.automation.liveness import alive

#: Builds wait for the network about as long as they compute: two steps per core keep both busy.
MAX_CONCURRENT: Final = max(2, 2 * (os.cpu_count() or 1))


class ShownAlive(dg.Executor):
    """Another executor, with the run it executes shown to be alive for as long as it does."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """As the executor within; the contexts are Dagster's and only handed on."""
        with alive(plan_context.instance, plan_context.run_id):
            yield from self._executor.execute(plan_context, execution_plan)


def _create(init_context: dg.InitExecutorContext) -> dg.Executor:
    create = dg.multiprocess_executor.executor_creation_fn
    assert create is not None
    return ShownAlive(create(init_context))


EXECUTOR: Final = dg.ExecutorDefinition(
    name="multiprocess",
    config_schema=dg.multiprocess_executor.config_schema.as_field(),
    requirements=dg.multiple_process_executor_requirements(),
    executor_creation_fn=_create,
).configured(
    {
        "max_concurrent": MAX_CONCURRENT,
        "start_method": {"forkserver": {"preload_modules": ["fimg_pipeline.automation.preload"]}},
    }
)
