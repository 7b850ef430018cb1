"""Measures the main job on the sample source and writes docs/performance.md.

Everything is measured in one run on this machine, against the same recipes built one after another, as the old script
does it: two fresh Docker engines of their own, equal base images, empty caches. Figures are ratios; the seconds behind
them only say how large the sample is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.engine import SecondEngine, second_engine

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "docs" / "performance.md"

#: The serial loop: the plan's packages and images in build order, each by one `docker build`, nothing else.
SERIAL = """
from fimg_pipeline.engine.builder import Builder
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.settings import load
from fimg_pipeline.planning import context_files, current_plan
settings, engine = load(), Engine()
plan = current_plan(settings, engine)
builder = Builder(engine, settings)
origin = plan.source.fate, plan.source.version
for package in plan.packages:
    builder.make(package, *origin, context_files(settings.home, package, plan.source), print)
for image in plan.buildable:
    outcome = builder.make(image, *origin, (), print)
    builder.name(image, outcome.image_id)
"""


@dataclass(frozen=True)
class Span:
    """Wall time, and what all processors of the machine spent on work meanwhile; both in seconds."""

    seconds: float
    work: float

    @property
    def busy(self) -> float:
        """Processors at work, on average."""
        return self.work / self.seconds


@dataclass(frozen=True)
class Figures:
    """Seconds of wall time, and counts of builds."""

    serial: Span
    cold: Span
    again: float
    again_builds: int
    plan: float
    proxy: float
    proxy_builds: int
    renamed: float
    steps: int


def processor_seconds() -> float:
    """What all processors have worked since the machine started (proc_stat(5): all but idle and iowait)."""
    user, nice, system, _idle, _iowait, *others = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def timed(action: Callable[[], object]) -> float:
    return observed(action).seconds


def observed(action: Callable[[], object]) -> Span:
    started, worked = time.monotonic(), processor_seconds()
    action()
    return Span(time.monotonic() - started, processor_seconds() - worked)


@contextmanager
def fresh_engine() -> Iterator[SecondEngine]:
    """An empty engine that has nothing but the external bases."""
    with second_engine() as engine:
        for base in BASES.values():
            engine.load(base.local_reference("amd64"))
        yield engine


def succeeded(fimg: Fimg, *arguments: str) -> str:
    result = fimg(*arguments)
    if result.status != 0:
        sys.exit(f"fimg {' '.join(arguments)} failed:\n{result.output}")
    return result.output


def measure(folder: Path) -> Figures:
    sample = create_sample(folder / "src")
    common = {"TAG": "bench", "Docker_Options": "--network=host", **switches(*Feature)}

    with fresh_engine() as engine:
        loop = Fimg(folder / "serial", sample, {**common, "DOCKER_HOST": engine.host})
        loop.folder.mkdir()
        command = [sys.executable, "-c", SERIAL]
        serial = observed(
            lambda: subprocess.run(
                command, env=loop.environment, cwd=loop.folder, check=True, stdout=subprocess.DEVNULL
            )
        )

    with fresh_engine() as engine:
        fimg = Fimg(folder / "fimg", sample, {**common, "DOCKER_HOST": engine.host})
        fimg.folder.mkdir()
        cold = observed(lambda: succeeded(fimg, "build", "all"))
        fimg.builds()
        again = timed(lambda: succeeded(fimg, "build", "all"))
        again_builds = len(fimg.builds())
        plan = timed(lambda: succeeded(fimg, "plan"))
        found = json.loads(succeeded(fimg, "plan", "--json"))
        other = replace(fimg, settings={**fimg.settings, "TAG": "other", "BASE_TAG": "other"})
        renamed = timed(lambda: succeeded(other, "build", "all"))
        commit_change(sample.fate, "c/proxy/conf/note.conf", "# a note\n", "A note in the proxy")
        fimg.builds()
        proxy = timed(lambda: succeeded(fimg, "build", "all"))
        proxy_builds = len(fimg.builds())

    steps = 1 + len(found["images"]) + len(found["packages"])
    return Figures(serial, cold, again, again_builds, plan, proxy, proxy_builds, renamed, steps)


def report(figures: Figures) -> str:
    rows = [
        ("full matrix, cold, against the serial loop", f"{figures.cold.seconds / figures.serial.seconds:.2f}", "≤ 0.6"),
        ("nothing changed: builds", str(figures.again_builds), "0"),
        ("nothing changed: seconds for 34 images, Dagster included", f"{figures.again:.1f}", "≤ 15"),
        ("`fimg plan`: seconds", f"{figures.plan:.1f}", "≤ 2"),
        ("one file of c/proxy, against the full matrix", f"{figures.proxy / figures.cold.seconds:.3f}", "≤ 0.05"),
        ("one file of c/proxy: builds (package and image)", str(figures.proxy_builds), "2"),
        (
            "Dagster's and our cost per step that builds nothing: seconds",
            f"{figures.renamed / figures.steps:.2f}",
            "≤ 0.5",
        ),
    ]
    table = "\n".join(f"| {what} | {value} | {goal} |" for what, value, goal in rows)
    processors = os.cpu_count() or 1
    floor = figures.serial.work / processors / figures.serial.seconds
    return f"""# Performance

Written by `make bench` ({processors} cores). Both sides of a ratio were measured in the same run: two fresh Docker
engines with equal base images and empty caches, the sample source, all 34 images. "Serial" is the same recipes and
contexts, one `docker build` after another with BuildKit, as `build.sh` does it, without Dagster.

| what | measured | goal |
|---|---|---|
{table}

The full matrix took {figures.cold.seconds:.0f} s here and the serial loop {figures.serial.seconds:.0f} s. The cost per
step is a run of all {figures.steps} assets under another tag, in which nothing is built, divided by their number.

The serial loop kept {figures.serial.busy:.2f} of the {processors} processors at work, the full matrix
{figures.cold.busy:.2f}. No order of the same work can therefore take less than {floor:.2f} of the loop's time here.
"""


def main() -> None:
    """Measures, and renews the figures of the report; sections below them are people's and stay."""
    with tempfile.TemporaryDirectory(prefix="fimg-bench-") as folder:
        figures = measure(Path(folder))
    notes = re.search(r"\n## .*", REPORT.read_text(), re.DOTALL) if REPORT.exists() else None
    REPORT.write_text(report(figures) + (notes[0] if notes else ""))
    print(report(figures))


if __name__ == "__main__":
    main()
