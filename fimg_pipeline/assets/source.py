"""The source asset: which commit a tag stands for, and everything it pins."""

import time

import dagster as dg

from fimg_pipeline.assets.keys import SOURCE
from fimg_pipeline.assets.partitions import MATRIX
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import COMMIT
from fimg_pipeline.assets.steps import RETRIES, step
from fimg_pipeline.progress import Event, report
from fimg_pipeline.source.model import RepositorySnapshot
from fimg_pipeline.source.pins import resolve_once


@dg.asset(
    key=SOURCE,
    partitions_def=MATRIX,
    group_name="source",
    kinds={"git"},
    owners=["team:fate-release"],
    code_version="1",
    retry_policy=RETRIES,
    description="FATE at the commit its tag stands for, with the versions `fate.env` names.\n\n"
    "Everything below is built from this commit, whatever arrives in `FATE_DIR` meanwhile.",
)
def source(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Resolves and records the commit."""
    started = time.monotonic()
    with step(context, pipeline, "source", "source") as (session, log):
        snapshot = resolve_once(session.settings, (), session.source_key)
        log(f"FATE {snapshot.version}: {snapshot.fate.ref} at {snapshot.fate.commit}")
        report(
            session.settings.home, context.run.run_id, Event("source", "source", "built", time.monotonic() - started)
        )
        return dg.MaterializeResult(
            # It holds the submodules' commits too; what differs from those in FATE_DIR shows in their packages.
            data_version=dg.DataVersion(snapshot.fate.tree),
            tags={COMMIT: snapshot.fate.commit},
            metadata={
                "FATE": snapshot.version,
                "ref": snapshot.fate.ref,
                "commit": commit_metadata(snapshot.fate),
                "uncommitted changes": snapshot.dirty,
                "versions": dg.MetadataValue.table(
                    [dg.TableRecord({"name": name, "version": value}) for name, value in snapshot.fate_env.items()]
                ),
            },
        )


def commit_metadata(repository: RepositorySnapshot) -> dg.MetadataValue:
    """A commit as a link where the repository has a page, else as text."""
    if repository.web is None:
        return dg.MetadataValue.text(repository.commit)
    return dg.MetadataValue.url(f"{repository.web}/commit/{repository.commit}")
