"""What is done about newer base images, and every week: real repositories, an engine made by hand."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline import freshness
from fimg_pipeline.assets.keys import base_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.automation.bases import newer_bases
from fimg_pipeline.automation.schedules import schedules
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.engine.errors import EngineUnreachableError
from fimg_pipeline.engine.hub import PullFailure
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import Settings, SettingsError
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.automation.handmade import Handmade, environ_of

DEBIAN = BASES["debian"].local_reference("amd64")
NEW = "sha256:" + "ab" * 32
AT = datetime(2026, 11, 22, 1, tzinfo=timezone.utc)


@pytest.fixture
def built(sample: SampleSource, tmp_path: Path) -> Any:
    environ = environ_of(sample, tmp_path)
    # What schedules are given opens the instance itself.
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        found = Handmade(tmp_path, environ, instance)
        found.build()
        yield found


def observe(pipeline: Handmade, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(instance=pipeline.instance, cursor=cursor) as context:
        found = newer_bases(context, pipeline=pipeline)
    assert isinstance(found, dg.SensorResult)
    return found


def tick(pipeline: Handmade, name: str, at: datetime = AT) -> Any:
    schedule: Any = next(each for each in schedules(pipeline.settings()) if each.name == name)
    with dg.build_schedule_context(instance=pipeline.instance, scheduled_execution_time=at) as context:
        return schedule(context, pipeline=pipeline)


def selected(request: dg.RunRequest) -> set[str]:
    return {"/".join(key.path) for key in request.asset_selection or ()}


def test_two_schedules_in_the_same_moment_ask_once(sample: SampleSource, built: Handmade) -> None:
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note in the proxy")
    assert len(tick(built, "nightly")) == 1
    assert isinstance(tick(built, "refresh"), dg.SkipReason)


def test_a_new_digest_is_recorded_once_and_waits_for_the_night(built: Handmade) -> None:
    built.registries = {"debian:bookworm-slim": NEW, "python:3.8-slim-bookworm": PullFailure(False, "no answer")}
    first = observe(built)
    (event,) = first.asset_events
    assert isinstance(event, dg.AssetObservation) and event.asset_key == base_key("debian")
    assert (event.tags or {})["dagster/data_version"] == NEW
    assert "python:3.8-slim-bookworm: Docker Hub can't be reached (no answer)" in str(first.skip_reason)
    assert observe(built, first.cursor).asset_events == []
    # What is watched goes on as it is, until a night decides.
    assert built.look()["t"].request is None
    (request,) = tick(built, "nightly")
    assert {"nginx", "fateboard", "eggroll"} & selected(request) and "fateflow" not in selected(request)
    assert freshness.read(built.settings().home).wanted == {
        BASES["debian"].local_reference(platform): NEW for platform in ("amd64", "arm64")
    }


def test_who_wants_to_be_asked_is(built: Handmade) -> None:
    built.environ["BASE_UPDATES"] = "ask"
    built.registries = {"debian:bookworm-slim": NEW}
    observe(built)
    skipped = tick(built, "nightly")
    assert isinstance(skipped, dg.SkipReason) and "up to date" in str(skipped.skip_message)
    assert freshness.read(built.settings().home).newest[DEBIAN] == NEW


def test_every_week_what_is_followed_is_built_anew_and_releases_are_not(built: Handmade) -> None:
    home = built.settings().home
    record(home, "1.11.2-release", "v1.11.2")
    (request,) = tick(built, "refresh")
    assert request.partition_key == partition_key("amd64", "t") and {"base-image", "nginx"} <= selected(request)
    assert freshness.read(home).refreshed == {"t": "2026-11-22T01:00:00Z"}
    # Whoever looks next comes to the same, whatever becomes of that run.
    assert built.look()["t"].request is not None
    built.build()
    assert built.look()["t"].request is None


def test_what_runs_stand_on_is_not_changed_below_them(built: Handmade) -> None:
    """All tags share their base images: what is refreshed while a run is under way waits for a night without any."""
    home = built.settings().home
    job = dg.JobDefinition(name="build", graph_def=dg.GraphDefinition(name="build"))
    run = built.instance.create_run_for_job(job, tags={"dagster/partition": "amd64|other"})
    for name in ("refresh", "nightly"):
        assert isinstance(tick(built, name), dg.SkipReason)
        kept = freshness.read(home)
        assert (kept.refreshed, kept.due) == ({}, {"t": "2026-11-22T01:00:00Z"})
    built.instance.report_run_canceled(run)
    (request,) = tick(built, "nightly")
    assert {"base-image", "nginx"} <= selected(request)
    kept = freshness.read(home)
    assert (kept.refreshed, kept.due) == ({"t": "2026-11-22T01:00:00Z"}, {})


def test_whoever_looks_ahead_takes_nothing_from_the_week_that_comes(built: Handmade) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(days=2)
    assert tick(built, "refresh", ahead)
    built.build()
    assert freshness.read(built.settings().home).refreshed["t"] < freshness.moment(ahead)


def test_what_can_t_be_looked_at_is_refreshed_later_but_no_release(built: Handmade) -> None:
    home, there = built.settings().home, built.environ["FATE_DIR"]
    record(home, "1.11.2-release", "v1.11.2")
    record(home, "develop", "origin/develop")
    built.environ["FATE_DIR"] = f"{there}-away"
    assert isinstance(tick(built, "refresh"), dg.SkipReason)
    kept = freshness.read(home)
    assert (kept.refreshed, set(kept.due)) == ({}, {"t", "develop"})
    built.environ["FATE_DIR"] = there
    tick(built, "nightly")
    assert set(freshness.read(home).refreshed) == {"t", "develop"}


@pytest.mark.parametrize("cursor", ["abc", "[]", "null", "3", '{"debian:bookworm-slim": 3}'])
def test_a_cursor_that_says_nothing_costs_nothing(built: Handmade, cursor: str) -> None:
    built.registries = {"debian:bookworm-slim": NEW}
    assert len(observe(built, cursor).asset_events) == 1


def test_what_can_t_be_asked_or_kept_is_said(built: Handmade) -> None:
    def skipped() -> str:
        with dg.build_sensor_context(instance=built.instance) as context:
            found = newer_bases(context, pipeline=built)
        assert isinstance(found, dg.SkipReason)
        return str(found.skip_message)

    def away(settings: Settings) -> dict[str, str | PullFailure]:
        raise EngineUnreachableError("no Docker engine answers")

    file = built.settings().home / "freshness.json"
    file.write_text("damaged")
    assert "freshness.json is damaged" in skipped()
    built.newest_bases = away  # type: ignore[method-assign]
    assert skipped() == "no registry can be asked: no Docker engine answers"


def test_when_it_is_done_is_said(built: Handmade) -> None:
    found = schedules(built.settings(REFRESH_AT="Friday 23:15", TIME_ZONE="Asia/Shanghai"))
    assert {each.name: each.cron_schedule for each in found} == {
        "nightly": "0 2 * * *",
        "refresh": "15 23 * * 5",
        "prune": "0 5 * * 6",
    }
    assert {each.execution_timezone for each in found} == {"Asia/Shanghai"}


@pytest.mark.parametrize(
    ("variable", "text"), [("REFRESH_AT", "sunday"), ("REFRESH_AT", "someday 01:00"), ("BASE_UPDATES", "never")]
)
def test_settings_are_checked(built: Handmade, variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}=.*must be"):
        built.settings(**{variable: text})
