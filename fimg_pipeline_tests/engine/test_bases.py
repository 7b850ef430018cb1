"""Where a base image comes from: names, registry answers, the order of choices. No engine needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from fimg_pipeline import freshness
from fimg_pipeline import settings as settings_module
from fimg_pipeline.catalog.bases import BASES, ExternalBase, pulled_name
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine import bases
from fimg_pipeline.engine.bases import ensure_base, newest, origin_of, wanted_bases
from fimg_pipeline.engine.bases.bootstrap import LABEL_ORIGIN, Bootstrap, Made
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.hub import (
    MirrorError,
    MirrorUnreachableError,
    PullFailure,
    failure,
    mirror_error,
    mirrored,
    watched,
)
from fimg_pipeline.settings import Settings

DEBIAN, PYTHON = BASES["debian"], BASES["python"]
DIGEST = "sha256:" + "ab" * 32
NO_HOST = 'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: no such host'


def record(image_id: str, architecture: str, **more: Any) -> dict[str, Any]:
    return {
        "Id": image_id,
        "Architecture": architecture,
        "Os": "linux",
        "Config": {"Labels": None},
        "RepoTags": [],
        **more,
    }


class FakeApi:
    """What the SDK answers: a digest and a finished pull, or an error."""

    def __init__(self, engine: FakeEngine, error: str | None, platforms: list[str]) -> None:
        self.engine, self.error, self.platforms = engine, error, platforms
        self.asked: list[str] = []

    def inspect_distribution(self, reference: str, auth_config: Any = None) -> dict[str, Any]:
        self.asked.append(reference)
        if self.error:
            raise docker.errors.APIError("500 Server Error", explanation=self.error)
        return {"Descriptor": {"digest": DIGEST}, "Platforms": [{"architecture": name} for name in self.platforms]}

    def pull(self, repository: str, *, tag: str, platform: str, **_: Any) -> list[dict[str, str]]:
        self.engine.images[f"{repository}@{tag}"] = record("sha256:pulled", platform.partition("/")[2])
        return [{"status": "done"}]


class FakeEngine(Engine):
    """An engine of records by name."""

    def __init__(self, error: str | None = None, platforms: list[str] | None = None) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.api = FakeApi(self, error, platforms or ["amd64", "arm64"])

    @property
    def sdk(self) -> Any:
        return self

    @property
    def platform(self) -> Platform:
        return "amd64"

    def inspect(self, reference: str) -> dict[str, Any] | None:
        return self.images.get(reference)

    def tag(self, source: str, target: str) -> None:
        image = next(image for image in self.images.values() if image["Id"] == source)
        image["RepoTags"].append(target)
        self.images[target] = image


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    return settings_module.load({"FIMG_HOME": str(tmp_path / "home")}, environ={}, directory=tmp_path)


@pytest.mark.parametrize(
    ("reference", "mirror", "expected"),
    [
        ("python:3.8-slim-bookworm", None, "python:3.8-slim-bookworm"),
        ("python:3.8-slim-bookworm", "mirror.example:5000", "mirror.example:5000/library/python:3.8-slim-bookworm"),
        ("debian:bookworm-slim", "harbor.example/hub/", "harbor.example/hub/library/debian:bookworm-slim"),
        ("debian:bookworm-slim", "localhost/hub", "localhost/hub/library/debian:bookworm-slim"),
        ("bitnami/spark:3", "mirror.example", "mirror.example/bitnami/spark:3"),
    ],
)
def test_a_mirror_takes_the_hubs_place(reference: str, mirror: str | None, expected: str) -> None:
    assert mirrored(reference, mirror) == expected


def test_a_mirror_that_docker_would_take_for_a_namespace_is_refused() -> None:
    with pytest.raises(MirrorError, match="DOCKER_HUB_MIRROR=mirror is no registry"):
        mirrored("debian:bookworm-slim", "mirror")


@pytest.mark.parametrize(
    ("message", "answered", "reason"),
    [
        (NO_HOST, False, "its name can't be resolved"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", False, "connection refused"),
        (
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded)",
            False,
            "no answer in time",
        ),
        ("dial tcp 10.0.0.1:443: connect: network is unreachable", False, "no connection"),
        ("x509: certificate signed by unknown authority", True, "its certificate is not trusted by the engine"),
        ("toomanyrequests: You have reached your pull rate limit.", True, "its rate limit is reached"),
        ("manifest unknown: manifest unknown", True, "it doesn't have the image"),
        ("unauthorized: authentication required", True, "it denies access"),
        ("denied: requested access to the resource is denied", True, "it denies access"),
        ("\n  something new \nmore", True, "something new"),
    ],
)
def test_what_an_engine_says_about_a_registry(message: str, answered: bool, reason: str) -> None:
    assert failure(message) == PullFailure(answered, reason)


def test_only_an_unreachable_mirror_is_worth_a_retry() -> None:
    gone = mirror_error("debian:x", "m.example", PullFailure(False, "connection refused"))
    refused = mirror_error("debian:x", "m.example", PullFailure(True, "it denies access"))
    assert isinstance(gone, MirrorUnreachableError) and gone.transient
    assert not refused.transient
    assert "DOCKER_HUB_MIRROR=m.example" in str(refused) and "it denies access" in str(refused)


def test_watched_gives_the_result_or_raises_the_error() -> None:
    def fails(_: Callable[[], None]) -> int:
        raise ValueError("no")

    assert watched(lambda _: 42, 5) == 42
    with pytest.raises(ValueError, match="no"):
        watched(fails, 5)


def test_watched_gives_up_on_silence_only() -> None:
    def slow(beat: Callable[[], None]) -> str:
        for _ in range(14):
            time.sleep(0.03)
            beat()
        return "done"

    assert watched(slow, 0.4) == "done"
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        watched(lambda _: time.sleep(2), 0.1)
    assert time.monotonic() - started < 1


def test_packages_need_bases_of_the_engines_own_platform() -> None:
    assert {(base.name, platform) for base, platform in wanted_bases("arm64", "amd64")} == {
        ("bullseye", "amd64"),
        ("debian", "amd64"),
        ("debian", "arm64"),
        ("python", "arm64"),
    }
    assert len(wanted_bases("amd64", "amd64")) == len(BASES)


def test_origin_by_label_by_digest_or_unknown() -> None:
    local = DEBIAN.local_reference("amd64")
    labelled = record("x", "amd64", Config={"Labels": {LABEL_ORIGIN: "Debian 12.9 made from packages"}})
    assert origin_of(DEBIAN, "amd64", labelled) == "Debian 12.9 made from packages"
    tags = ["somebody/debian:1-" + DIGEST.replace(":", "-"), local, f"{local}-{DIGEST.replace(':', '-')}"]
    assert origin_of(DEBIAN, "amd64", record("x", "amd64", RepoTags=tags)) == f"pulled as {DIGEST}"
    assert "unknown" in origin_of(DEBIAN, "amd64", record("x", "amd64", RepoTags=[local]))


def test_what_is_there_is_left_alone(plain: Settings) -> None:
    engine = FakeEngine(error=NO_HOST)
    engine.images[DEBIAN.local_reference("amd64")] = record("sha256:there", "amd64")
    state = ensure_base(DEBIAN, "amd64", plain, engine, log=print)
    assert (state.image_id, state.made) == ("sha256:there", False)
    assert engine.api.asked == []


def test_a_pulled_image_gets_the_local_name_and_remembers_its_digest(plain: Settings) -> None:
    engine, lines = FakeEngine(), list[str]()
    state = ensure_base(PYTHON, "arm64", plain, engine, log=lines.append)
    assert (state.image_id, state.made, state.origin) == ("sha256:pulled", True, f"pulled as {DIGEST}")
    assert engine.api.asked == ["python:3.8-slim-bookworm"]
    assert lines[-1] == "python:3.8-slim-bookworm (arm64): pulled from Docker Hub"


def test_a_name_that_holds_another_architecture_is_made_anew(plain: Settings) -> None:
    engine = FakeEngine()
    engine.images[DEBIAN.local_reference("arm64")] = record("sha256:wrong", "amd64")
    assert ensure_base(DEBIAN, "arm64", plain, engine, log=print).image_id == "sha256:pulled"


def pulled(engine: FakeEngine, image_id: str, *digests: str) -> None:
    """An engine's Debian that was pulled as ``digests``."""
    local = DEBIAN.local_reference("amd64")
    names = [local, *(pulled_name(local, digest) for digest in digests)]
    engine.images[local] = record(image_id, "amd64", RepoTags=names)


