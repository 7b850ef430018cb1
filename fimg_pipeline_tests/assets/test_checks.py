"""What an image's checks say, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.checks import architecture, size
from fimg_pipeline.assets.keys import image_key
from fimg_pipeline.assets.partitions import add_tag, partition_key
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.plan.model import PlannedImage
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline_tests.plan.samples import digest, engine_with, make_settings, make_source


@pytest.fixture
def nginx() -> PlannedImage:
    return make_plan(make_settings([Feature.SPARK]), make_source(), engine_with(), digest).image("nginx")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        add_tag(found, "t")
        yield found


def materialize(instance: dg.DagsterInstance, **metadata: Any) -> None:
    event = dg.AssetMaterialization(image_key("nginx"), partition=partition_key("amd64", "t"), metadata=metadata)
    instance.report_runless_asset_event(event)


@pytest.mark.parametrize(("actual", "passed"), [("linux/amd64", True), ("linux/arm64", False), ("None/None", False)])
def test_architecture(nginx: PlannedImage, actual: str, passed: bool) -> None:
    result = architecture(nginx, actual)
    assert result.passed is passed and actual in (result.description or "")


@pytest.mark.parametrize(
    ("megabytes", "passed"), [(100.0, True), (119.0, True), (121.0, False), (50.0, True), (0, False)]
)
def test_size_against_the_last_materialization(
    nginx: PlannedImage, instance: dg.DagsterInstance, megabytes: float, passed: bool
) -> None:
    materialize(instance, size_mb=100.0, reference="a/nginx:t")
    result = size(instance, nginx, megabytes)
    assert result.passed is passed and result.severity is dg.AssetCheckSeverity.WARN


def test_size_of_the_first_image(nginx: PlannedImage, instance: dg.DagsterInstance) -> None:
    assert size(instance, nginx, 100.0).passed


def test_an_image_that_failed_a_check_is_no_measure(nginx: PlannedImage, instance: dg.DagsterInstance) -> None:
    materialize(instance, size_mb=100.0, reference="a/nginx:t")
    materialize(instance, size_mb=1000.0, result="a check failed: the image got no name")
    assert not size(instance, nginx, 1000.0).passed
