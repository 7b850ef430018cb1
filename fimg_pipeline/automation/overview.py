"""The web UI's table of how everything watched stands: an asset without partitions, written by whoever looks."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import OVERVIEW
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.automation.status import PartitionStatus, State, status
from fimg_pipeline.automation.watching import Memory, in_time, survey
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.fingerprint import fingerprint

#: In what is recorded: why nothing can be said of partitions, as far as that does not pass by itself.
PROBLEMS: Final = "can't be looked at"
#: Likewise: since when, of those where it should pass by itself.
PASSING: Final = "does not answer since"
#: So long (seconds) that is left to itself: a night's maintenance tells nobody.
_LONG: Final = timedelta(hours=3)
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
    table = tabled(context.instance, found, time.time())
    return dg.MaterializeResult(metadata=table.metadata, tags={FINGERPRINT: table.identity})


def write_now(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    """Writes how all stands, if that is not what was written last and there is time to look at all of it."""
    with suppress(FimgError):
        watched = survey(instance, pipeline, Memory(), pipeline.settings().watched_platforms)
        found, left = in_time(watched, lambda platforms: [status(instance, each) for each in platforms])
        if not left:
            for event in if_changed(instance, found, time.time()):
                instance.report_runless_asset_event(event)


def if_changed(
    instance: dg.DagsterInstance, found: Sequence[PartitionStatus], now: float
) -> list[dg.AssetMaterialization]:
    """What is to be written of what was ``found``, unless that is what was written last; ``now`` as :func:`tabled`."""
    table = tabled(instance, found, now)
    if written(instance) == table.identity:
        return []
    return [dg.AssetMaterialization(OVERVIEW, metadata=table.metadata, tags={FINGERPRINT: table.identity})]


@dataclass(frozen=True)
class Table:
    """What is written; ``identity``: equal as long as all stands as it did."""

    metadata: dict[str, Any]
    identity: str


def tabled(instance: dg.DagsterInstance, found: Sequence[PartitionStatus], now: float) -> Table:
    """The table of what was ``found``; ``now`` in seconds since 1970.

    What should pass by itself and has not for hours does not count as passing: people are to hear of it.
    """
    before = passing(instance) or {}
    at = datetime.fromtimestamp(now, timezone.utc)
    since = {_where(each): before.get(_where(each), at) for each in found if each.passing}
    lasting = [replace(each, passing=each.passing and at - since[_where(each)] < _LONG) for each in found]
    told = {where: moment.isoformat(timespec="seconds") for where, moment in since.items()}
    return Table({**metadata(lasting), **({PASSING: dg.MetadataValue.json(told)} if told else {})}, identity(lasting))


def _where(found: PartitionStatus) -> str:
    return str(partition_key(found.platform, found.tag))


def identity(found: Sequence[PartitionStatus]) -> str:
    """Equal as long as all stands as it did, whatever is said of what passes."""
    lasting = (replace(each, problem="") if each.passing else each for each in found)
    return fingerprint({f"{each.platform} {each.tag}": repr(each) for each in lasting})


def written(instance: dg.DagsterInstance) -> str | None:
    """The :func:`identity` of what was written last."""
    made = _last(instance)
    return None if made is None else (made.tags or {}).get(FINGERPRINT)


def problems(instance: dg.DagsterInstance) -> dict[str, Any] | None:
    """Why nothing could be said of partitions when it was last looked, as far as that does not pass by itself.

    ``None``: nobody has looked.
    """
    return _json(instance, PROBLEMS)


def passing(instance: dg.DagsterInstance) -> dict[str, datetime] | None:
    """Since when nothing can be said of partitions for a reason that should pass by itself."""
    found = _json(instance, PASSING)
    return None if found is None else {where: datetime.fromisoformat(since) for where, since in found.items()}


def _json(instance: dg.DagsterInstance, name: str) -> dict[str, Any] | None:
    made = _last(instance)
    if made is None:
        return None
    value = made.metadata.get(name)
    return dict(value.value) if isinstance(value, dg.JsonMetadataValue) else {}  # type: ignore[arg-type]


def _last(instance: dg.DagsterInstance) -> dg.AssetMaterialization | None:
    found = instance.fetch_materializations(OVERVIEW, limit=1).records
    return found[0].asset_materialization if found else None


def metadata(found: Sequence[PartitionStatus]) -> dict[str, Any]:
    """The tables: a row for each platform's tag, a row for each image that is not as it should be."""
    stuck = [each for each in found if each.problem and not each.passing]
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
        **({PROBLEMS: dg.MetadataValue.json({_where(each): each.problem for each in stuck})} if stuck else {}),
        **{state.value: sum(each.count(state) for each in found) for state in State},
    }


def _row(partition: PartitionStatus) -> dg.TableRecord:
    counts = [f"{count} {state.value}" for state in State if (count := partition.count(state))]
    what = {"tag": partition.tag, "platform": partition.platform, "commit": partition.commit[:12]}
    return dg.TableRecord({**what, "images": ", ".join(counts), "problem": partition.problem})


def _day(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
