"""What every step does around its work: its own log file, progress for watchers, errors as truthful failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.keys import image_key, log_page
from fimg_pipeline.assets.liveness import ending_with
from fimg_pipeline.assets.pipeline import Pipeline, Session
from fimg_pipeline.catalog.images import IMAGES, dependents
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.selection import require_buildable
from fimg_pipeline.progress import Event, Kind, log_path, report

#: All builds run in this pool; ``cli/instance.py`` sizes it for the machine (``dagster.yaml`` has the default).
POOL: Final = "docker_build"

#: Only for failures that can pass; definitive ones say so and are not retried.
RETRIES: Final = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)

Log = Callable[[str], None]

#: Of what steps of builds are.
_BUILDING: Final = frozenset({"source", "package", "image"})


def priority(images: Iterable[str]) -> dict[str, str]:
    """Op tags: of the steps that could start, the one that most images wait for (``images`` and theirs) goes first."""
    waiting = {dependent for image in images for dependent in dependents(image)}
    return {"dagster/priority": str(len(waiting))}


def verdict(result: dg.MaterializeResult[Any]) -> Iterator[dg.MaterializeResult[Any]]:
    """``result``, and then as the step's failure why a check of it failed: Dagster would only say that one did."""
    yield result
    for check in result.check_results:
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
            raise dg.Failure(f"{check.check_name}: {check.description}", allow_retries=False)


@contextmanager
def step(context: dg.AssetExecutionContext, pipeline: Pipeline, kind: Kind, name: str) -> Iterator[tuple[Session, Log]]:
    """Opens the session and the log of one step.

    A :class:`~fimg_pipeline.errors.FimgError` inside becomes a ``dg.Failure`` with the same text, retried only when it
    can pass. Log lines go to the step's output (Dagster's compute log) and to a file of its own.
    """
    started = time.monotonic()
    try:
        session = pipeline.session(context)
    except FimgError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    home, run_id = session.settings.home, context.run.run_id
    report(home, run_id, Event(kind, name, "started"))
    path = log_path(home, run_id, name if kind == "image" else f"{kind}-{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    in_container = session.settings.steps == "containers"
    lives = ending_with(context.instance, run_id) if in_container else nullcontext()
    try:
        with path.open("a", encoding="utf-8", buffering=1) as file, lives:

            def log(line: str) -> None:
                print(line, flush=True)
                file.write(line + "\n")

            if kind in _BUILDING:
                _require_buildable(context, session.settings.platform)
            yield session, log
    except FimgError as error:
        report(home, run_id, Event(kind, name, "failed", time.monotonic() - started, str(error)))
        logs = {
            "log": dg.MetadataValue.url(log_page(run_id, context.asset_key)),
            "log file": dg.MetadataValue.path(str(path)),
        }
        raise dg.Failure(str(error), metadata=logs, allow_retries=error.transient) from None
    except Exception as error:
        report(
            home, run_id, Event(kind, name, "failed", time.monotonic() - started, f"{type(error).__name__}: {error}")
        )
        # A bug is not a passing failure: trying again would only repeat it.
        raise dg.Failure(f"unexpected: {type(error).__name__}: {error}", allow_retries=False) from error


def _require_buildable(context: dg.AssetExecutionContext, platform: Platform) -> None:
    """What a run can't make it says in its first step, not once all that stands below was made."""
    selected = context.run.asset_selection or context.selected_asset_keys
    require_buildable([name for name in IMAGES if image_key(name) in selected], platform)
