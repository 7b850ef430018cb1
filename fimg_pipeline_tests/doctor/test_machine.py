"""This machine: git, room, the time, the web UI's port."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fimg_pipeline.doctor import machine as module
from fimg_pipeline.doctor.findings import Finding, Verdict
from fimg_pipeline.doctor.machine import machine
from fimg_pipeline.source.git import Git
from fimg_pipeline_tests.plan.samples import make_settings

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=timezone.utc)


def found(tmp_path: Path, now: datetime = NOW, **settings: str) -> dict[str, Finding]:
    return {each.part: each for each in machine(make_settings((), FIMG_HOME=str(tmp_path / "home"), **settings), now)}


def test_a_machine_on_which_nothing_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AMPLE", 0.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(module, "_UI_PORT", probe.getsockname()[1])
    assert {each.verdict for each in found(tmp_path).values()} == {Verdict.OK}
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("text", ["git version 2.17.1", "something else"])
def test_an_old_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(Git, "text", lambda *_: text)
    git = found(tmp_path)["git"]
    assert (git.verdict, git.hint) == (Verdict.WRONG, "apt-get install git") and text in git.told


def test_a_disk_that_is_nearly_full_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    full: Callable[[Any], Usage] = lambda _: Usage(3 * 10**9)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", full)
    room = found(tmp_path)["state folder"]
    assert room.verdict is Verdict.WARNING and room.told.startswith(f"3 GB free for FIMG_HOME={tmp_path}/home")


def test_nights_that_begin_at_another_hour_here_are_told(tmp_path: Path) -> None:
    shanghai = timezone(timedelta(hours=8), "CST")
    here = found(tmp_path, NOW.astimezone(shanghai))["time zone"]
    assert here.verdict is Verdict.NOTE
    assert here.told == "nights begin at 02:00 UTC, which is 10:00 by this machine's clock (CST)"
    meant = found(tmp_path, NOW.astimezone(shanghai), TIME_ZONE="Asia/Shanghai")["time zone"]
    assert (meant.verdict, meant.told) == (Verdict.OK, "nights begin at 02:00 Asia/Shanghai")


def test_a_port_that_is_taken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(module, "_UI_PORT", port)
        ui = found(tmp_path)["web UI"]
    assert ui.verdict is Verdict.NOTE and f"port {port} is taken" in ui.told and "--port" in ui.hint
