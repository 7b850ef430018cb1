"""What is told of a command in a container that failed."""

from __future__ import annotations

import pytest

from fimg_pipeline.engine.containers import Done


@pytest.mark.parametrize(
    ("output", "said", "told"),
    [
        ("", "", "it said nothing"),
        ("printed", "", "printed"),
        ("printed", "warning\n\n  no such file\n\n", "no such file"),
        ("printed", "* one thing\nand then another", "and then another"),
    ],
)
def test_the_last_line_is_told(output: str, said: str, told: str) -> None:
    assert Done(3, output, said).problem == f"it ended with 3: {told}"


def test_all_of_a_list_at_the_end_is_told_in_one_order() -> None:
    missing = ["* spec.id: Required value", "* spec.sign: Required value"]
    said = ["\n".join(['The AppImage "x" is invalid: ', *lines, ""]) for lines in (missing, missing[::-1])]
    assert {Done(1, "", text).problem for text in said} == {
        "it ended with 1: spec.id: Required value; spec.sign: Required value"
    }
