"""Which byte code is written, and what is an error."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fimg_pipeline.dockerfiles.lib import bytecode


def test_byte_code_is_checked_against_the_source(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("answer = 42\n")

    bytecode.compile_files([str(source)])

    code = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    assert code[4:8] == (0b11).to_bytes(4, "little")
    assert code[8:16] == importlib.util.source_hash(source.read_bytes())


@pytest.mark.parametrize("text", ["print 'Python 2'\n", "{{ template }} is\n", "x = '\0'\n", "# coding: nonsense\n"])
def test_files_for_other_pythons_stay_without_and_hinder_nothing(tmp_path: Path, text: str) -> None:
    foreign, source = tmp_path / "foreign.py", tmp_path / "module.py"
    foreign.write_text(text)
    source.write_text("answer = 42\n")

    bytecode.compile_files([str(foreign), str(source)])

    assert [path.name.split(".")[0] for path in (tmp_path / "__pycache__").iterdir()] == ["module"]


def test_byte_code_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("answer = 42\n")
    (tmp_path / "__pycache__").write_text("in the way")

    done = subprocess.run([sys.executable, bytecode.__file__, str(source)], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("byte code can't be written: ") and "__pycache__" in done.stderr
