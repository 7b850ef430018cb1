"""The Dagster instance and the web UI, as ``fimg setup`` and ``fimg ui`` start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import create_sample
from fimg_pipeline_tests.rig.command import FIMG, Fimg, environment, switches
from fimg_pipeline_tests.rig.web import ended, launch, repository, until, web_ui

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).parents[1]
PREFIX = f"fimg-test.invalid:5000/ui{os.getpid()}"


def test_the_first_commands_of_a_machine_can_come_at_once(tmp_path: Path) -> None:
    # Of two people, with one instance.
    (tmp_path / "dagster").mkdir()
    commands = [
        subprocess.Popen(
            [FIMG, "setup"],
            env={**environment(), "FIMG_HOME": str(tmp_path / home), "DAGSTER_HOME": str(tmp_path / "dagster")},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for home in ("one", "one", "other")
    ]
    told = [command.communicate(timeout=120)[0].decode() for command in commands]
    assert [command.returncode for command in commands] == [0, 0, 0], told


def test_what_was_installed_from_a_wheel_has_all_it_needs(tmp_path: Path) -> None:
    """On a machine without internet there is no checkout."""
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, PROJECT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "installed", wheel], check=True)
    installed = {"PYTHONPATH": str(tmp_path / "installed"), "FIMG_HOME": str(tmp_path / "home")}
    code = "from fimg_pipeline.cli import instance, main; print(instance.WORKSPACE.read_text()); main.entry()"
    done = subprocess.run(
        [sys.executable, "-c", code, "setup"],
        env={**environment(), **installed},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fimg_pipeline.definitions" in done.stdout
    assert (tmp_path / "home/dagster/dagster.yaml").resolve().is_relative_to(tmp_path / "installed")


@pytest.mark.parametrize(
    ("file", "why"), [("history/runs.db", "file is not a database"), ("dagster.yaml", 'dagster.yaml", line 1')]
)
def test_a_damaged_instance_is_told_with_what_to_do(tmp_path: Path, file: str, why: str) -> None:
    given = {**environment(), "FIMG_HOME": str(tmp_path / "home")}
    first = _set_up(given, tmp_path)
    damaged = tmp_path / "home/dagster" / file
    # Not written through the link to the project's own.
    damaged.unlink()
    damaged.write_text("damaged: [")
    second = _set_up(given, tmp_path)
    assert first.returncode == 0, first.stderr
    assert second.returncode == 1
    assert why in second.stderr and "move that folder away" in second.stderr, second.stderr
    assert "Traceback" not in second.stderr


def _set_up(given: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FIMG, "setup"], env=given, cwd=folder, capture_output=True, text=True, check=False)


def test_flags_win_over_the_environment_and_that_over_dotenv_in_the_web_ui(tmp_path: Path) -> None:
    given = {"PREFIX": "fimg-test.invalid:5000/environment", **switches(Feature.BASIC, Feature.NN)}
    fimg = Fimg(tmp_path, create_sample(tmp_path / "src"), given)
    # As in .env.example: Dagster would put it into the environment, with nothing for the version.
    (tmp_path / ".env").write_text("PREFIX=dotenv\nBuild_NN=0\nBASE_TAG=${version}-base\n")
    # Python would take it for the module that Dagster needs.
    (tmp_path / "gql.py").write_text("raise RuntimeError('a file of the user')\n")
    with web_ui(fimg, "--prefix", PREFIX, "--tag", "ui") as (address, _):
        described = {job["name"]: job["description"] for job in repository(address)["jobs"]}
        assert "Build_NN=1" in described["build_amd64"]
        run = launch(address, "ui", ["nginx"], ["package", "proxy"])

        assert ended(address, run, 240) == "SUCCESS", fimg.said.read_text()
    engine = Engine()
    assert engine.inspect(f"{PREFIX}/nginx:ui") is not None
    engine.remove(f"{PREFIX}/nginx:ui")


def test_a_closed_terminal_ends_what_the_web_ui_builds(tmp_path: Path) -> None:
    given = {"PREFIX": PREFIX, "Docker_Options": "--no-cache --label=hung=up", **switches(Feature.BASIC)}
    fimg = Fimg(tmp_path, create_sample(tmp_path / "src"), given)

    def processes() -> list[str]:
        return [
            folder.name
            for folder in Path("/proc").glob("[0-9]*")
            if str(fimg.home).encode() in contents(folder / "environ")
        ]

    with web_ui(fimg, "--tag", "hup") as (address, group):
        launch(address, "hup", ["source"], ["package", "requirements"], ["base-image"])
        until(lambda: fimg.calls.exists() and "title=base-image" in fimg.calls.read_text(), 120)
        # Mirrors' passwords among it, as a build has them.
        assert list((fimg.home / "scratch").iterdir()) and processes()
        os.killpg(group, signal.SIGHUP)
        until(lambda: not processes(), 60)
        assert not list((fimg.home / "scratch").iterdir())


def contents(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
