"""What became of every image of a real release on this machine: the table of docs/fate-1.11.2.md, when it is that one.

``make fate-1.11.2`` runs it after the build. Sizes and layers are the engine's, seconds those of the build in Dagster.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from fimg_pipeline.assets.keys import image_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.settings import load

REPORT = Path(__file__).parent.parent / "docs" / "fate-1.11.2.md"
REPORTED = "1.11.2"
COLUMNS = ("image", "built", "size, MB", "on top of its parent, MB", "layers", "fingerprint", "seconds")
BEGIN, END = "<!-- written by make fate-1.11.2 -->", "<!-- end -->"


def planned() -> dict[str, Any]:
    """``fimg plan --json`` with the settings of this process; where it fails it has said why."""
    command = [str(Path(sys.executable).parent / "fimg"), "plan", "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seconds(instance: dg.DagsterInstance, name: str, platform: str, tag: str, fingerprint: str) -> float | None:
    """How long the build of this fingerprint took; ``None`` when it was not built by this instance."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=image_key(name), asset_partitions=[partition_key(platform, tag)]), limit=100
    ).records
    for record in found:
        made = record.asset_materialization
        if (
            made
            and (made.tags or {}).get("fimg/fingerprint") == fingerprint
            and made.metadata["result"].value == "built"
        ):
            return float(str(made.metadata["seconds"].value))
    return None


def measured(report: str) -> dict[tuple[str, str], str]:
    """The seconds a report has, by image and the beginning of its fingerprint: what is reused was not built again."""
    rows = (line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("| "))
    return {(cells[0], cells[-2]): cells[-1] for cells in rows if len(cells) == len(COLUMNS)}


def table(plan: dict[str, Any]) -> str:
    engine = Engine()
    rows = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    before = measured(REPORT.read_text())
    sizes: dict[str, float] = {}
    with open_instance(load()) as instance:
        for image in plan["images"]:
            name = image["name"]
            if image["status"] != "current":
                rows.append(f"| {name} | no: {image['reason']} | | | | | |")
                continue
            record = engine.inspect(image["reference"]) or {}
            sizes[name] = record["Size"] / 1e6
            own = sizes[name] - sum(sizes.get(parent, 0.0) for parent in image["parents"])
            took = seconds(instance, name, plan["platform"], plan["tag"], image["fingerprint"])
            layers = len(record["RootFS"]["Layers"])
            made_of = image["fingerprint"][:12]
            old = before.get((name, made_of), "")
            spent = old if took is None else f"{took:.0f}" if took >= 1 else f"{took:.1f}"
            rows.append(f"| {name} | yes | {sizes[name]:.0f} | {max(own, 0):.1f} | {layers} | {made_of} | {spent} |")
    return "\n".join(rows)


def adaptations(plan: dict[str, Any]) -> str:
    """What is changed in FATE's requirement files, each line once."""
    lines = dict.fromkeys(line for image in plan["images"] for line in image["adaptations"])
    return "\n".join(f"- {line}" for line in lines)


def main() -> None:
    plan = planned()
    source = plan["source"]
    text = f"""{BEGIN}
FATE {source["version"]}, {source["ref"]} at `{source["commit"][:12]}`, {plan["platform"]}, {os.cpu_count()} cores.

{table(plan)}

Changed in FATE's requirement files:

{adaptations(plan)}
{END}"""
    print(text)
    if source["version"] != REPORTED:
        print(f"{REPORT.name} is about FATE {REPORTED} and stays as it is")
        return
    if BEGIN not in REPORT.read_text():
        sys.exit(f"{REPORT} has no line {BEGIN}")
    REPORT.write_text(re.sub(f"{BEGIN}.*{END}", lambda _match: text, REPORT.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
