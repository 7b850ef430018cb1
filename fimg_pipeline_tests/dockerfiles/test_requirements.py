"""What becomes of FATE's requirement files."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.dockerfiles.lib import requirements


def adapt(*lines: str, **changes: Any) -> list[str]:
    values = {"machine": "x86_64", "python": (3, 8), "variant": "cpu", "indexes": frozenset()} | changes
    return list(requirements.adapt(lines, requirements.Target(**values)).lines)


@pytest.mark.parametrize(
    ("line", "changes", "expected"),
    [
        ("torch==1.13.1+cpu", {}, ["torch==1.13.1"]),
        ("torch==1.13.1+cpu", {"indexes": frozenset({"pytorch"})}, ["torch==1.13.1+cpu"]),
        ("torch==1.13.1+cpu", {"indexes": frozenset({"pytorch"}), "variant": "cuda"}, ["torch==1.13.1+cu117"]),
        ("torch==1.13.1+cpu", {"variant": "cuda"}, ["torch==1.13.1"]),
        ("torch-sparse==0.6.16+pt113cpu", {}, ["torch-sparse==0.6.16"]),
        ("torch-sparse==0.6.16+pt113cpu", {"variant": "cuda"}, ["torch-sparse==0.6.16"]),
        ("pyg-lib==0.1.0+pt113cpu", {}, []),
        ("pyg-lib==0.1.0+pt113cpu", {"indexes": frozenset({"pyg"})}, ["pyg-lib==0.1.0+pt113cpu"]),
        ("torch-sparse==0.6.16+pt113cpu", {"indexes": frozenset({"pyg"})}, ["torch-sparse==0.6.16+pt113cpu"]),
        (
            "torch-sparse==0.6.16+pt113cpu",
            {"indexes": frozenset({"pyg"}), "variant": "cuda"},
            ["torch-sparse==0.6.16+pt113cu117"],
        ),
        ("torch-geometric==2.2.0", {}, ["torch-geometric==2.2.0"]),
        ("--extra-index-url https://download.pytorch.org/whl/cpu", {"indexes": frozenset({"pytorch"})}, []),
        ("--find-links https://data.pyg.org/whl/torch-1.13.0+cpu.html", {"indexes": frozenset({"pyg"})}, []),
        (
            "--extra-index-url https://pypi.example.org/simple",
            {},
            ["--extra-index-url https://pypi.example.org/simple"],
        ),
        ('torch==1.13.1+cpu; python_version > "3.6"', {}, ['torch==1.13.1; python_version > "3.6"']),
        (
            "torch==1.13.1+cpu ; x",
            {"indexes": frozenset({"pytorch"}), "variant": "cuda"},
            ["torch==1.13.1+cu117 ; x"],
        ),
        ("torch-sparse==0.6.16+pt113cpu; x", {"variant": "cuda"}, ["torch-sparse==0.6.16; x"]),
        ("pyg-lib==0.1.0+pt113cpu; x", {}, []),
        ("-i https://download.pytorch.org/whl/cpu", {}, []),
        ("-f https://data.pyg.org/whl/torch-1.13.0+cpu.html", {}, []),
        ("pip>=21", {}, []),
        ("pip", {}, []),
        ("pip-tools==7", {}, ["pip-tools==7"]),
        ("pipdeptree", {}, ["pipdeptree"]),
        ("ipcl-python==2.0.0", {}, ["ipcl-python==2.0.0"]),
        ("ipcl-python==2.0.0", {"machine": "aarch64"}, []),
        ("ipcl_python==2.0.0", {"python": (3, 9)}, []),
        ("numba==0.53.0", {"machine": "aarch64"}, ["numba==0.56.4"]),
        ("numba==0.53.0", {}, ["numba==0.53.0"]),
        ("tensorflow-cpu==2.11.1", {"machine": "aarch64"}, ["tensorflow-cpu-aws==2.11.0"]),
        ("datasets==2.11.0", {"variant": "cuda"}, ["datasets==2.11.0", "pyarrow>=8.0.0"]),
        ("datasets==2.12.0", {"variant": "cuda"}, ["datasets==2.12.0"]),
        ("Flask==2.0.3  # the server", {}, ["Flask==2.0.3"]),
        ("# a comment", {}, []),
        ("   ", {}, []),
        ("thing @ https://example.org/thing.zip#sha256=00", {}, ["thing @ https://example.org/thing.zip#sha256=00"]),
    ],
)
def test_line(line: str, changes: dict[str, Any], expected: list[str]) -> None:
    assert adapt(line, **changes) == expected


def test_order_is_kept() -> None:
    assert adapt("b==1", "pip", "a==2") == ["b==1", "a==2"]


def test_changes_are_told_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, written = tmp_path / "requirements.txt", tmp_path / "adapted"
    given.write_text("torch==1.13.1+cpu\npip>=21\nclick==7.1.2\n", encoding="utf-8")
    assert requirements.main(["--variant", "cpu", "--output", str(written), str(given)]) == 0
    assert written.read_text(encoding="utf-8") == "torch==1.13.1\nclick==7.1.2\n"
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert "taken as torch==1.13.1 (" in told[0] and "PYTORCH_INDEX_URL" in told[0]
    assert "pip>=21: left out (" in told[1]


def test_what_a_rule_adds_wins_over_what_the_environment_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, written, constraints = (tmp_path / name for name in ("requirements.txt", "adapted", "constraints"))
    given.write_text("datasets==2.11.0\n", encoding="utf-8")
    constraints.write_text(
        "# as of 2023-10-30\nPyArrow==6.0.1\ndatasets==2.11.0\npyarrow-hotfix==0.5\n", encoding="utf-8"
    )
    options = ["--variant", "cuda", "--output", str(written), "--constraints", str(constraints), str(given)]
    assert requirements.main(options) == 0
    assert constraints.read_text(encoding="utf-8").splitlines() == [
        "# as of 2023-10-30", "datasets==2.11.0", "pyarrow-hotfix==0.5",
    ]  # fmt: skip
    assert "datasets==2.11.0: taken as datasets==2.11.0 and pyarrow>=8.0.0 (" in capsys.readouterr().out


def test_missing_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = requirements.main(["--variant", "cpu", "--output", str(tmp_path / "out"), str(tmp_path / "absent.txt")])
    assert status == 1
    assert "absent.txt" in capsys.readouterr().err


def test_target_is_this_machine(tmp_path: Path) -> None:
    given, written = tmp_path / "requirements.txt", tmp_path / "adapted"
    given.write_text("ipcl-python==2.0.0\n", encoding="utf-8")
    assert requirements.main(["--variant", "cpu", "--output", str(written), str(given)]) == 0
    kept = platform.machine() == "x86_64" and sys.version_info[:2] == (3, 8)
    assert written.read_text(encoding="utf-8") == ("ipcl-python==2.0.0\n" if kept else "")
