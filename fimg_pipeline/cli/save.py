"""``fimg save``: the offline bundles, by a Dagster run."""

from __future__ import annotations

import errno
import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.errors import FimgError
from fimg_pipeline.planning import current_plan
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship.folder import BUNDLES, FATE
from fimg_pipeline.ship.wanted import folder_name, header, read_base, require_current
from fimg_pipeline.values import places


def save(
    settings: Settings,
    flags: Mapping[str, str],
    *,
    output: str,
    part_size: int | None,
    since: str,
    singles: Sequence[str],
) -> int:
    """Writes the bundles of what the switches select; the process's exit status."""
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False, soft_wrap=True)
    started = time.monotonic()
    root = settings.bundles(output)
    base = read_base(_path("--since", since), settings.platform) if since else None
    source_key = uuid.uuid4().hex
    plan = current_plan(settings.as_built, Engine(settings.engine_address), source_key=source_key)
    unknown = sorted(set(singles) - set(plan.bundle))
    if unknown:
        raise FimgError(
            f"--single {unknown[0]}: that image is not in the bundle", hint=f"it holds {', '.join(plan.bundle)}"
        )
    folder = root / folder_name(header(plan, base))

    # Loading Dagster takes longer than finding out that there is nothing to load it for.
    from fimg_pipeline.assets.keys import bundle_key
    from fimg_pipeline.assets.liveness import close_abandoned_runs
    from fimg_pipeline.assets.partitions import add_tag
    from fimg_pipeline.assets.records import passed
    from fimg_pipeline.cli.instance import open_instance
    from fimg_pipeline.cli.run import Launch, execute, of_platform
    from fimg_pipeline.definitions import bundle_job

    keys = {name: bundle_key(name) for name in BUNDLES}
    configuration = {
        name: {
            "output": str(root),
            "part_size": part_size,
            "since": str(_path("--since", since)) if since else "",
            "singles": list(singles) if name == FATE else [],
        }
        for name in BUNDLES
    }
    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        require_current(plan, lambda image: passed(instance, image, plan.tag))
        _make(root)
        # Of what is refused nothing is left.
        add_tag(instance, plan.tag)
        console.print(f"{len(plan.bundle)} images for {plan.platform}, tag {plan.tag}, to {escape(str(folder))}")
        launch = Launch(
            bundle_job,
            list(keys.values()),
            of_platform(plan),
            len(keys),
            {keys[name].to_python_identifier(): given for name, given in configuration.items()},
        )
        ended = execute(instance, settings, flags, plan, source_key, console, launch)
        if ended.stopped is None:
            ended.add_failures({key.to_python_identifier(): ("bundle", name) for name, key in keys.items()})
    console.print()
    damaged = ended.print_failures_and_checks(console, settings.home)
    console.print(f"{escape(str(folder))}; {time.monotonic() - started:.0f} s")
    return ended.status(console, "what was finished is kept") or damaged


def _make(folder: Path) -> None:
    """Before a run begins that would have nowhere to write to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "it is not yours to write in")
    except OSError as error:
        why = "a file is there" if isinstance(error, (FileExistsError, NotADirectoryError)) else error.strerror
        raise FimgError(
            f"{folder} can't be written to: {why}", hint="--output, or BUNDLE_DIR, is a folder you may write to"
        ) from None


def _path(option: str, text: str) -> Path:
    try:
        return places.path(text)
    except ValueError as error:
        raise FimgError(f"{option} {text!r}: {error}") from None
