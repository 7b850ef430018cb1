"""Bundle assets: the images of one platform and tag as files, for engines that no registry reaches."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import Field

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import bundle_key, image_key, log_page
from fimg_pipeline.assets.partitions import MATRIX
from fimg_pipeline.assets.pipeline import Pipeline, Session
from fimg_pipeline.assets.records import FINGERPRINT, delivered, passed
from fimg_pipeline.assets.source import commit_metadata
from fimg_pipeline.assets.steps import POOL, RETRIES, Log, step
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.plan.model import Plan
from fimg_pipeline.progress import Event, What, log_path, report, telling
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship import trial
from fimg_pipeline.ship.folder import FATE, THIRD_PARTY
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.lock import Lock, LockedImage
from fimg_pipeline.ship.save import Saved, Wanted, save
from fimg_pipeline.ship.third_party import third_party
from fimg_pipeline.ship.wanted import fate_images, folder_name, header, left_out, read_base, sources
from fimg_pipeline.values import choices, places

LOADS: Final = "loads_into_an_empty_engine"


class BundleConfig(dg.Config):
    """How a bundle is written."""

    output: str = Field("", description="Where its folder is made; empty: BUNDLE_DIR.")
    part_size: int | None = Field(
        None, ge=choices.SMALLEST_PART, description="Largest size of a file in bytes; null: the bundle is one file."
    )
    singles: list[str] = Field(
        [], description="Images that get an archive of their own too, for containerd and Kuscia: fateflow."
    )
    since: str = Field("", description="An images.lock.json: what its images have is left out.")


def bundle_asset(
    name: str,
    description: str,
    deps: list[dg.AssetKey],
    images: Callable[[dg.DagsterInstance, Session, Plan, Log], list[LockedImage]],
) -> dg.AssetsDefinition:
    """The asset that writes bundle ``name`` of ``images``."""
    key = bundle_key(name)

    @dg.asset(
        key=key,
        deps=deps,
        partitions_def=MATRIX,
        group_name=group("bundles"),
        kinds={"docker", "gzip"},
        owners=["team:fate-release"],
        code_version="1",
        pool=POOL,
        retry_policy=RETRIES,
        check_specs=[
            dg.AssetCheckSpec(
                LOADS, asset=key, description="`load.sh` loads it into an empty engine, where every image has its id."
            )
        ],
        description=description,
    )
    def write(context: dg.AssetExecutionContext, pipeline: Pipeline, config: BundleConfig) -> dg.MaterializeResult:
        with step(context, pipeline, "bundle", name) as (session, log):
            settings, run_id = session.settings, context.run.run_id
            say = telling(log, settings.home, run_id, "bundle", name)
            plan = session.plan_as_built(())
            base = read_base(_path(config.since), settings.platform) if config.since else None
            lock = header(plan, base)
            chosen = images(context.instance, session, plan, say)
            folder = settings.bundles(config.output) / folder_name(lock)
            saved = save(
                session.engine,
                LayerStore(settings.home / "store"),
                folder,
                Wanted(
                    name,
                    chosen,
                    sources=sources(plan) if name == FATE else {},
                    left_out=left_out(plan) if name == FATE else {},
                    part_size=config.part_size,
                    base=base,
                    singles=frozenset(config.singles),
                ),
                lock,
                say,
            )
            say(f"trying to load {name} into an empty engine")
            check = _loads(session, folder, name, saved, lock, log)
            refused = not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
            what: What = "failed" if refused else "reused" if saved.reused else "built"
            message = check.description or "" if refused else ""
            report(settings.home, run_id, Event("bundle", name, what, saved.seconds, message))
            # The whole one, where bundles are, which an engine did not refuse.
            usual = base is None and folder.parent == settings.bundles()
            made_of = {image: plan.image(image).fingerprint for image in plan.bundle}
            return dg.MaterializeResult(
                data_version=dg.DataVersion(_version(saved)),
                tags={FINGERPRINT: bundled_fingerprint(name, made_of, settings)} if usual and not refused else {},
                metadata={
                    "result": "reused: it was there, whole" if saved.reused else "written",
                    "folder": dg.MetadataValue.path(str(folder)),
                    "load": dg.MetadataValue.md(f"`sh load.sh {name}` in that folder"),
                    "commit": commit_metadata(plan.source.fate),
                    **_metadata(saved, lock),
                    "log": dg.MetadataValue.url(log_page(run_id, key)),
                    "log file": dg.MetadataValue.path(str(log_path(settings.home, run_id, f"bundle-{name}"))),
                },
                check_results=[check],
            )

    return write


def bundled_fingerprint(name: str, images: Mapping[str, str], settings: Settings) -> str:
    """What the asset of bundle ``name`` records when it holds ``images`` (name → fingerprint) or those of others."""
    where = str(settings.bundles())
    if name != FATE:
        return delivered({}, others=" ".join(settings.third_party_images), folder=where)
    return delivered(images, prefix=settings.prefix, folder=where)


def _metadata(saved: Saved, lock: Lock) -> dict[str, Any]:
    files = [
        dg.TableRecord({"name": file.name, "size": file.size, "sha256": file.sha256}) for file in saved.bundle.files
    ]
    images = [dg.TableRecord({"image": image.reference, "id": image.id}) for image in saved.bundle.images]
    return {
        "images": len(saved.bundle.images),
        "layers": sum(layer.included for layer in saved.bundle.layers.values()),
        "size_mb": round(saved.bundle.size / 1e6, 1),
        "files": dg.MetadataValue.table(files),
        "in it": dg.MetadataValue.table(images) if images else "no image",
        **({"stands on": lock.since} if lock.since else {}),
        "seconds": round(saved.seconds, 1),
    }


def _path(text: str) -> Path:
    try:
        return places.path(text)
    except ValueError as error:
        raise ShipError(f"{text!r} {error}") from None


def _version(saved: Saved) -> str:
    """Changes when an image does, or a file."""
    images = [(image.reference, image.id) for image in saved.bundle.images]
    files = [file.sha256 for file in saved.bundle.all_files]
    return hashlib.sha256(json.dumps([images, files]).encode()).hexdigest()


def _loads(session: Session, folder: Path, name: str, saved: Saved, lock: Lock, log: Log) -> dg.AssetCheckResult:
    """Tries loading, unless this very bundle passed before, by the same ``load.sh``: its bytes can't have changed."""
    loader = folders.loader(lock.model_copy(update={"bundles": {name: saved.bundle}}))
    key = hashlib.sha256(f"{_version(saved)} {loader}".encode()).hexdigest()
    passed_before = session.settings.home / "loaded" / key
    if passed_before.is_file():
        return dg.AssetCheckResult(
            passed=True, check_name=LOADS, description="these bytes were loaded before, by this load.sh"
        )
    tried = trial.load(session.engine, session.settings, folder, name, saved.bundle, log)
    if tried.passed:
        passed_before.parent.mkdir(parents=True, exist_ok=True)
        passed_before.touch()
    return dg.AssetCheckResult(
        passed=bool(tried.passed),
        check_name=LOADS,
        # One that could not be tried is none that failed.
        severity=dg.AssetCheckSeverity.WARN if tried.passed is None else dg.AssetCheckSeverity.ERROR,
        description=tried.summary,
        metadata={"output": dg.MetadataValue.md(f"```\n{tried.output[-2000:]}\n```")},
    )


BUNDLE_ASSETS: Final = [
    bundle_asset(
        FATE,
        "FATE's images in one archive for networks without internet, where operators load it with its own script.\n\n"
        "Those the switches select and that are published; all have to be up to date. Beside it are `load.sh`, "
        "`SHA256SUMS` and `images.lock.json`.",
        [image_key(image.name) for image in IMAGES.values() if image.published],
        lambda instance, session, plan, log: fate_images(
            plan, session.engine, lambda image: passed(instance, image, plan.tag)
        ),
    ),
    bundle_asset(
        THIRD_PARTY,
        "The database and what else a deployment needs beside FATE's images, in an archive of its own.\n\n"
        "`THIRD_PARTY_IMAGES`, pulled by digest when they are not there.",
        [],
        lambda instance, session, plan, log: third_party(
            session.settings, session.engine, session.settings.platform, log
        ),
    ),
]
