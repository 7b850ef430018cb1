"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.sample import SampleSource
from fimg_pipeline_tests.automation.handmade import Handmade, environ_of
from fimg_pipeline_tests.rig.hook import Hook, webhook


@pytest.fixture
def watched(sample: SampleSource, tmp_path: Path) -> Any:
    environ = environ_of(sample, tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Handmade(tmp_path, environ, instance)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as server:
        yield server
