"""Lists over platforms, in a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.ship.layers import ShipError
from fimg_pipeline.ship.lists import put_list, with_those_of_others
from fimg_pipeline.ship.push import Publication, platform_tag, push
from fimg_pipeline_tests.rig.registry import Registry, registry
from fimg_pipeline_tests.ship.publishing import place, publications

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def plain() -> Iterator[Registry]:
    with registry() as started:
        yield started


def test_a_list_is_pulled_by_platform(plain: Registry, engine: Engine, tmp_path: Path) -> None:
    there = place(plain.name)
    pushed: dict[Platform, Publication] = {}
    for architecture in PLATFORMS:
        (image,) = publications(tmp_path / architecture, 1, architecture)
        push(there, platform_tag("1", architecture), [image], lambda _: None)
        pushed[architecture] = image
    digest = put_list(there, "image-0", "1", {platform: image.digest for platform, image in pushed.items()})
    reference = f"{plain.name}/{there.repository('image-0')}:1"
    for architecture, image in pushed.items():
        engine.sdk.images.pull(reference, platform=f"linux/{architecture}")
        record = engine.inspect(reference)
        engine.remove(reference)
        assert record is not None and record["Architecture"] == architecture
        assert record["Id"] == image.blobs[-1].described.digest
    assert there.registry.manifest_digest(there.repository("image-0"), "1") == digest


def test_a_list_has_what_another_machine_pushed(plain: Registry, tmp_path: Path) -> None:
    there = place(plain.name)
    pushed = {}
    for architecture in PLATFORMS:
        (image,) = publications(tmp_path / architecture, 1, architecture)
        push(there, platform_tag("1", architecture), [image], lambda _: None)
        pushed[architecture] = image.digest
    said: list[str] = []
    assert with_those_of_others(there, "image-0", "1", {"amd64": pushed["amd64"]}, said.append) == pushed
    assert len(said) == 1 and "image-0:1-arm64 was pushed from elsewhere, built from commit abc" in said[0]
    assert with_those_of_others(there, "image-0", "2", {"amd64": pushed["amd64"]}, said.append).keys() == {"amd64"}


def test_a_list_needs_every_platform_as_it_was_pushed(plain: Registry, tmp_path: Path) -> None:
    there = place(plain.name)
    (image,) = publications(tmp_path, 1)
    push(there, platform_tag("1", "amd64"), [image], lambda _: None)
    with pytest.raises(ShipError, match="image-0:1-arm64 is not there, not sha256:"):
        put_list(there, "image-0", "1", {"amd64": image.digest, "arm64": f"sha256:{'0' * 64}"})
    with pytest.raises(ShipError, match=f"image-0:1-amd64 is {image.digest}, not sha256:0"):
        put_list(there, "image-0", "1", {"amd64": f"sha256:{'0' * 64}"})
    assert there.registry.manifest_digest(there.repository("image-0"), "1") is None


def test_a_list_is_not_made_of_what_is_not_whole(plain: Registry, tmp_path: Path) -> None:
    """Whatever was found when it was pushed."""
    there = place(plain.name)
    (image,) = publications(tmp_path, 1)
    push(there, platform_tag("3", "amd64"), [image], lambda _: None)
    layer = image.blobs[0].described
    plain.damage(layer.digest, "truncate --size=100")
    with pytest.raises(ShipError, match=f"image-0:3-amd64 is not whole: .* has 100 bytes of {layer.digest}"):
        put_list(there, "image-0", "3", {"amd64": image.digest})
    assert there.registry.manifest_digest(there.repository("image-0"), "3") is None
