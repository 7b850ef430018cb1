"""Fixtures of several rooms: the sample source, made once and copied for tests that change it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleSource, create_sample


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> SampleSource:
    """A sample that no test changes."""
    return create_sample(tmp_path_factory.mktemp("pristine") / "sample")


@pytest.fixture
def sample(pristine: SampleSource, tmp_path: Path) -> SampleSource:
    """A sample of its own for a test that changes it."""
    original, copy = pristine.fate.parent, tmp_path / "sample"
    shutil.copytree(original, copy, symlinks=True)
    # git wrote down where the submodules come from: changes must go to the copy's origins.
    for configuration in copy.rglob("config"):
        if configuration.is_file():
            configuration.write_text(configuration.read_text().replace(str(original), str(copy)))
    return SampleSource(*(copy / path.name for path in (pristine.fate, pristine.fate_llm, pristine.ipcl)))
