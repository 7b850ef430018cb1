"""How steps are run: a process each, from a server that has everything imported already; or a container each.

Dagster's default starts an interpreter per step, which costs more than most steps here do when nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.liveness import alive
from fimg_pipeline.settings import Settings

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


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of the jobs that are launched."""
    if settings.steps == "containers":
        from dagster_docker import docker_executor  # a library of its own, which few need

        return _shown_alive(docker_executor, {"max_concurrent": MAX_CONCURRENT})
    return processes()


def processes() -> dg.ExecutorDefinition:
    """Steps as processes: also of runs that a command executes itself, which no launcher gave an image."""
    preloaded = {"preload_modules": ["fimg_pipeline.automation.preload"]}
    config = {"max_concurrent": MAX_CONCURRENT, "start_method": {"forkserver": preloaded}}
    return _shown_alive(dg.multiprocess_executor, config)


def _shown_alive(definition: dg.ExecutorDefinition, config: Mapping[str, Any]) -> dg.ExecutorDefinition:
    create = definition.executor_creation_fn
    assert create is not None
    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema.as_field(),
        requirements=dg.multiple_process_executor_requirements(),
        executor_creation_fn=lambda init_context: ShownAlive(create(init_context)),
    ).configured(dict(config))
