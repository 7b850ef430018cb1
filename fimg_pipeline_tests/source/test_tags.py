"""What tags stand for: recorded, by their names, or FATE_DIR as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.errors import FimgError
from fimg_pipeline.source.tags import forget, record, recorded, ref_by_name, ref_of


@pytest.mark.parametrize(
    ("tag", "ref"),
    [("1.11.2-release", "v1.11.2"), ("latest", None), ("1.11.2", None), ("1.11-release", None), ("x-release", None)],
)
def test_what_a_name_says(tag: str, ref: str | None, tmp_path: Path) -> None:
    assert ref_by_name(tag) == ref_of(tmp_path, tag) == ref


def test_what_is_recorded_counts(tmp_path: Path) -> None:
    home = tmp_path / "not there yet"
    assert recorded(home) == {}
    record(home, "nightly", "origin/develop-1.11.2")
    record(home, "1.11.2-release", "v1.11.2-1")
    record(home, "mine", None)
    assert [ref_of(home, tag) for tag in ("nightly", "1.11.2-release", "mine", "other")] == [
        "origin/develop-1.11.2",
        "v1.11.2-1",
        None,
        None,
    ]
    assert forget(home, "1.11.2-release") and not forget(home, "1.11.2-release")
    assert ref_of(home, "1.11.2-release") == "v1.11.2"
    assert recorded(home) == {"nightly": "origin/develop-1.11.2", "mine": None}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a b": null}', '{"a": 1}', '{"a": "--upload-pack=x"}', '{"a": "x..y"}', "[" * 100_000]
)
def test_a_damaged_list_is_said_and_kept(text: str, tmp_path: Path) -> None:
    (tmp_path / "tags.json").write_text(text)
    for use in (lambda: ref_of(tmp_path, "a"), lambda: record(tmp_path, "b", None), lambda: forget(tmp_path, "a")):
        with pytest.raises(FimgError, match=r"tags\.json is damaged"):
            use()
    assert (tmp_path / "tags.json").read_text() == text


def test_a_list_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "tags.json").mkdir()
    with pytest.raises(FimgError, match=r"tags\.json can't be read"):
        ref_of(tmp_path, "a")
