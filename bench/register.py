"""Measures registering an image on one node of Kuscia and on four, and renews its part of docs/performance.md.

Side by side in one run: ``fimg register``, and for each node in turn ``docker save`` into the node's ``ctr``, as
Kuscia's shell tool does (which keeps a file in between). Every time on fresh nodes. Figures are ratios.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.performance import renew
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import create_sample
from fimg_pipeline_tests.rig.command import FIMG, Fimg, environment, switches
from fimg_pipeline_tests.rig.demo import remove_names
from fimg_pipeline_tests.rig.kuscia import CTR, Kuscia, KusciaNode, kuscia

PREFIX = "fimg-bench.invalid:5000/fate"
IMAGE = f"{PREFIX}/fateflow:bench"
COUNTS = (1, 4)


def registered(rig: Kuscia, nodes: Sequence[KusciaNode], home: Path) -> float:
    """Seconds of ``fimg register`` on ``nodes``."""
    domains = [node.name.rpartition("-")[2] for node in nodes]
    started = time.monotonic()
    done = subprocess.run(
        [FIMG, "register", "-m", "center", "-u", rig.user, "-i", IMAGE, "-d", ",".join(domains)],
        env={**environment(), "FIMG_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    return time.monotonic() - started


def serially(nodes: Sequence[KusciaNode]) -> float:
    """Seconds of an import into one node after another."""
    client, started = Engine().cli, time.monotonic()
    for node in nodes:
        with subprocess.Popen([client, "save", IMAGE], stdout=subprocess.PIPE) as saving:
            importing = [client, "exec", "-i", node.name, *CTR.split(), "images", "import", "--no-unpack", "-"]
            subprocess.run(importing, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - started


def measure(folder: Path) -> tuple[dict[str, float], int]:
    """Seconds by what was done, and the size of the image."""
    engine = Engine()
    fimg = Fimg(
        folder / "fimg", create_sample(folder / "src"), {"PREFIX": PREFIX, "TAG": "bench", **switches(*Feature)}
    )
    fimg.folder.mkdir()
    fimg.succeeds("build", "--image", "fateflow")
    record = engine.inspect(IMAGE)
    assert record is not None
    seconds: dict[str, float] = {}
    with kuscia() as rig:
        rig.start("master", ["master"])
        groups = {
            name: rig.start("lite", [f"lite-{name}{number}" for number in range(count)])
            for name, count in {"f": 1, "a": COUNTS[0], "b": COUNTS[1], "c": COUNTS[0], "d": COUNTS[1]}.items()
        }
        seconds["first"] = registered(rig, groups["f"], folder / "home")
        for name, count in zip("ab", COUNTS, strict=True):
            seconds[f"ours {count}"] = registered(rig, groups[name], folder / "home")
        for name, count in zip("cd", COUNTS, strict=True):
            seconds[f"serial {count}"] = serially(groups[name])
        seconds["again"] = registered(rig, groups["b"], folder / "home")
    remove_names(engine, PREFIX)
    return seconds, int(record["Size"])


def report(seconds: dict[str, float], size: int) -> str:
    one, four = (seconds[f"ours {count}"] for count in COUNTS)
    rows = [
        ("four nodes against one", four / one),
        (
            "the same by `docker save` into each node's `ctr`, one after the other",
            seconds["serial 4"] / seconds["serial 1"],
        ),
        ("four nodes against that loop over four", four / seconds["serial 4"]),
        ("an image that is read and compressed first, against one that the store has", seconds["first"] / one),
        ("four nodes that have the image, against the first time", seconds["again"] / four),
    ]
    table = "\n".join(f"| {what} | {value:.2f} |" for what, value in rows)
    return f"""## Registering

Written by `make bench` ({os.cpu_count()} cores): `fateflow` of the sample, {size / 1e6:.0f} MB, by `fimg register` on
fresh nodes, all on the same machine; whole commands, the AppImage and looking at every node included. Wall time.

| what | ratio |
|---|---|
{table}

One node took {one:.1f} s, four {four:.1f} s, the loop over four {seconds["serial 4"]:.1f} s. The nodes share
{os.cpu_count()} processors with each other here: every one of them hashes and writes what it gets.
"""


def main() -> None:
    """Measures, and renews our part of the report."""
    with tempfile.TemporaryDirectory(prefix="fimg-bench-") as folder:
        renew("bench/register.py", report(*measure(Path(folder))))


if __name__ == "__main__":
    main()
