"""What ticks are about to ask for: so that two that look at the same moment, a sensor and a schedule, ask once.

The runs of a tick are created after it, one after the other: until then nobody else sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import dagster as dg
from pydantic import BaseModel, TypeAdapter, ValidationError

from fimg_pipeline.assets.partitions import known_tags
from fimg_pipeline.automation.run_requests import REQUEST
from fimg_pipeline.automation.watching import unfinished
from fimg_pipeline.state import locked, write_whole

#: So long (seconds) runs may take to be created; those of a tick that did not come to that are asked for again then.
_COMING: Final = 600.0
#: So long (seconds) a look takes at most: what was asked for meanwhile it has not seen.
_LOOK: Final = 60.0


class Claim(BaseModel):
    """The runs that were asked for of a partition: ``by`` whom, their requests' ``keys``, and when (since 1970)."""

    by: str
    keys: tuple[str, ...]
    at: float


_CLAIMS: Final = TypeAdapter(dict[str, Claim])


def claimed(
    instance: dg.DagsterInstance, home: Path, by: str, requests: Sequence[dg.RunRequest], now: float
) -> list[dg.RunRequest]:
    """Those of ``requests`` for whose partition no run is waiting or under way, nor about to be by somebody else.

    Nor those for a tag that was removed meanwhile: Dagster refuses all that a tick asks for with one of them.

    ``by``: who asks, one look after the other. ``home``: the state folder, which everybody shares; ``now`` in seconds
    since 1970.
    """
    if not requests:
        return []
    with locked(home / "locks" / "claims"):
        known = {where: claim for where, claim in _read(home).items() if -_COMING < now - claim.at < _COMING}
        busy = unfinished(instance)
        taken = {where for where, claim in known.items() if claim.by != by and _is_coming(instance, claim, now)}
        tags = known_tags(instance)
        mine = [
            request
            for request in requests
            if _where(request) not in busy.keys() | taken and _where(request).rpartition("|")[2] in tags
        ]
        claims = {where: Claim(by=by, keys=tuple(keys), at=now) for where, keys in _keys(mine).items()}
        write_whole(_file(home), _CLAIMS.dump_json({**known, **claims}).decode())
    return mine


def _is_coming(instance: dg.DagsterInstance, claim: Claim, now: float) -> bool:
    """Whether its runs may be made after a look that ends now."""
    if now - claim.at < _LOOK:
        return True
    # Earlier ones may have been of the same; a database elsewhere has a clock of its own.
    since = datetime.fromtimestamp(claim.at - _LOOK, timezone.utc)
    there = instance.get_run_records(dg.RunsFilter(tags={REQUEST: list(claim.keys)}, created_after=since))
    return not set(claim.keys) <= {record.dagster_run.tags[REQUEST] for record in there}


def _keys(requests: Iterable[dg.RunRequest]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for request in requests:
        found.setdefault(_where(request), []).append(request.tags[REQUEST])
    return found


def _where(request: dg.RunRequest) -> str:
    return str(request.partition_key)


def _read(home: Path) -> dict[str, Claim]:
    try:
        return _CLAIMS.validate_json(_file(home).read_bytes())
    except (OSError, ValidationError):
        # Nobody has asked, or nobody knows: what is under way is seen all the same.
        return {}


def _file(home: Path) -> Path:
    return home / "claims.json"
