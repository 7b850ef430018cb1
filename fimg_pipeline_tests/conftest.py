"""Fixtures of several rooms: the sample source, made once and copied for tests that change it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import SampleSource, create_sample
from fimg_pipeline_tests.rig.command import Fimg
from fimg_pipeline_tests.rig.demo import demo
from fimg_pipeline_tests.rig.registry import Registry, registry

# Started in the background of a script, SIGINT comes ignored. Dagster, where tests run it in this process, would have
# SIGTERM ignored too then, and whatever tests start could not be ended by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> SampleSource:
    """A sample that no test changes."""
    made = create_sample(tmp_path_factory.mktemp("pristine") / "sample")
    for repository in _repositories(made.fate.parent):
        # A pack instead of hundreds of files, for the copies.
        subprocess.run(["git", "--git-dir", repository, "repack", "-adq"], check=True)
    return made


@pytest.fixture(scope="session")
def fimg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fimg]:
    """The command on a sample of its own, whose images are built once for all tests on the engine."""
    with demo(tmp_path_factory.mktemp("demo")) as command:
        yield command


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def hub() -> Iterator[Registry]:
    """An empty registry."""
    with registry() as started:
        yield started


@pytest.fixture
def sample(pristine: SampleSource, tmp_path: Path) -> SampleSource:
    """A sample of its own for a test that changes it."""
    original, copy = pristine.fate.parent, tmp_path / "sample"
    subprocess.run(["cp", "--archive", original, copy], check=True)
    # git wrote down where the submodules come from: changes must go to the copy's origins.
    for repository in _repositories(copy):
        configuration = repository / "config"
        configuration.write_text(configuration.read_text().replace(str(original), str(copy)))
    return SampleSource(*(copy / path.name for path in (pristine.fate, pristine.fate_llm, pristine.ipcl)))


def _repositories(folder: Path) -> list[Path]:
    """The git folders of a sample, its submodules' included."""
    return [*folder.glob("*.git"), *folder.glob("*/.git"), *folder.glob("fate/.git/modules/*")]
