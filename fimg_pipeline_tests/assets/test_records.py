"""What counts as on record: made as planned, and named so."""

from __future__ import annotations

import dagster as dg

from fimg_pipeline.assets.keys import planned_key
from fimg_pipeline.assets.partitions import TAG_PARTITIONS, partition_key
from fimg_pipeline.assets.records import FINGERPRINT, is_recorded
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.plan.model import Plan, Planned
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline_tests.plan.samples import digest, engine_with, make_settings, make_source


def plan_of(**settings: str) -> Plan:
    return make_plan(make_settings((Feature.SPARK,), **settings), make_source(), engine_with(), digest)


def test_what_was_made_otherwise_or_named_otherwise_is_not_on_record() -> None:
    plan, elsewhere = plan_of(), plan_of(PREFIX="elsewhere")
    nginx, proxy = plan.image("nginx"), plan.package("proxy")

    def made(item: Planned, fingerprint: str, **metadata: str) -> None:
        where = partition_key(plan.platform, plan.tag)
        event = dg.AssetMaterialization(
            planned_key(item), partition=where, tags={FINGERPRINT: fingerprint}, metadata=metadata
        )
        instance.report_runless_asset_event(event)

    def on_record(item: Planned, platform: str = plan.platform) -> bool:
        return is_recorded(instance, item, platform, plan.tag)

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(TAG_PARTITIONS, [plan.tag])
        assert not on_record(nginx) and not on_record(proxy)
        made(nginx, "other", reference=nginx.reference)
        made(proxy, proxy.fingerprint)
        assert not on_record(nginx) and on_record(proxy) and not on_record(proxy, "arm64")
        # One whose check failed gets no name.
        made(nginx, nginx.fingerprint)
        assert not on_record(nginx)
        made(nginx, nginx.fingerprint, reference=nginx.reference)
        assert on_record(nginx) and not on_record(elsewhere.image("nginx"))
