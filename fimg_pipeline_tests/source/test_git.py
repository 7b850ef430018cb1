"""git is never given anybody to ask."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fimg_pipeline.source.git import FetchError, Git


def test_git_never_asks() -> None:
    environment = Git()._environment
    assert environment["GIT_TERMINAL_PROMPT"] == "0" and environment["GIT_ASKPASS"] == "true"


def test_git_has_nobody_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh asks the terminal, not its input: what git starts has none, even where we have one."""
    (tmp_path / "ssh").write_text("#!/bin/sh\n{ : < /dev/tty; } 2> /dev/null && touch asked\nexit 1\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(tmp_path / "ssh"))
    monkeypatch.chdir(tmp_path)
    ask = (
        "from fimg_pipeline.source.git import Git; print(Git().run('ls-remote', 'ssh://git@host.invalid/x').returncode)"
    )
    on_a_terminal = f"import pty, sys; pty.spawn([sys.executable, '-c', {ask!r}])"
    done = subprocess.run([sys.executable, "-c", on_a_terminal], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "128"
    assert not (tmp_path / "asked").exists()


def test_what_git_started_ends_with_it(tmp_path: Path) -> None:
    hangs = f"alias.hang=!sleep 600 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(FetchError, match=r"did not finish within 1 s"):
        Git().run("-c", hangs, "hang", timeout=1)
    stat = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    until = time.monotonic() + 10
    # Dead is also what nobody has asked about yet.
    while stat.exists() and ") Z " not in stat.read_text():
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.05)