def test_what_is_decided_on_is_pulled_once(plain: Settings) -> None:
    engine, old = FakeEngine(), "sha256:" + "cd" * 32
    local = DEBIAN.local_reference("amd64")
    pulled(engine, "sha256:there", old)
    freshness.seen(plain.home, {local: DIGEST})
    # A registry has it, and nobody decided to stand on it.
    assert not ensure_base(DEBIAN, "amd64", plain, engine, log=print).made
    freshness.accept(plain.home)
    assert ensure_base(DEBIAN, "amd64", plain, engine, log=print).image_id == "sha256:pulled"
    assert not ensure_base(DEBIAN, "amd64", plain, engine, log=print).made
    # The list is another one, this platform's image is the same.
    pulled(engine, "sha256:there", old, DIGEST)
    assert not ensure_base(DEBIAN, "amd64", plain, engine, log=print).made


@pytest.mark.parametrize("mirror", [None, "mirror.example:5000"])
def test_what_can_not_be_had_newer_stays_until_that_is_decided_again(plain: Settings, mirror: str | None) -> None:
    engine, lines, local = FakeEngine(NO_HOST), list[str](), DEBIAN.local_reference("amd64")
    plain = replace(plain, docker_hub_mirror=mirror)
    pulled(engine, "sha256:there", "sha256:" + "cd" * 32)
    freshness.seen(plain.home, {local: DIGEST})
    freshness.accept(plain.home)
    freshness.refresh(plain.home, {plain.tag: "2026-11-29T01:00:00Z"})
    there = ensure_base(DEBIAN, "amd64", plain, engine, log=lines.append)
    assert (there.image_id, there.made) == ("sha256:there", False)
    assert "is to be newer, and " in lines[-1] and lines[-1].endswith("built on the one that is there")
    asked = len(engine.api.asked)
    assert not ensure_base(DEBIAN, "amd64", plain, engine, log=lines.append).made
    assert len(engine.api.asked) == asked, "asked again with every build"
    # The next night.
    freshness.accept(plain.home)
    engine.api.error = None
    assert ensure_base(DEBIAN, "amd64", plain, engine, log=lines.append).image_id == "sha256:pulled"


