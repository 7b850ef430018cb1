"""Images of others, from a real registry: for the platform of a bundle, whatever the engine has of their names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.engine.bases import ensure_base
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.settings import load
from fimg_pipeline.ship.third_party import ThirdPartyUnreachableError, third_party
from fimg_pipeline_tests.rig.registry import Registry

pytestmark = pytest.mark.engine


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    """Of an image nobody else has; afterwards the engine has not either."""
    name = f"fimg-test/run-{uuid.uuid4().hex[:12]}:1"
    yield name
    for image in engine.state().images:
        for reference in image.references:
            if name in reference or reference.startswith(f"localhost/fimg/third-party/{name}"):
                engine.remove(reference)


def test_a_name_of_another_platform_stays_what_it_is(engine: Engine, hub: Registry, name: str) -> None:
    settings = load({"DOCKER_HUB_MIRROR": hub.name, "THIRD_PARTY_IMAGES": name})
    bases = {
        platform: ensure_base(BASES["debian"], platform, load(), engine, log=print).local
        for platform in ("amd64", "arm64")
    }
    digest = hub.push(bases["arm64"], name.partition(":")[0], "1")
    there = engine.inspect(bases["amd64"])
    assert there is not None
    engine.tag(there["Id"], name)
    (amd64,) = third_party(settings, engine, "amd64", print)
    assert (amd64.reference, amd64.id) == (name, there["Id"])
    (arm64,) = third_party(settings, engine, "arm64", print)
    assert (arm64.reference, arm64.digest) == (name, digest) and arm64.id != amd64.id
    now = engine.inspect(name)
    assert now is not None and now["Id"] == there["Id"]
    # The second time nobody is asked.
    away = load({"DOCKER_HUB_MIRROR": "127.0.0.1:1", "THIRD_PARTY_IMAGES": name})
    assert third_party(away, engine, "arm64", print) == [arm64]


def test_a_digest_that_the_engine_has_not_is_pulled(engine: Engine, hub: Registry, name: str) -> None:
    base = ensure_base(BASES["debian"], engine.platform, load(), engine, log=print).local
    digest = hub.push(base, name.partition(":")[0], "1")
    there = engine.inspect(base)
    assert there is not None
    # Of that name, but not known to be what is pinned.
    engine.tag(there["Id"], name)
    pinned = f"{name}@{digest}"
    (found,) = third_party(
        load({"DOCKER_HUB_MIRROR": hub.name, "THIRD_PARTY_IMAGES": pinned}), engine, engine.platform, print
    )
    assert (found.reference, found.digest, found.id) == (name, digest, there["Id"])
    other = f"{name}@sha256:{'0' * 64}"
    with pytest.raises(ThirdPartyUnreachableError, match="can't be pulled"):
        third_party(load({"DOCKER_HUB_MIRROR": "127.0.0.1:1", "THIRD_PARTY_IMAGES": other}), engine, "amd64", print)
