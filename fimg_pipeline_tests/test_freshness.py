"""How new what comes from outside has to be, as it is kept."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fimg_pipeline import freshness
from fimg_pipeline.errors import FimgError
from fimg_pipeline.freshness import AS_IT_IS, moment


def test_nothing_is_kept_at_first(tmp_path: Path) -> None:
    assert freshness.read(tmp_path) == AS_IT_IS


def test_what_was_seen_is_wanted_when_it_is_accepted(tmp_path: Path) -> None:
    freshness.seen(tmp_path, {"debian": "sha256:1", "python": "sha256:2"})
    assert freshness.read(tmp_path).wanted == {}
    freshness.accept(tmp_path)
    freshness.seen(tmp_path, {"debian": "sha256:3"})
    kept = freshness.read(tmp_path)
    assert kept.wanted == {"debian": "sha256:1", "python": "sha256:2"} and kept.newest["debian"] == "sha256:3"


def test_what_was_pulled_is_what_is_wanted_and_what_was_made_here_is_nobodys_digest(tmp_path: Path) -> None:
    freshness.seen(tmp_path, {"debian": "sha256:1"})
    freshness.accept(tmp_path)
    freshness.renewed(tmp_path, "debian", "sha256:2")
    kept = freshness.read(tmp_path)
    assert kept.wanted == kept.newest == {"debian": "sha256:2"} and list(kept.renewed) == ["debian"]
    freshness.renewed(tmp_path, "debian", None)
    kept = freshness.read(tmp_path)
    assert kept.wanted == kept.newest == {} and list(kept.renewed) == ["debian"]


def test_what_is_due_is_refreshed_once_and_never_over_something_newer(tmp_path: Path) -> None:
    freshness.refresh_later(tmp_path, {"nightly": "2026-11-22T01:00:00Z", "next": "2026-11-22T01:00:00Z"})
    freshness.refresh(tmp_path, {"nightly": "2026-11-29T01:00:00Z"})
    assert freshness.read(tmp_path).due == {"next": "2026-11-22T01:00:00Z"}
    for _ in range(2):
        freshness.refresh_due(tmp_path)
        kept = freshness.read(tmp_path)
        assert kept.refreshed == {"nightly": "2026-11-29T01:00:00Z", "next": "2026-11-22T01:00:00Z"} and not kept.due


def test_tags_are_refreshed_and_forgotten(tmp_path: Path) -> None:
    freshness.refresh(tmp_path, {"nightly": "2026-11-22T01:00:00Z", "next": "2026-11-22T01:00:00Z"})
    freshness.refresh(tmp_path, {"nightly": "2026-11-29T01:00:00Z"})
    freshness.forget(tmp_path, "next")
    assert freshness.read(tmp_path).refreshed == {"nightly": "2026-11-29T01:00:00Z"}


def test_moments_are_greater_later_wherever_they_were_said() -> None:
    at = datetime(2026, 11, 29, 1, tzinfo=timezone(timedelta(hours=8)))
    assert moment(at) == "2026-11-28T17:00:00Z" < moment(at + timedelta(seconds=1))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wanted": 1}', '{"other": {}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "freshness.json").write_text(text)
    with pytest.raises(FimgError, match=r"freshness\.json is damaged"):
        freshness.read(tmp_path)


def test_what_was_decided_before_is_done_by_what_comes_after_whatever_the_clock_says(tmp_path: Path) -> None:
    freshness.refresh(tmp_path, {"nightly": "2999-01-01T00:00:00Z"})
    freshness.renewed(tmp_path, "debian", None)
    assert freshness.read(tmp_path).renewed == {"debian": "2999-01-01T00:00:00Z"}
