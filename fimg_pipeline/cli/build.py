"""``fimg build``: plans, and has what is outdated made by a Dagster run."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.plan.selection import Verb
from fimg_pipeline.planning import plan_with_bases
from fimg_pipeline.settings import Settings


def build(settings: Settings, flags: Mapping[str, str], verb: Verb, names: Sequence[str]) -> int:
    """Builds what the plan finds outdated; the process's exit status."""
    # On a descriptor of its own: while a run executes, the process's output belongs to Dagster and goes to a file.
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False, soft_wrap=True)
    started = time.monotonic()
    # Plan and run see the same source, whatever is committed meanwhile; so does a re-execution of the run.
    source_key = uuid.uuid4().hex
    plan = plan_with_bases(
        settings,
        Engine(settings.engine_address),
        verb=verb,
        names=names,
        source_key=source_key,
        log=lambda line: console.print(escape(line)),
    )
    for warning in plan.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    # Loading Dagster takes longer than finding out that there is nothing to load it for.
    from fimg_pipeline.cli.run import run_outdated

    return run_outdated(settings, flags, plan, source_key, console, started)
