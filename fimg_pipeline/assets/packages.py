"""Package assets: one per package of the catalog, content-addressed; an equal tree is packaged once for all tags."""

import dagster as dg

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import SOURCE, base_key, log_page, package_key
from fimg_pipeline.assets.partitions import MATRIX
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import COMMIT, FINGERPRINT, ORIGIN
from fimg_pipeline.assets.source import commit_metadata
from fimg_pipeline.assets.steps import POOL, RETRIES, priority, step
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.packages import PACKAGES, Package
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.planning import context_files, ensure_recipe_bases, package_plan
from fimg_pipeline.progress import Event, What, report


def package_asset(package: Package) -> dg.AssetsDefinition:
    """The asset that makes ``package``."""

    @dg.asset(
        key=package_key(package.name),
        deps=[SOURCE, *map(base_key, RECIPES[package.recipe].bases)],
        partitions_def=MATRIX,
        group_name=group("packages"),
        kinds={package.kind, "docker"},
        owners=["team:fate-release"],
        code_version="1",
        op_tags=priority(image.name for image in IMAGES.values() if package.name in image.recipe.packages),
        pool=POOL,
        retry_policy=RETRIES,
        description=f"{package.description}\n\nKept on the engine as an image named by its content.",
    )
    def make(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        with step(context, pipeline, "package", package.name) as (session, log):
            platform = package.platform(session.settings.platform, session.engine.platform)
            ensure_recipe_bases(session.settings, session.engine, package.recipe, platform, log)
            planned, source = package_plan(session.settings, session.engine, package.name, session.source_key)
            origin = source.repositories[package.repositories[0]]
            outcome = session.builder.make(
                planned, origin, source.version, context_files(session.settings.home, planned, source), log
            )
            session.builder.share(planned, outcome.image_id, log)
            what: What = "built" if outcome.built else "reused"
            report(session.settings.home, context.run.run_id, Event("package", package.name, what, outcome.seconds))
            record = session.engine.inspect(outcome.image_id) or {}
            return dg.MaterializeResult(
                data_version=dg.DataVersion(planned.fingerprint),
                tags={FINGERPRINT: planned.fingerprint, COMMIT: source.fate.commit, ORIGIN: origin.commit},
                metadata={
                    "result": "built" if outcome.built else "reused: this content was packaged before",
                    "commit": commit_metadata(origin),
                    "reference": planned.stage,
                    "size_mb": round(record.get("Size", 0) / 1e6, 1),
                    "seconds": round(outcome.seconds, 1),
                    "log": dg.MetadataValue.url(log_page(context.run.run_id, package_key(package.name))),
                    "left out": ", ".join(planned.source.missing) or "nothing",
                },
            )

    return make


PACKAGE_ASSETS = [package_asset(package) for package in PACKAGES.values()]
