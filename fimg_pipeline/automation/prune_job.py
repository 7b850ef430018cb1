"""The job that removes what is superseded, and says in its run what that was."""

from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.pruning import prune, summary, superseded
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.errors import FimgError
from fimg_pipeline.progress import Event, report

PRUNE: Final = "prune"
#: So many things that stay are told of.
_TOLD: Final = 20


@dg.op(name="remove_superseded", description="Removes what `fimg prune` lists.")
def remove_superseded(context: dg.OpExecutionContext, pipeline: Pipeline) -> dg.Output[None]:
    """Removes, and records how much of what."""
    close_abandoned_runs(context.instance)
    try:
        settings = pipeline.settings()
    except FimgError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    try:
        engines = [Engine(address) for address in settings.engine_addresses]
        removals, waiting = superseded(context.instance, settings, engines, own_run=context.run_id)
        pruned = prune(context.instance, removals, context.log.info, own_run=context.run_id)
    except FimgError as error:
        report(settings.home, context.run_id, Event("prune", "superseded", "failed", message=str(error)))
        raise dg.Failure(str(error), allow_retries=False) from None
    report(settings.home, context.run_id, Event("prune", "superseded", "built"))
    rows = [
        dg.TableRecord({"kind": kind, "removed": count, "mb": round(size / 1e6, 1)})
        for kind, count, size in summary(pruned.removed)
    ]
    told: dict[str, Any] = {"removed": dg.MetadataValue.table(rows) if rows else "nothing: all is needed"}
    if waiting or pruned.kept:
        told["stays"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in [*waiting, *pruned.kept][:_TOLD]))
    return dg.Output(None, metadata=told)


@dg.job(
    name=PRUNE,
    description="Removes superseded images, packages, layers and bundles, tags nobody uses, and old runs; keeps what "
    "is used, published or pinned. `fimg prune` lists what would go.",
)
def prune_job() -> None:
    remove_superseded()
