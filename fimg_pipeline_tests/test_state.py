"""What processes leave behind when they are killed, and who removes it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import held, is_left_behind, scratch, write_whole

_HOLDER = """
import sys
from pathlib import Path
from fimg_pipeline.state import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "secret").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def start(home: Path) -> tuple[subprocess.Popen[str], Path]:
    command = [sys.executable, "-c", _HOLDER, str(home)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    killed, left = start(tmp_path)
    living, kept = start(tmp_path)
    killed.kill()
    killed.wait()
    assert (left / "secret").exists()
    with scratch(tmp_path) as own:
        assert own.stat().st_mode & 0o777 == 0o700
        assert not left.exists() and (kept / "secret").exists()
    living.communicate("")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_process_that_ends_well_while_one_looks_did_not_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    block = held(file)
    block.__enter__()
    lock = fcntl.flock

    def end_first(handle: IO[str], operation: int) -> None:
        block.__exit__(None, None, None)
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", end_first)
    assert not is_left_behind(file)


def test_what_can_not_be_written_is_named_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "file.new").mkdir()
    with pytest.raises(FimgError, match=r"/file can't be written: Is a directory"):
        write_whole(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "before"
