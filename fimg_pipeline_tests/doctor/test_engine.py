"""The engine: none, an old one, one whose disk is full, one that runs no other architecture's programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.doctor import engine as module
from fimg_pipeline.doctor.findings import Finding, Verdict
from fimg_pipeline.engine import emulation, fitness
from fimg_pipeline.engine.errors import EngineError
from fimg_pipeline.engine.hub import PullFailure
from fimg_pipeline_tests.plan.samples import make_settings


class FakeEngine:
    version = "20.10.24"
    platform = "amd64"
    address = "unix:///run/docker.sock"
    cli = "/usr/bin/docker"

    def __init__(self, disk: Path | None = None) -> None:
        self.disk = disk

    def inspect(self, _: str) -> None:
        return None


def found(monkeypatch: pytest.MonkeyPatch, fake: Any, *, runs: bool = True, **settings: str) -> dict[str, Finding]:
    monkeypatch.setattr(module, "Engine", lambda _: fake)
    monkeypatch.setattr(emulation, "runs", lambda *_: runs)
    return {each.part: each for each in module.engine(make_settings((), **settings))}


def test_one_to_build_on_with_bases_still_to_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_AMPLE", 0.0)
    all_of_it = found(monkeypatch, FakeEngine(tmp_path))
    assert {all_of_it[part].verdict for part in ("engine", "docker client", "engine's disk")} == {Verdict.OK}
    debian = all_of_it["debian:bookworm-slim for amd64"]
    assert debian.verdict is Verdict.NOTE and "not there yet" in debian.told and "Docker Hub" in debian.told
    elsewhere = found(monkeypatch, FakeEngine())["engine's disk"]
    assert (elsewhere.verdict, elsewhere.told) == (Verdict.NOTE, "it can't be looked at from here")


def test_of_one_that_does_not_answer_nothing_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        @property
        def version(self) -> str:
            raise EngineError("no Docker engine answers", hint="start it")

    (only,) = found(monkeypatch, Away()).values()
    assert only == Finding("engine", Verdict.WRONG, "no Docker engine answers", "start it")


def test_what_runs_no_other_programs_yet_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    both = "amd64,arm64"
    foreign = found(monkeypatch, FakeEngine(), runs=False, WATCHED_PLATFORMS=both)["arm64 on amd64"]
    assert foreign.verdict is Verdict.NOTE and "binfmt --install arm64" in foreign.hint
    assert found(monkeypatch, FakeEngine(), WATCHED_PLATFORMS=both)["arm64 on amd64"].verdict is Verdict.OK


def test_engines_of_platforms_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    both = found(
        monkeypatch, FakeEngine(), WATCHED_PLATFORMS="amd64,arm64", DOCKER_HOST_ARM64="ssh://build@arm.example"
    )
    assert {part for part in both if part.startswith("engine for")} == {"engine for amd64", "engine for arm64"}


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("19.03.15", "the Docker engine is 19.03.15; builds need 20.10 or later"),
        ("20.10.24+dfsg1", None),
        ("29.1.0", None),
        ("dev", None),
    ],
)
def test_versions(version: str, told: str | None) -> None:
    assert fitness.version_problem(version) == told


def test_nothing_is_built_where_the_disk_is_nearly_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine: Any = FakeEngine(tmp_path)
    fitness.require_fit(engine)
    monkeypatch.setattr(fitness, "LEAST_ROOM", 1 << 60)
    with pytest.raises(EngineError, match=r"the engine's disk \(.*\) has .* GB free, and no build begins") as refused:
        fitness.require_fit(engine)
    assert "docker system df" in str(refused.value)
    assert found(monkeypatch, engine)["engine"].verdict is Verdict.WRONG


def test_each_engine_has_to_reach_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "WATCHED_PLATFORMS": "amd64,arm64",
        "DOCKER_HOST_ARM64": "ssh://build@arm.example",
        "SHARED_REGISTRY": "registry.example:5000/build",
    }
    assert not [part for part in found(monkeypatch, FakeEngine()) if part.startswith("shared")]
    monkeypatch.setattr(module, "digest_of", lambda *_: PullFailure(True, "it doesn't have the image"))
    there = found(monkeypatch, FakeEngine(), runs=True, **settings)
    parts = {"shared registry for amd64", "shared registry for arm64"}
    assert {each.verdict for part, each in there.items() if part in parts} == {Verdict.OK} and parts <= there.keys()
    monkeypatch.setattr(module, "digest_of", lambda *_: PullFailure(False, "connection refused"))
    away = found(monkeypatch, FakeEngine(), runs=True, **settings)["shared registry for arm64"]
    assert away.verdict is Verdict.WRONG and away.told == (
        "registry.example:5000/build can't be reached (connection refused)"
    )
