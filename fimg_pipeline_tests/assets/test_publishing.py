"""Which images a list is made of, by what the instance has on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import PUBLISHED, image_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.publishing import DIGESTS, PREFIX, published
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.ship.layers import ShipError


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def built(instance: dg.DagsterInstance, name: str, platform: str, fingerprint: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            image_key(name), partition=partition_key(platform, "1"), tags={FINGERPRINT: fingerprint}
        )
    )


def pushed(instance: dg.DagsterInstance, platform: str, fingerprints: Mapping[str, str], prefix: str = "x/y") -> None:
    """Each by a digest that tells what of."""
    digests = {
        name: {"digest": f"{name}-{fingerprint}", "fingerprint": fingerprint}
        for name, fingerprint in fingerprints.items()
    }
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            PUBLISHED,
            partition=partition_key(platform, "1"),
            metadata={PREFIX: prefix, DIGESTS: dg.MetadataValue.json(digests)},
        )
    )


def test_a_list_is_of_the_platforms_that_were_built(instance: dg.DagsterInstance) -> None:
    for platform in ("amd64", "arm64"):
        built(instance, "fateflow", platform, "a")
    built(instance, "client", "amd64", "a")
    pushed(instance, "amd64", {"fateflow": "a", "client": "a"})
    known = published(instance, "x/y", "1")
    assert known.waiting == ("fateflow was built for arm64",)
    pushed(instance, "arm64", {"fateflow": "a"})
    known = published(instance, "x/y", "1")
    assert known.waiting == ()
    assert known.digests == {
        "fateflow": {"amd64": "fateflow-a", "arm64": "fateflow-a"},
        "client": {"amd64": "client-a"},
    }


def test_what_was_built_again_since_is_waited_for(instance: dg.DagsterInstance) -> None:
    built(instance, "fateflow", "amd64", "a")
    pushed(instance, "amd64", {"fateflow": "a"})
    built(instance, "fateflow", "amd64", "b")
    assert published(instance, "x/y", "1").waiting == ("fateflow was built for amd64 again since it was pushed",)


def test_a_push_of_fewer_images_leaves_the_others_what_they_are(instance: dg.DagsterInstance) -> None:
    for name in ("fateflow", "client"):
        built(instance, name, "amd64", "a")
    pushed(instance, "amd64", {"fateflow": "a", "client": "a"})
    built(instance, "fateflow", "amd64", "b")
    pushed(instance, "amd64", {"fateflow": "b"})
    known = published(instance, "x/y", "1")
    assert known.waiting == () and known.digests["fateflow"] == {"amd64": "fateflow-b"}
    assert known.digests["client"] == {"amd64": "client-a"}


def test_what_is_in_another_registry_is_not_in_this(instance: dg.DagsterInstance) -> None:
    built(instance, "fateflow", "amd64", "a")
    pushed(instance, "amd64", {"fateflow": "a"}, prefix="elsewhere/y")
    with pytest.raises(ShipError, match="nothing of 1 was pushed to x/y yet"):
        published(instance, "x/y", "1")


def test_a_push_by_an_earlier_version_does_not_count(instance: dg.DagsterInstance) -> None:
    built(instance, "fateflow", "amd64", "a")
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            PUBLISHED,
            partition=partition_key("amd64", "1"),
            metadata={DIGESTS: dg.MetadataValue.json({"fateflow": "sha256:a"})},
        )
    )
    with pytest.raises(ShipError, match="nothing of 1 was pushed"):
        published(instance, "x/y", "1")
    pushed(instance, "amd64", {"fateflow": "a"})
    assert published(instance, "x/y", "1").waiting == ()
