"""Nodes of Kuscia, started once for all tests of registering, and what these register."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.kuscia.registering import DOMAINS, Images, Register
from fimg_pipeline_tests.rig.kuscia import Kuscia, kuscia


@pytest.fixture(scope="package")
def center() -> Iterator[Kuscia]:
    """A master, and lites of two domains."""
    with kuscia() as rig:
        rig.start("master", ["master"])
        rig.start("lite", [f"lite-{domain}" for domain in DOMAINS])
        yield rig


@pytest.fixture(scope="package")
def p2p() -> Iterator[Kuscia]:
    """Two autonomies."""
    with kuscia() as rig:
        rig.start("autonomy", [f"autonomy-{domain}" for domain in DOMAINS])
        yield rig


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register(tmp_path / "home")


@pytest.fixture
def images(engine: Engine) -> Iterator[Images]:
    made = Images(engine, [])
    yield made
    for name in dict.fromkeys(made.names):
        engine.remove(name)
