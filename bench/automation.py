"""Measures what looks every minute, over many tags, and renews its part of docs/performance.md.

An instance in memory has all images and packages of 200 tags on two platforms on record: 198 releases, built, pushed
and bundled, with their lists, and two tags that are followed. With FATE_DIR set to a checkout of the real FATE, ticks
over it are measured too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from bench.performance import renew
from fimg_pipeline.assets.bundles import bundled_fingerprint
from fimg_pipeline.assets.keys import LISTS, PUBLISHED, SOURCE, bundle_key, planned_key
from fimg_pipeline.assets.partitions import TAG_PARTITIONS, partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.publishing import listed_fingerprint, pushed_fingerprint
from fimg_pipeline.assets.records import COMMIT, FINGERPRINT
from fimg_pipeline.automation import commits, deliveries, notifications
from fimg_pipeline.automation.broken import State
from fimg_pipeline.automation.jobs import build_jobs
from fimg_pipeline.automation.sensors import sensors
from fimg_pipeline.automation.watching import Memory
from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.sample import create_sample
from fimg_pipeline.settings import load
from fimg_pipeline.ship.folder import BUNDLES
from fimg_pipeline.source.store import Remotes
from fimg_pipeline.source.tags import record

TAGS = 200
_SWITCHES = ("Basic", "OP", "FUM", "NN", "Spark", "IPCL", "GPU", "LLM")


@contextmanager
def settings_of(folder: Path, fate: Path, *off: str, **more: str) -> Iterator[None]:
    """The environment of a pipeline of its own while the block runs; all switches are on but for those ``off``."""
    before = dict(os.environ)
    os.environ.update({f"Build_{name}": "0" if name in off else "1" for name in _SWITCHES})
    own = {"FATE_DIR": str(fate), "FIMG_HOME": str(folder / "home"), "WATCHED_PLATFORMS": ",".join(PLATFORMS)}
    os.environ.update({**own, **more})
    os.environ.pop("TAG", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def loading(module: str) -> float:
    """Seconds of a process that imports ``module``, compiled before as Python does unless it is forbidden to."""
    command = [sys.executable, "-c", f"import {module}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return min(_timed(lambda: subprocess.run(command, check=True, env=environment)) for _ in range(3))


def fill(instance: dg.DagsterInstance, fate: Path) -> int:
    """Records all that is planned for every tag and platform; how many materializations that are."""
    git = ["git", "-C", str(fate)]
    home = load().home
    names = [f"1.11.{number}-release" for number in range(100, 100 + TAGS - 2)]
    for name in names:
        subprocess.run(
            [*git, "tag", "-f", f"v{name.removesuffix('-release')}", "HEAD"], check=True, capture_output=True
        )
        record(home, name, f"v{name.removesuffix('-release')}")
    record(home, "mine", subprocess.check_output([*git, "branch", "--show-current"], text=True).strip())
    tags = [load().tag, "mine", *names]
    instance.add_dynamic_partitions(TAG_PARTITIONS, tags)
    count = 0
    pushed: dict[Platform, str] = {}

    def report(key: dg.AssetKey, partition: str, **more: str) -> None:
        nonlocal count
        made = dg.AssetMaterialization(key, partition=partition, tags=more, metadata={"reference": "x"})
        instance.report_runless_asset_event(made)
        count += 1

    for platform in PLATFORMS:
        settings = load({"Platform": platform})
        plan = Pipeline().plan(settings, Pipeline().engine_state(None), Remotes())
        items = [(SOURCE, ""), *((planned_key(item), item.fingerprint) for item in (*plan.packages, *plan.buildable))]
        carried = {image: plan.image(image).fingerprint for image in plan.bundle}
        pushed[platform] = pushed_fingerprint(carried, settings.prefix)
        delivered = [
            (PUBLISHED, pushed[platform]),
            *((bundle_key(name), bundled_fingerprint(name, carried, settings)) for name in BUNDLES),
        ]
        for tag in tags:
            for key, fingerprint in [*items, *(delivered if tag in names else ())]:
                known = {FINGERPRINT: fingerprint} if fingerprint else {}
                report(key, partition_key(platform, tag), **{COMMIT: plan.source.fate.commit, **known})
    for tag in names:
        report(LISTS, tag, **{FINGERPRINT: listed_fingerprint(pushed)})
    return count


def tick(instance: dg.DagsterInstance, name: str, cursor: str = "") -> str:
    """One tick of a sensor; the cursor it leaves."""
    sensor: Any = next(each for each in sensors(build_jobs(load())) if each.name == name)
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        found = sensor(context, pipeline=Pipeline())
    return str(found.cursor or "")


def goes_on_with(cursor: str) -> str:
    """The tag that the next tick begins with, empty where the last came to the end."""
    return State.model_validate_json(cursor).next if cursor.startswith("{") else cursor


def _timed(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def around(instance: dg.DagsterInstance, name: str) -> tuple[float, int]:
    """Seconds of the longest tick of those that it takes to look at all tags once, and how many these are."""
    longest, count, cursor = 0.0, 0, ""
    while goes_on_with(cursor) or not count:
        started = time.monotonic()
        cursor = tick(instance, name, cursor)
        longest, count = max(longest, time.monotonic() - started), count + 1
    return longest, count


def real(folder: Path, fate: Path) -> list[str]:
    """Ticks over three tags of the real FATE, of which one is followed."""
    with (
        settings_of(folder, fate, "LLM", "IPCL", "GPU", WATCHED_PLATFORMS="amd64"),
        dg.DagsterInstance.local_temp(str(folder)) as instance,
    ):
        for version in ("1.11.1", "1.11.2"):
            record(load().home, f"{version}-release", f"v{version}")
        git = ["git", "-C", str(fate)]
        commits = subprocess.check_output([*git, "rev-list", "--count", "--all"], text=True).strip()
        tags = len(subprocess.check_output([*git, "tag"], text=True).splitlines())
        tick(instance, "commits")
        again = _timed(lambda: tick(instance, "commits"))
    return [f"| a tick of `commits`, real FATE ({commits} commits, {tags} tags), three tags | {again:.1f} s | 2 s |"]


def main() -> None:
    """Measures and writes."""
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    given = os.environ.get("FATE_DIR")
    with tempfile.TemporaryDirectory(dir=memory) as text:
        folder = Path(text)
        for name in ("many", "real"):
            (folder / name).mkdir()
        sample = create_sample(folder / "src")
        own = {"FATE_LLM_URL": str(sample.fate_llm), "IPCL_PKG_DIR": str(sample.ipcl), "AFTER_BUILD": "push, bundle"}
        own["NOTIFY_URLS"] = "json://127.0.0.1:9"
        rows = []
        with (
            settings_of(folder / "many", sample.fate, **own),
            dg.DagsterInstance.local_temp(str(folder / "many")) as instance,
        ):
            whole, theirs = loading("fimg_pipeline.definitions"), loading("dagster")
            rows.append(f"| loading the definitions; Dagster's import alone {theirs:.1f} s | {whole:.1f} s | 2 s |")
            made = fill(instance, sample.fate)
            for name in ("commits", "deliveries", "notifications"):
                commits._MEMORY, deliveries._MEMORY, notifications._MEMORY = Memory(), Memory(), Memory()  # type: ignore[misc]
                for when in ("first of a process", "next"):
                    longest, count = around(instance, name)
                    what = f"`{name}` once around all tags, the {when}: longest of {count} ticks"
                    rows.append(f"| {what} | {longest:.1f} s | 10 s |")
        rows += real(folder / "real", Path(given)) if given else []
    renew(
        "bench/automation.py",
        f"""## Looking every minute

{TAGS} tags on {len(PLATFORMS)} platforms, all images and packages of them on record: {made} materializations;
of the two that are followed nothing is on the engine, so both are planned each time.

| what | measured | goal |
|---|---|---|
"""
        + "\n".join(rows),
    )


if __name__ == "__main__":
    main()
