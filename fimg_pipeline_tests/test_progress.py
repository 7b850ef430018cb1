"""What a run says of itself, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.progress import Event, first_line, outcomes, report
from fimg_pipeline.state import run_folder


def test_half_a_line_keeps_nobody_from_reading_the_rest(tmp_path: Path) -> None:
    report(tmp_path, "r", Event("image", "nginx", "built", 1.0))
    with (run_folder(tmp_path, "r") / "progress.jsonl").open("a") as file:
        file.write('{"kind": "image", "na\n{"of": "another version"}\n')
    report(tmp_path, "r", Event("image", "eggroll", "failed", 1.0, "no"))
    assert {name: event.what for (_, name), event in outcomes(tmp_path, "r").events.items()} == {
        "nginx": "built",
        "eggroll": "failed",
    }


def test_what_a_failed_run_had_begun_was_killed(tmp_path: Path) -> None:
    report(tmp_path, "r", Event("image", "nginx", "started"))
    assert outcomes(tmp_path, "r").events["image", "nginx"].what == "started"
    found = outcomes(tmp_path, "r", failed=True).events["image", "nginx"]
    assert (found.what, found.message) == ("failed", "its process was killed")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("\n \nE: no such package\nand more", "E: no such package"),
        ("\x1b[31mERROR\x1b[0m:\tno\tspace\x07", "ERROR: no space"),
        ("", "no reason was given"),
    ],
)
def test_the_first_line_is_one_for_people(message: str, told: str) -> None:
    assert first_line(message) == told


def test_the_first_line_is_not_endless() -> None:
    assert len(first_line("x" * 100_000)) == 500
