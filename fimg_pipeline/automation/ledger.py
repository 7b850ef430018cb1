"""The last materialization of every asset for every partition, read as materializations come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import dagster as dg

from fimg_pipeline.assets.records import COMMIT, FINGERPRINT, ORIGIN, reference_of
from fimg_pipeline.automation.stale import Record

_PAGE: Final = 1000


@dataclass
class Ledger:
    """What is on record in one instance; :meth:`read` brings it up to date with one question if nothing is new."""

    _records: dict[dg.AssetKey, dict[str, Record]] = field(default_factory=dict)
    #: Up to which event it has been read, and when it was last wiped.
    _seen: dict[dg.AssetKey, tuple[int, float | None]] = field(default_factory=dict)

    def read(self, instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> None:
        """Reads what was materialized of ``keys`` since the last time."""
        entries = {record.asset_entry.asset_key: record.asset_entry for record in instance.get_asset_records(keys)}
        for key in keys:
            entry = entries.get(key)
            last = (entry and entry.last_materialization_storage_id) or 0
            wiped = entry.asset_details.last_wipe_timestamp if entry and entry.asset_details else None
            seen, wiped_before = self._seen.get(key, (0, wiped))
            if last < seen or wiped != wiped_before:
                self._records.pop(key, None)
                seen = 0
            if last > seen:
                self._read_one(instance, key, seen)
            self._seen[key] = (last, wiped)

    def records(self, partition: str) -> dict[str, Record]:
        """By the asset's key as text, what it was last materialized with for ``partition``."""
        return {
            "/".join(key.path): records[partition] for key, records in self._records.items() if partition in records
        }

    def _read_one(self, instance: dg.DagsterInstance, key: dg.AssetKey, seen: int) -> None:
        records = self._records.setdefault(key, {})
        wanted = dg.AssetRecordsFilter(asset_key=key, after_storage_id=seen or None)
        cursor: str | None = None
        while True:
            page = instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor, ascending=True)
            for found in page.records:
                made = found.asset_materialization
                if made is not None and made.partition is not None:
                    tags = made.tags or {}
                    records[made.partition] = Record(
                        fingerprint=tags.get(FINGERPRINT, ""),
                        at=found.timestamp,
                        # An image gets its reference after its checks.
                        passed="reference" in made.metadata,
                        reference=reference_of(made),
                        commit=tags.get(COMMIT, ""),
                        origin=tags.get(ORIGIN, ""),
                    )
            if not page.has_more:
                return
            cursor = page.cursor
