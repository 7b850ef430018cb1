"""Commands on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.engine.host import HostError, run_logged, tail


def test_the_tail_is_short_and_hides_passwords() -> None:
    text = "".join(f"line {number}\n\n" for number in range(40)) + "E: https://tok3n@mirror.example/debian 404\n"
    shown = tail(text, 3)
    assert shown.splitlines() == ["    line 38", "    line 39", "    E: https://***@mirror.example/debian 404"]


def test_a_failed_command_quotes_its_own_output_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_logged(["echo", "earlier"], log, what="talking")
    with pytest.raises(HostError, match=r"downloading failed \(exit 3\):\n    no such mirror\n  → check the network$"):
        run_logged(["sh", "-c", "echo no such mirror >&2; exit 3"], log, what="downloading", hint="check the network")
    assert log.read_text() == "earlier\nno such mirror\n"
