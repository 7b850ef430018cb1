"""The source asset: which commit a tag stands for, and everything it pins."""

import time
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import SOURCE
from fimg_pipeline.assets.partitions import MATRIX
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import COMMIT, latest
from fimg_pipeline.assets.steps import RETRIES, step
from fimg_pipeline.progress import Event, report
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.history import commits
from fimg_pipeline.source.model import RepositorySnapshot, SourceSnapshot
from fimg_pipeline.source.pins import resolve_once
from fimg_pipeline.source.store import ObjectStore

#: So many commits are listed.
_MOST: Final = 50


@dg.asset(
    key=SOURCE,
    partitions_def=MATRIX,
    group_name=group("source"),
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
        before = latest(context.instance, SOURCE, session.settings.platform, session.settings.tag)
        since = None if before is None else (before.tags or {}).get(COMMIT)
        return dg.MaterializeResult(
            # It holds the submodules' commits too; what differs from those in FATE_DIR shows in their packages.
            data_version=dg.DataVersion(snapshot.fate.tree),
            tags={COMMIT: snapshot.fate.commit},
            metadata={
                "FATE": snapshot.version,
                "ref": snapshot.fate.ref,
                "commit": commit_metadata(snapshot.fate),
                "uncommitted changes": snapshot.dirty,
                **_brought(session.settings, snapshot, since),
                "versions": dg.MetadataValue.table(
                    [dg.TableRecord({"name": name, "version": value}) for name, value in snapshot.fate_env.items()]
                ),
            },
        )


def _brought(settings: Settings, snapshot: SourceSnapshot, since: str | None) -> dict[str, dg.MetadataValue[Any]]:
    """The commits since the one that was recorded last, if that is another."""
    fate = snapshot.fate
    if since is None or since == fate.commit:
        return {}
    store = ObjectStore.open(settings.home, snapshot.object_directories)
    found = commits(store, fate.commit, since=since, most=_MOST)
    rows = [
        dg.TableRecord(
            {
                "commit": commit.commit[:12],
                "author": commit.author,
                "day": commit.day,
                "subject": commit.subject,
                "page": f"{fate.web}/commit/{commit.commit}" if fate.web else "",
            }
        )
        for commit in found
    ]
    page = fate.compared_to(since)
    return {
        **({"commits since then": dg.MetadataValue.table(rows)} if rows else {}),
        **({"compare": dg.MetadataValue.url(page)} if page else {}),
    }


def commit_metadata(repository: RepositorySnapshot) -> dg.MetadataValue:
    """A commit as a link where the repository has a page, else as text."""
    if repository.web is None:
        return dg.MetadataValue.text(repository.commit)
    return dg.MetadataValue.url(f"{repository.web}/commit/{repository.commit}")