def test_one_that_was_made_here_is_not_made_again_because_a_registry_has_another(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def debian(self: Bootstrap, base: ExternalBase, platform: Platform) -> Made:
        assert isinstance(self.engine, FakeEngine)
        made.append(base.name)
        self.engine.images[base.local_reference(platform)] = record("sha256:again", platform)
        return Made("made here", "took what was made here")

    monkeypatch.setattr(Bootstrap, "debian", debian)
    engine, local = FakeEngine("manifest unknown"), DEBIAN.local_reference("amd64")
    engine.images[local] = record("sha256:made", "amd64")
    for _ in range(3):
        freshness.seen(plain.home, {local: DIGEST})
        freshness.accept(plain.home)
        assert ensure_base(DEBIAN, "amd64", plain, engine, log=print).image_id == "sha256:made"
    assert made == []
    freshness.refresh(plain.home, {plain.tag: "2026-11-29T01:00:00Z"})
    assert ensure_base(DEBIAN, "amd64", plain, engine, log=print).image_id == "sha256:again"


def test_a_tag_that_is_refreshed_gets_new_bases_once_and_others_do_not(plain: Settings) -> None:
    engine = FakeEngine()
    pulled(engine, "sha256:there", DIGEST)
    freshness.refresh(plain.home, {"other": "2026-11-29T01:00:00Z"})
    assert not ensure_base(DEBIAN, "amd64", plain, engine, log=print).made
    freshness.refresh(plain.home, {plain.tag: "2026-11-26T01:00:00Z"})
    assert ensure_base(DEBIAN, "amd64", plain, engine, log=print).made
    assert not ensure_base(DEBIAN, "amd64", plain, engine, log=print).made


def test_registries_are_asked_for_all_bases_at_once(plain: Settings) -> None:
    engine = FakeEngine()
    assert newest(plain, engine) == {base.reference: DIGEST for base in BASES.values()}
    unreachable = PullFailure(False, "its name can't be resolved")
    assert set(newest(plain, FakeEngine(NO_HOST)).values()) == {unreachable}


def test_refresh_asks_again(plain: Settings) -> None:
    engine = FakeEngine()
    engine.images[DEBIAN.local_reference("amd64")] = record("sha256:there", "amd64")
    assert ensure_base(DEBIAN, "amd64", plain, engine, refresh=True, log=print).image_id == "sha256:pulled"


@pytest.mark.parametrize(
    ("error", "platforms", "expected"),
    [
        ("manifest unknown", ["amd64"], MirrorError),
        (None, ["s390x"], MirrorError),
        ("connection refused", ["amd64"], MirrorUnreachableError),
    ],
)
def test_a_configured_mirror_is_never_replaced_in_silence(
    plain: Settings,
    monkeypatch: pytest.MonkeyPatch,
    error: str | None,
    platforms: list[str],
    expected: type[MirrorError],
) -> None:
    monkeypatch.setattr(bases, "Bootstrap", lambda *_, **__: pytest.fail("bootstrapped"))
    mirror = replace(plain, docker_hub_mirror="mirror.example:5000")
    with pytest.raises(expected, match=r"DOCKER_HUB_MIRROR=mirror\.example:5000"):
        ensure_base(DEBIAN, "amd64", mirror, FakeEngine(error, platforms), log=print)


@pytest.mark.parametrize(
    "error", [NO_HOST, "toomanyrequests: slow down", "x509: certificate signed by unknown authority"]
)
def test_without_docker_hub_an_equivalent_is_bootstrapped_and_said(
    plain: Settings, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    def debian(self: Bootstrap, base: ExternalBase, platform: Platform) -> Made:
        assert isinstance(self.engine, FakeEngine)
        labels = {"Labels": {LABEL_ORIGIN: "made here"}}
        self.engine.images[base.local_reference(platform)] = record("sha256:made", platform, Config=labels)
        return Made("made here", "took what was made here")

    monkeypatch.setattr(Bootstrap, "debian", debian)
    lines: list[str] = []
    state = ensure_base(DEBIAN, "amd64", plain, FakeEngine(error), log=lines.append)
    assert (state.image_id, state.origin, state.made) == ("sha256:made", "made here", True)
    assert len(lines) == 1
    assert lines[0].startswith("debian:bookworm-slim (amd64): Docker Hub ") and lines[0].endswith(
        "; took what was made here"
    )
