"""What engines share, by a real registry: tiny images that say they are what a plan wants."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.builder import Builder
from fimg_pipeline.engine.client import LABEL_FINGERPRINT, LABEL_PLATFORM, Engine
from fimg_pipeline.engine.errors import ImageGoneError
from fimg_pipeline.engine.shared import Shared, SharedError, SharedUnreachableError
from fimg_pipeline.plan.model import PlannedImage
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline.settings import Settings
from fimg_pipeline_tests.plan.samples import digest, engine_with, make_settings, make_source
from fimg_pipeline_tests.rig.registry import Registry, registry

pytestmark = pytest.mark.engine

LOGIN = ("release", "a-pass-word")


@pytest.fixture(scope="module")
def hub() -> Iterator[Registry]:
    with registry(login=LOGIN) as started:
        yield started


@pytest.fixture
def planned(engine: Engine, tmp_path: Path) -> Iterator[PlannedImage]:
    source = make_source(proxy=str(tmp_path))
    found = make_plan(make_settings((Feature.SPARK,)), source, engine_with(), digest).image("nginx")
    yield found
    engine.remove(found.stage)


def settings_of(tmp_path: Path, place: str, **more: str) -> Settings:
    names = {"SHARED_REGISTRY": f"{place}/build", "PREFIX": f"{place}/fate", "FIMG_HOME": str(tmp_path / "home")}
    return make_settings((), **names, REGISTRY_USER=LOGIN[0], REGISTRY_PASSWORD=LOGIN[1], **more)


def shared(engine: Engine, settings: Settings) -> Shared:
    assert settings.shared_registry is not None
    return Shared(engine, settings, settings.shared_registry)


def image(engine: Engine, planned: PlannedImage, note: str = "", **labels: str) -> str:
    """An image of nothing, built as ``planned`` or as ``labels`` say."""
    of_plan = {LABEL_FINGERPRINT: planned.fingerprint, LABEL_PLATFORM: planned.platform}
    recipe = io.BytesIO(f"FROM scratch\nENV NOTE={note or planned.fingerprint}\n".encode())
    made: Any = engine.sdk.images.build(fileobj=recipe, labels={**of_plan, **labels}, rm=True)
    image_id = str(made[0].id)
    engine.tag(image_id, planned.stage)
    return image_id


def test_an_engine_has_what_another_built_by_its_digest(
    hub: Registry, engine: Engine, planned: PlannedImage, tmp_path: Path
) -> None:
    settings, said = settings_of(tmp_path, hub.name), list[str]()
    image_id = image(engine, planned)
    shared(engine, settings).put(planned, image_id, said.append)
    assert said == [f"pushing nginx to {hub.name}/build/image/nginx:{planned.fingerprint}"]
    shared(engine, settings).put(planned, image_id, said.append)
    assert len(said) == 1, "nothing is pushed twice"
    engine.remove(planned.stage)
    assert engine.inspect(image_id) is None, "no name of it is left"
    # Also to whoever has only the registry: another team's machine.
    for home in ("home", "another"):
        own = replace(settings, home=tmp_path / home)
        outcome = Builder(engine, own).make(planned, make_source().fate, "1", (), said.append)
        assert (outcome.image_id, outcome.built) == (image_id, False)
        record = engine.inspect(planned.stage)
        assert record is not None and record["Id"] == image_id
        assert record["RepoTags"] == [planned.stage] and not record["RepoDigests"]
        engine.remove(planned.stage)


def test_what_somebody_put_in_its_place_is_not_taken_for_it(
    hub: Registry, engine: Engine, planned: PlannedImage, tmp_path: Path
) -> None:
    settings, said = settings_of(tmp_path, hub.name), list[str]()
    image_id = image(engine, planned)
    shared(engine, settings).put(planned, image_id, said.append)
    engine.remove(planned.stage)
    foreign = image(engine, planned, "foreign", **{LABEL_FINGERPRINT: "0" * 40})
    shared(engine, replace(settings, home=tmp_path / "foreign")).put(planned, foreign, said.append)
    engine.remove(planned.stage)
    # By its digest it is still there.
    assert shared(engine, settings).get(planned, said.append) == image_id
    engine.remove(planned.stage)
    with pytest.raises(SharedError, match=f"is another image than nginx at {planned.fingerprint}") as caught:
        shared(engine, replace(settings, home=tmp_path / "another")).get(planned, said.append)
    assert "remove that tag there" in str(caught.value)
    assert engine.inspect(planned.stage) is None and engine.inspect(foreign) is None
    # Whoever builds it puts it right.
    image_id = image(engine, planned)
    shared(engine, settings).put(planned, image_id, said.append)
    engine.remove(planned.stage)
    assert shared(engine, replace(settings, home=tmp_path / "another")).get(planned, said.append) == image_id


def test_what_is_not_there_is_built_and_what_is_lost_is_pushed_again(
    hub: Registry, engine: Engine, planned: PlannedImage, tmp_path: Path
) -> None:
    settings, said = settings_of(tmp_path, hub.name), list[str]()
    assert shared(engine, settings).get(planned, said.append) is None
    assert "is not in the shared registry" in said[0] and "doesn't have the image" in said[0]
    image_id = image(engine, planned)
    with registry(login=LOGIN) as lost:
        shared(engine, settings_of(tmp_path, lost.name)).put(planned, image_id, said.append)
    shared(engine, settings).put(planned, image_id, said.append)
    engine.remove(planned.stage)
    assert shared(engine, settings).get(planned, said.append) == image_id


def test_a_registry_that_is_away_or_refuses_says_what_to_do(
    hub: Registry, engine: Engine, planned: PlannedImage, tmp_path: Path
) -> None:
    image_id = image(engine, planned)
    away = shared(engine, settings_of(tmp_path, "127.0.0.1:1"))
    away_told = r"SHARED_REGISTRY=127\.0\.0\.1:1/build can't be reached"
    with pytest.raises(SharedUnreachableError, match=away_told):
        away.get(planned, print)
    with pytest.raises(SharedUnreachableError, match=away_told):
        away.put(planned, image_id, print)
    wrong = replace(settings_of(tmp_path, hub.name), registry_password="wrong")
    with pytest.raises(SharedError, match=r"takes nothing \(it denies access\)") as caught:
        shared(engine, wrong).put(planned, image_id, print)
    assert "docker login" in str(caught.value) and LOGIN[1] not in str(caught.value)
    assert engine.inspect(planned.stage) is not None


def test_an_image_that_is_gone_is_said_to_be(
    hub: Registry, engine: Engine, planned: PlannedImage, tmp_path: Path
) -> None:
    gone = "sha256:" + "0" * 64
    with pytest.raises(ImageGoneError, match=f"lacks an image: No such image: {gone}") as caught:
        shared(engine, settings_of(tmp_path, hub.name)).put(planned, gone, print)
    assert "run it again" in str(caught.value)
