"""Doing several things at once, and how that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fimg_pipeline.ship.together import together

_INTERRUPTED = """
import sys, threading, time
from pathlib import Path
from fimg_pipeline.ship.together import together

given_up = threading.Event()

def task():
    print("begun", flush=True)
    given_up.wait(60)
    print("ending", flush=True)
    time.sleep(1)
    Path(sys.argv[1]).touch()

together([task], 1, given_up.set)
"""


def test_what_has_begun_is_let_end_however_often_somebody_interrupts(tmp_path: Path) -> None:
    """A step of a run gets Ctrl-C twice: from the terminal, and from the run."""
    command = [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "ended")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for said in ("begun", "ending"):
            assert process.stdout.readline().strip() == said
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert (tmp_path / "ended").exists()


def test_after_an_error_what_has_not_begun_is_left_undone() -> None:
    done: list[str] = []

    def fails() -> None:
        raise ValueError("no")

    def works() -> None:
        time.sleep(0.1)
        done.append("done")

    with pytest.raises(ValueError, match="no"):
        together([fails, *[works] * 50], 1, lambda: done.append("given up"))
    assert len(done) < 50 and "given up" not in done
