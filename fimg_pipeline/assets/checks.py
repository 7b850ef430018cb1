"""Asset checks of every image, run in its own step: a failing one stops what is built on the image."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Final

import dagster as dg

from fimg_pipeline.assets.keys import image_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.pipeline import Session
from fimg_pipeline.assets.steps import Log
from fimg_pipeline.catalog.images import Image
from fimg_pipeline.catalog.platforms import docker_platform
from fimg_pipeline.engine.failures import first_error_line
from fimg_pipeline.plan.model import PlannedImage

ARCHITECTURE: Final = "architecture_is_the_platforms"
SIZE: Final = "size_did_not_jump"
SMOKE: Final = "its_program_answers"

#: Growth against the last materialization that a person should look at.
_GROWTH_WARNED: Final = 1.2
#: How many materializations are looked at for one that passed its checks.
_LOOKED_BACK: Final = 20
#: Emulated Python imports are slow; a program that hangs is not one that answers.
_SMOKE_TIMEOUT_SECONDS: Final = 300


def check_specs(image: Image) -> list[dg.AssetCheckSpec]:
    key = image_key(image.name)
    return [
        dg.AssetCheckSpec(
            ARCHITECTURE, asset=key, blocking=True, description="The image is of the partition's platform."
        ),
        dg.AssetCheckSpec(SIZE, asset=key, description="Not over 20 % larger than when it was last built."),
        dg.AssetCheckSpec(
            SMOKE,
            asset=key,
            blocking=True,
            description="In a fresh container without network its own program answers, as this says:"
            f"\n\n```\n{shlex.join(image.recipe.smoke)}\n```",
        ),
    ]


def run_checks(
    instance: dg.DagsterInstance, session: Session, planned: PlannedImage, image_id: str, log: Log
) -> list[dg.AssetCheckResult]:
    """All checks of one image that was just made or found."""
    record = session.engine.inspect(image_id) or {}
    return [
        architecture(planned, f"{record.get('Os')}/{record.get('Architecture')}"),
        size(instance, planned, record.get("Size", 0) / 1e6),
        _smoke(session, planned, image_id, log),
    ]


def architecture(planned: PlannedImage, actual: str) -> dg.AssetCheckResult:
    """Whether ``actual`` (``linux/amd64``) is the platform the image was planned for."""
    wanted = docker_platform(planned.platform)
    return dg.AssetCheckResult(
        passed=actual == wanted,
        check_name=ARCHITECTURE,
        description=f"{planned.reference} is {actual}" + ("" if actual == wanted else f", not {wanted}"),
        metadata={"platform": actual},
    )


def size(instance: dg.DagsterInstance, planned: PlannedImage, megabytes: float) -> dg.AssetCheckResult:
    """Whether the image is there and not much larger than the last one that passed its checks; only warns."""
    before = _size_before(instance, planned)
    jumped = before is not None and megabytes > before * _GROWTH_WARNED
    return dg.AssetCheckResult(
        passed=megabytes > 0 and not jumped,
        check_name=SIZE,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{megabytes:.1f} MB" + ("" if before is None else f", {before:.1f} MB before"),
        metadata={"size_mb": round(megabytes, 1)},
    )


def _size_before(instance: dg.DagsterInstance, planned: PlannedImage) -> float | None:
    tag = planned.reference.rpartition(":")[2]
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=image_key(planned.name), asset_partitions=[partition_key(planned.platform, tag)]
        ),
        limit=_LOOKED_BACK,
    ).records
    for record in found:
        materialization = record.asset_materialization
        # Only an image that passed its checks has a reference.
        if materialization is None or "reference" not in materialization.metadata:
            continue
        value = materialization.metadata.get("size_mb")
        if isinstance(value, (dg.FloatMetadataValue, dg.IntMetadataValue)) and value.value:
            return float(value.value)
    return None


def _smoke(session: Session, planned: PlannedImage, image_id: str, log: Log) -> dg.AssetCheckResult:
    """Runs the image's program, unless this very image passed before: its bytes can't have changed."""
    command = planned.image.recipe.smoke
    passed_before = _memory(session.settings.home, image_id, command)
    if passed_before.is_file():
        return dg.AssetCheckResult(
            passed=True, check_name=SMOKE, description="passed when this image was built", metadata={"image": image_id}
        )
    status, output = session.engine.run(image_id, command, timeout=_SMOKE_TIMEOUT_SECONDS)
    log(f"$ {shlex.join(command)}\n{output.rstrip()}\n(status {status})")
    if status == 0:
        passed_before.parent.mkdir(parents=True, exist_ok=True)
        passed_before.touch()
    return dg.AssetCheckResult(
        passed=status == 0,
        check_name=SMOKE,
        description=f"status {status}: {first_error_line(output.strip().splitlines())[:300]}" if status else "status 0",
        metadata={"command": json.dumps(command), "output": dg.MetadataValue.md(f"```\n{output[-2000:]}\n```")},
    )


def _memory(home: Path, image_id: str, command: tuple[str, ...]) -> Path:
    key = hashlib.sha256(json.dumps([image_id, command]).encode()).hexdigest()
    return home / "smoke" / key
