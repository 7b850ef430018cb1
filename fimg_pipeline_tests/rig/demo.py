"""The matrix of the sample source, as tests build, change and compare it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline_tests.rig.command import Fimg, switches

#: Of this run alone: another one on the same engine must not take its names away.
PREFIX = f"fimg-test.invalid:5000/run-{uuid.uuid4().hex[:12]}"


@contextmanager
def demo(folder: Path) -> Iterator[Fimg]:
    """``fimg`` with everything on. Its names are taken off the engine afterwards; the layers stay for the next time."""
    sample = create_sample(folder / "src")
    yield Fimg(folder, sample, {"PREFIX": PREFIX, "TAG": "demo", "BASE_TAG": "demo-base", **switches(*Feature)})
    remove_names(Engine(), PREFIX)


def remove_names(engine: Engine, prefix: str) -> None:
    """Takes all names below ``prefix`` off the engine."""
    for image in engine.state().images:
        for name in image.references:
            if name.startswith(f"{prefix}/"):
                engine.remove(name)


def ids(engine: Engine, tag: str = "demo", base_tag: str = "demo-base") -> dict[str, str]:
    """Image ids by image name, of those that are there."""
    by_reference = engine.state().by_reference
    wanted = {name: f"{PREFIX}/{name}:{base_tag if image.is_base else tag}" for name, image in IMAGES.items()}
    return {name: by_reference[full].image_id for name, full in wanted.items() if full in by_reference}


def reference(name: str) -> str:
    return f"{PREFIX}/{name}:{'demo-base' if IMAGES[name].is_base else 'demo'}"


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in IMAGES if before.get(name) != after.get(name)}


@contextmanager
def broken(fimg: Fimg, path: str, text: str) -> Iterator[None]:
    """Has ``text`` committed as ``path`` of FATE for the block, and what was there before again after it."""
    good = (fimg.sample.fate / path).read_text()
    commit_change(fimg.sample.fate, path, text, "Broken")
    try:
        yield
    finally:
        commit_change(fimg.sample.fate, path, good, "Mended")


def wait_for_build(fimg: Fimg, what: str) -> None:
    """Until the docker client was asked to build ``what``."""
    wait_until(lambda: fimg.calls.exists() and what in fimg.calls.read_text(), f"no build of {what}")


def wait_until(there: Callable[[], object], otherwise: str, seconds: float = 120) -> None:
    """Until ``there()`` is true; ``otherwise`` says what is not, after that time."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"{otherwise} within {seconds} s"
        time.sleep(0.005)
