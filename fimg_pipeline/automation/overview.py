"""The web UI's table of how everything watched stands: an asset without partitions, written by whoever looks."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import OVERVIEW
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.automation.status import PartitionStatus, State, status
from fimg_pipeline.automation.watching import Memory, in_time, survey
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.fingerprint import fingerprint

#: So many images are listed that are not as they should be: a page that never ends helps nobody.
_MOST: Final = 200
_HERE: Final = (
    "How the images of every watched tag stand: built, stale and why, missing, failed. As `fimg status`. The badges of "
    "partitions only say that something was made once. Materialize it to look now; the sensor `commits` writes it "
    "whenever something changed, and `fimg ui` when it starts."
)
_SYSTEM: Final = f"""### What is here

FATE's source code becomes Docker images, offline bundles and Kuscia's AppImages. Everything is an asset, in groups:

- `{group("source")}`: FATE at the commit a tag stands for. `{group("external")}`: the base images it is built on.
- `{group("packages")}`: folders of that source, compiled where they have to be.
- `{group("base")}` to `{group("tools")}`: the images, by what they are for; an asset's name is its image's.
- `{group("registry")}`: what was pushed. `{group("bundles")}`: what is carried into networks without internet.
  `{group("kuscia")}`, where `KUSCIA_APP_IMAGES` is set: what is registered.

A partition is a platform and a tag, as `amd64|nightly`.

- To build by hand: pick assets, *Materialize*, a partition; what is up to date is only named again. What an image is
  made of has to be there or picked too: on its *Lineage* page by *Upstream*, *All*, *Materialize all*; or all that the
  switches select by the job `build_amd64` or `build_arm64`.
- By themselves images are built by the sensors and schedules of *Automation*, each of which says what it does.
- What was built has its commit, log, size and reference on its asset's page (*Plots* by *Events*: size and duration
  over time); what failed has why on its run's. Runs of the command are below their job, and not on the timeline."""


@dg.asset(
    key=OVERVIEW,
    group_name=group("overview"),
    kinds={"table"},
    owners=["team:fate-release"],
    code_version="1",
    description=f"{_HERE}\n\n{_SYSTEM}",
)
def overview(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Looks at everything watched."""
    try:
        watched = survey(context.instance, pipeline, Memory(), pipeline.settings().watched_platforms)
        found = [status(context.instance, each) for platforms in watched for each in platforms]
    except FimgError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return dg.MaterializeResult(metadata=metadata(found), tags={FINGERPRINT: identity(found)})


def write_now(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    """Writes how all stands, if that is not what was written last and there is time to look at all of it."""
    with suppress(FimgError):
        watched = survey(instance, pipeline, Memory(), pipeline.settings().watched_platforms)
        found, left = in_time(watched, lambda platforms: [status(instance, each) for each in platforms])
        if not left:
            for event in if_changed(instance, found):
                instance.report_runless_asset_event(event)


def if_changed(instance: dg.DagsterInstance, found: Sequence[PartitionStatus]) -> list[dg.AssetMaterialization]:
    """What is to be written of what was ``found``, unless that is what was written last."""
    if written(instance) == identity(found):
        return []
    return [dg.AssetMaterialization(OVERVIEW, metadata=metadata(found), tags={FINGERPRINT: identity(found)})]


def identity(found: Sequence[PartitionStatus]) -> str:
    """Equal as long as all stands as it did, whatever is said of what passes."""
    lasting = (replace(each, problem="") if each.passing else each for each in found)
    return fingerprint({f"{each.platform} {each.tag}": repr(each) for each in lasting})


def written(instance: dg.DagsterInstance) -> str | None:
    """The :func:`identity` of what was written last."""
    found = instance.fetch_materializations(OVERVIEW, limit=1).records
    made = found[0].asset_materialization if found else None
    return None if made is None else (made.tags or {}).get(FINGERPRINT)


def metadata(found: Sequence[PartitionStatus]) -> dict[str, Any]:
    """The tables: a row for each platform's tag, a row for each image that is not as it should be."""
    lacking = [(partition, image) for partition in found for image in partition.wanting]
    rows = [
        dg.TableRecord(
            {
                "image": image.name,
                "tag": partition.tag,
                "platform": partition.platform,
                "state": image.state.value,
                "why": image.why,
                "last built": _day(image.at),
                "run": image.run[:8],
            }
        )
        for partition, image in lacking[:_MOST]
    ]
    return {
        "tags": dg.MetadataValue.table([_row(each) for each in found]) if found else "none is watched",
        "not built": dg.MetadataValue.table(rows) if rows else "nothing: all is as it should be",
        **({"not listed": len(lacking) - _MOST} if len(lacking) > _MOST else {}),
        **{state.value: sum(each.count(state) for each in found) for state in State},
    }


def _row(partition: PartitionStatus) -> dg.TableRecord:
    counts = [f"{count} {state.value}" for state in State if (count := partition.count(state))]
    what = {"tag": partition.tag, "platform": partition.platform, "commit": partition.commit[:12]}
    return dg.TableRecord({**what, "images": ", ".join(counts), "problem": partition.problem})


def _day(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
