"""The ledger: what was materialized last, however much came between two looks."""

from __future__ import annotations

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import image_key, package_key
from fimg_pipeline.assets.records import COMMIT, FINGERPRINT
from fimg_pipeline.automation import ledger as ledger_module
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.stale import Record

NGINX, PROXY = image_key("nginx"), package_key("proxy")
KEYS = [NGINX, PROXY]


def report(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str, fingerprint: str, passed: bool = True
) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key,
            partition=partition,
            tags={FINGERPRINT: fingerprint, COMMIT: f"of-{fingerprint}"},
            metadata={"reference": "x"} if passed else {},
        )
    )


def told(ledger: Ledger, partition: str) -> dict[str, tuple[str, bool, str]]:
    found: dict[str, Record] = ledger.records(partition)
    return {name: (record.fingerprint, record.passed, record.commit) for name, record in found.items()}


def test_the_last_materialization_of_each_partition_counts() -> None:
    ledger = Ledger()
    with dg.DagsterInstance.ephemeral() as instance:
        ledger.read(instance, KEYS)
        assert ledger.records("amd64|t") == {}
        report(instance, NGINX, "amd64|t", "a")
        report(instance, NGINX, "arm64|t", "b")
        ledger.read(instance, KEYS)
        report(instance, NGINX, "amd64|t", "c", passed=False)
        report(instance, PROXY, "amd64|t", "p")
        ledger.read(instance, KEYS)
        assert told(ledger, "amd64|t") == {"nginx": ("c", False, "of-c"), "package/proxy": ("p", True, "of-p")}
        assert told(ledger, "arm64|t") == {"nginx": ("b", True, "of-b")}


def test_nothing_is_read_twice_and_nothing_missed_between_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_PAGE", 3)
    ledger = Ledger()
    with dg.DagsterInstance.ephemeral() as instance:
        for round_ in range(4):
            for number in range(7):
                report(instance, NGINX, f"amd64|t{number}", f"{round_}-{number}")
            ledger.read(instance, KEYS)
            assert [told(ledger, f"amd64|t{number}")["nginx"][0] for number in range(7)] == [
                f"{round_}-{number}" for number in range(7)
            ]
        monkeypatch.setattr(type(instance), "fetch_materializations", None)
        ledger.read(instance, KEYS)


@pytest.mark.parametrize("read_between", [False, True])
def test_what_was_wiped_is_on_record_no_more(read_between: bool) -> None:
    ledger = Ledger()
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, NGINX, "amd64|t", "a")
        ledger.read(instance, KEYS)
        instance.wipe_assets([NGINX])
        if read_between:
            ledger.read(instance, KEYS)
            assert ledger.records("amd64|t") == {}
        report(instance, NGINX, "amd64|u", "b")
        ledger.read(instance, KEYS)
        assert ledger.records("amd64|t") == {} and told(ledger, "amd64|u") == {"nginx": ("b", True, "of-b")}
