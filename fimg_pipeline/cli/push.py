"""``fimg push``: images to their registry, by a Dagster run, and the tag itself once every platform is there."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.planning import current_plan
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship.push import platform_tag
from fimg_pipeline.ship.wanted import require_current


def push(settings: Settings, flags: Mapping[str, str]) -> int:
    """Pushes what the switches select; the process's exit status."""
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False, soft_wrap=True)
    started = time.monotonic()
    source_key = uuid.uuid4().hex
    plan = current_plan(settings.as_built, Engine(settings.engine_address), source_key=source_key)
    tag = platform_tag(plan.tag, plan.platform)

    # Loading Dagster takes longer than finding out that there is nothing to load it for.
    from fimg_pipeline.assets.keys import LISTS, PUBLISHED
    from fimg_pipeline.assets.liveness import close_abandoned_runs
    from fimg_pipeline.assets.partitions import add_tag
    from fimg_pipeline.assets.publishing import published
    from fimg_pipeline.assets.records import passed
    from fimg_pipeline.cli.instance import open_instance
    from fimg_pipeline.cli.run import Launch, execute, of_platform
    from fimg_pipeline.definitions import publish_job, publish_lists_job

    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        require_current(plan, lambda image: passed(instance, image, plan.tag))
        # Of what is refused nothing is left.
        add_tag(instance, plan.tag)
        console.print(f"{len(plan.push)} images for {plan.platform} to {plan.prefix}/NAME:{tag}")
        launches = {
            "images": Launch(publish_job, [PUBLISHED], of_platform(plan), 1),
            "lists": Launch(publish_lists_job, [LISTS], {"dagster/partition": plan.tag}, 1),
        }
        for name, launch in launches.items():
            waiting = published(instance, plan.prefix, plan.tag).waiting if name == "lists" else ()
            if waiting:
                console.print(f"[yellow]{escape(plan.tag)} itself stays as it is, until all is pushed:[/]")
                console.print("; ".join(waiting), markup=False)
                break
            ended = execute(instance, settings, flags, plan, source_key, console, launch)
            if ended.stopped is None:
                ended.add_failures({key.to_python_identifier(): ("registry", name) for key in launch.selection})
            refused = ended.print_failures_and_checks(console, settings.home)
            status = ended.status(console, "what was sent is kept") or refused
            if status:
                return status
    console.print(f"{time.monotonic() - started:.0f} s")
    return 0
