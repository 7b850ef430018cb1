"""Image assets: one per image of the catalog, always all of them; the switches only choose what jobs select."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fimg_pipeline.assets.checks import check_specs, run_checks
from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import SOURCE, base_key, image_key, log_page, package_key
from fimg_pipeline.assets.partitions import MATRIX
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import COMMIT, FINGERPRINT, IMAGE_ID
from fimg_pipeline.assets.source import commit_metadata
from fimg_pipeline.assets.steps import POOL, RETRIES, priority, step, verdict
from fimg_pipeline.catalog.images import IMAGES, Image, unbuildable_reason
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.plan.model import PlannedImage
from fimg_pipeline.planning import ensure_recipe_bases
from fimg_pipeline.progress import Event, What, log_path, report


def image_asset(image: Image) -> dg.AssetsDefinition:
    """The asset that builds ``image`` for one platform and tag."""
    key = image_key(image.name)
    recipe = image.recipe
    upstream = [package_key(name) for name in recipe.packages]
    upstream += [base_key(name) for name in recipe.bases]
    if image.parent is not None:
        upstream.append(image_key(image.parent))
    if (image.parent is None and not recipe.packages) or recipe.fate_env or recipe.source_date:
        upstream.append(SOURCE)

    @dg.asset(
        key=key,
        deps=upstream,
        partitions_def=MATRIX,
        group_name=group(image.group),
        kinds={"docker", image.recipe.kind},
        owners=["team:fate-release"],
        tags={"published": "yes" if image.published else "no"},
        code_version="1",
        op_tags=priority([image.name]),
        pool=POOL,
        retry_policy=RETRIES,
        check_specs=check_specs(image),
        description=_description(image),
    )
    def build(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Iterator[dg.MaterializeResult[Any]]:
        with step(context, pipeline, "image", image.name) as (session, log):
            ensure_recipe_bases(session.settings, session.engine, recipe.path, session.settings.platform, log)
            plan = session.plan([image.name])
            planned = plan.image(image.name)
            outcome = session.builder.make(planned, plan.source.origin, plan.source.version, (), log)
            record = session.engine.inspect(outcome.image_id) or {}
            checks = run_checks(context.instance, session, planned, outcome.image_id, log)
            failed = [check for check in checks if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR]
            if failed:
                session.builder.discard(planned)
            else:
                session.builder.name(planned, outcome.image_id)
                session.builder.share(planned, outcome.image_id, log)
            what: What = "failed" if failed else "built" if outcome.built else "reused"
            message = failed[0].description or "" if failed else ""
            report(
                session.settings.home, context.run.run_id, Event("image", image.name, what, outcome.seconds, message)
            )
            result: dg.MaterializeResult[Any] = dg.MaterializeResult(
                data_version=dg.DataVersion(planned.fingerprint),
                tags={FINGERPRINT: planned.fingerprint, COMMIT: plan.source.fate.commit},
                metadata={
                    "result": "a check failed: the image got no name"
                    if failed
                    else "built"
                    if outcome.built
                    else "reused: an image of this fingerprint was there",
                    **({} if failed else _names(planned)),
                    "commit": commit_metadata(plan.source.fate),
                    "uncommitted changes": plan.source.dirty,
                    **({"built because": planned.reason} if outcome.built else {}),
                    "seconds": round(outcome.seconds, 1),
                    "log": dg.MetadataValue.url(log_page(context.run.run_id, key)),
                    **_metadata(planned, record),
                    "log file": dg.MetadataValue.path(
                        str(log_path(session.settings.home, context.run.run_id, image.name))
                    ),
                },
                check_results=checks,
            )
        yield from verdict(result)

    return build


def _names(planned: PlannedImage) -> dict[str, Any]:
    pull = f"docker pull --platform linux/{planned.platform} {planned.reference}"
    return {
        "reference": planned.reference,
        **({"also tagged": ", ".join(planned.aliases)} if planned.aliases else {}),
        **({"pull once pushed": dg.MetadataValue.md(f"`{pull}`")} if planned.image.published else {}),
    }


def _metadata(planned: PlannedImage, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "size_mb": round(record.get("Size", 0) / 1e6, 1),
        "layers": len(record.get("RootFS", {}).get("Layers") or ()),
        IMAGE_ID: str(record.get("Id", "")),
        **(
            {"requirements adapted": dg.MetadataValue.md("\n".join(f"- {line}" for line in planned.adaptations))}
            if planned.adaptations
            else {}
        ),
        "fingerprint": planned.fingerprint,
    }


def _description(image: Image) -> str:
    # Lists show the first of it, as plain text.
    lines = [f"{image.description} {image.used_by[0].upper()}{image.used_by[1:]}.", ""]
    lines.append(
        f"- recipe `dockerfiles/{image.recipe_path}`, on "
        + (f"`{image.parent}`" if image.parent else "an external base")
    )
    switches = " and ".join(f"`{feature.variable}`" for feature in image.selected_by)
    lines.append(
        f"- built by default when {switches} {'are' if len(image.selected_by) > 1 else 'is'} on"
        if switches
        else "- always built"
    )
    lines.append("- pushed and bundled" if image.published else "- carries shared layers; neither pushed nor bundled")
    for platform in PLATFORMS:
        if reason := unbuildable_reason(image.name, platform):
            lines.append(f"- can't be built for {platform}: {reason}")
    lines += [f"- also tagged `{alias}`" for alias in image.aliases]
    return "\n".join(lines)


IMAGE_ASSETS = [image_asset(image) for image in IMAGES.values()]
