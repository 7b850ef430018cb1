"""The planner over all switch combinations, and what a change makes stale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, combinations

import pytest

from fimg_pipeline.catalog.bases import BASES, pulled_name
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES, unbuildable_reason
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.errors import FimgError
from fimg_pipeline.freshness import AS_IT_IS, Freshness
from fimg_pipeline.plan.model import EngineState, Plan, Status
from fimg_pipeline.plan.planner import make_plan, plan_package
from fimg_pipeline.plan.selection import UnbuildableError, Verb
from fimg_pipeline_tests.plan.samples import digest, engine_with, everything, make_settings, make_source

ALL = tuple(Feature)
COMBINATIONS = list(chain.from_iterable(combinations(ALL, count) for count in range(len(ALL) + 1)))


def plan(
    features: Iterable[Feature] = ALL,
    engine: EngineState | None = None,
    *,
    names: tuple[str, ...] = (),
    verb: Verb = Verb.ALL,
    contents: dict[str, str] | None = None,
    freshness: Freshness = AS_IT_IS,
    **environ: str,
) -> Plan:
    source = make_source(**(contents or {}))
    settings, engine = make_settings(features, **environ), engine or engine_with()
    return make_plan(settings, source, engine, digest, names=names, verb=verb, freshness=freshness)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_all_256_combinations(platform: Platform) -> None:
    assert len(COMBINATIONS) == 256
    for features in COMBINATIONS:
        found = plan(features, Platform=platform)
        chosen = {i.name for i in IMAGES.values() if set(i.selected_by) <= set(features)}
        assert {image.name for image in found.images if not image.added} == chosen
        seen: set[str] = set()
        for image in found.images:
            parent = image.image.parent
            assert parent is None or parent in seen
            seen.add(image.name)
            assert (image.status is Status.UNBUILDABLE) == (unbuildable_reason(image.name, platform) is not None)
            assert image.selected_by
        needed = {name for image in found.buildable for name in image.image.recipe.packages}
        assert {package.name for package in found.packages} == needed
        assert set(found.push) == {
            name for name in chosen if IMAGES[name].published and not unbuildable_reason(name, platform)
        }
        assert found.bundle == found.push


def test_everything_on_is_the_documents_list() -> None:
    found = plan()
    assert len(found.images) == 34 and len(found.push) == 27
    assert found.image("spark-base-nn").names == ("federatedai/spark-base-nn:t", "federatedai/spark-bash-nn:t")


def test_parents_are_added_with_the_reason() -> None:
    found = plan([Feature.SPARK])
    assert (found.image("fateflow").selected_by, found.image("fateflow").added) == ("parent of fateflow-spark", True)
    assert "fateflow" not in found.push and "fateflow-spark" in found.push


def test_references_use_tag_and_base_tag() -> None:
    found = plan(TAG="new", BASE_TAG="old", PREFIX="10.0.0.5:5000/federatedai")
    assert found.image("base-image").reference == "10.0.0.5:5000/federatedai/base-image:old"
    assert found.image("base-image-ipcl").reference == "10.0.0.5:5000/federatedai/base-image-ipcl:old"
    assert found.image("fateflow").reference == "10.0.0.5:5000/federatedai/fateflow:new"


def test_verbs() -> None:
    assert {i.name for i in plan(verb=Verb.BASE).images} == {"base-image", "base-image-ipcl"}
    modules = plan(verb=Verb.MODULES)
    assert {i.name for i in modules.images if i.added} == {"base-image", "base-image-ipcl"}
    packages = plan(verb=Verb.PACKAGE)
    assert not packages.images and len(packages.packages) == len(PACKAGES)


@pytest.mark.parametrize(
    ("features", "warning"),
    [
        ([Feature.BASIC, Feature.GPU], "Build_GPU=1 selects nothing"),
        ([Feature.BASIC, Feature.LLM], "Build_LLM=1 selects nothing"),
        ([], "all switches are off"),
    ],
)
def test_warnings(features: list[Feature], warning: str) -> None:
    assert any(text.startswith(warning) for text in plan(features).warnings)


def test_no_warning_where_the_switches_mean_something() -> None:
    assert not plan().warnings
    assert not plan([Feature.LLM, Feature.GPU]).warnings


def made(found: Plan, *, named: bool = True) -> EngineState:
    return engine_with(*everything(found), named=named)


def stale(found: Plan) -> set[str]:
    return {image.name for image in found.images if image.status is not Status.CURRENT}


def test_nothing_changed_nothing_stale() -> None:
    assert not plan(engine=made(plan())).outdated


def test_one_file_of_the_proxy_rebuilds_nginx_alone() -> None:
    found = plan(engine=made(plan()), contents={"proxy": "changed"})
    assert stale(found) == {"nginx"}
    assert found.image("nginx").reason == "changed: package proxy"
    assert [package.name for package in found.packages if package.status is Status.MISSING] == ["proxy"]


def test_requirements_rebuild_everything_on_base_image() -> None:
    found = plan(engine=made(plan()), contents={"requirements": "changed"})
    assert set(IMAGES) - stale(found) == {"fateboard", "nginx", "fate-upgrade-manager"}
    assert found.image("spark-worker-all-gpu").reason == "changed: parent"


def adaptations(platform: Platform = "amd64", python: str | None = None, index: str = "") -> dict[str, tuple[str, ...]]:
    """What images change in two of FATE's requirement files, without the reasons."""
    files = {
        "requirements.txt": "torch==1.13.1+cpu\nipcl-python==2.0.0\nnumpy==1.23.1\n",
        "requirements-graph-nn.txt": "pyg-lib==0.1.0+pt113cpu\n",
    }
    source = replace(make_source(), requirements=files)
    settings = make_settings(ALL, Platform=platform, PYTORCH_INDEX_URL=index)
    engine = engine_with()
    base = BASES["python"].local_reference(platform)
    engine = replace(
        engine, images=tuple(replace(i, python=python) if base in i.references else i for i in engine.images)
    )
    found = make_plan(settings, source, engine, digest)
    return {
        image.name: tuple(line.partition(" (")[0] for line in image.adaptations)
        for image in found.images
        if image.adaptations
    }


def test_the_plan_says_what_is_changed_in_fates_requirements() -> None:
    found = adaptations()
    assert found["base-image"] == ("torch==1.13.1+cpu: taken as torch==1.13.1",)
    assert found["eggroll-nn"] == ("pyg-lib==0.1.0+pt113cpu: left out",)
    assert found["eggroll-nn-gpu"] == found["base-image"] + found["eggroll-nn"]
    assert found["fateflow-all-gpu"] == ("CUDA toolkit: left out, so DeepSpeed compiles no operations of its own",)
    assert found["base-image-ipcl"] == ("ipcl-python==2.0.0: replaced by that of package ipcl_pkg",)
    assert set(found) == {name for name, image in IMAGES.items() if image.recipe.requirements} | {"base-image-ipcl"}


def test_builds_that_no_rule_knows_are_told() -> None:
    files = {"requirements.txt": "torch==1.13.1+rocm5.2\nnumpy==1.23.1\n"}
    source = replace(make_source(), requirements=files)
    told = [text for text in make_plan(make_settings(ALL), source, engine_with(), digest).warnings if "torch" in text]
    assert len(told) == 1 and "no rule replaces it" in told[0]
    indexed = make_plan(make_settings(ALL, PYTORCH_INDEX_URL="https://index.invalid"), source, engine_with(), digest)
    assert not [text for text in indexed.warnings if "torch" in text]
    uncut = replace(make_source(), requirements_date_certain=False)
    assert any(
        "the history of FATE_DIR is cut" in text
        for text in make_plan(make_settings(ALL), uncut, engine_with(), digest).warnings
    )


def test_what_is_changed_follows_indexes_platform_and_python() -> None:
    with_index = adaptations(index="https://index.invalid/whl")
    assert "base-image" not in with_index
    assert "torch==1.13.1+cpu: taken as torch==1.13.1+cu117" in with_index["eggroll-nn-gpu"]
    for other in (adaptations("arm64"), adaptations(python="3.9")):
        assert "ipcl-python==2.0.0: left out" in other["base-image"]


def test_a_new_external_base_makes_its_images_stale() -> None:
    before = made(plan())
    images = [
        replace(image, image_id="sha256:new") if any("base/debian:bookworm" in r for r in image.references) else image
        for image in before.images
    ]
    found = plan(engine=EngineState("amd64", tuple(images)))
    assert stale(found) == {"fateboard", "nginx"}


def test_wheels_are_compiled_for_the_platform_of_the_images() -> None:
    # The images that need them are left out on arm64, so the package is asked for by itself.
    packages = {
        platform: plan_package(make_settings(ALL, Platform=platform), make_source(), engine_with(), digest, "graph")
        for platform in PLATFORMS
    }
    assert {platform: package.platform for platform, package in packages.items()} == {p: p for p in PLATFORMS}
    assert len({package.fingerprint for package in packages.values()}) == len(PLATFORMS)
    assert "python:3.8-slim-bookworm-arm64" in packages["arm64"].build_args["BASE_PYTHON"]


def test_wheels_are_compiled_again_only_for_what_they_are_compiled_from() -> None:
    def fingerprint(
        requirements: str = "torch==1.13.1+cpu\nFlask==2.0.3",
        graph: str = "torch_scatter==2.1.0+pt113cpu\nnetworkx==2.8.8",
        content: str = "graph",
        **environ: str,
    ) -> str:
        source = make_source(graph=content)
        texts = {"requirements.txt": requirements, "requirements-graph-nn.txt": graph}
        dated = replace(source, requirements=texts, requirements_date=content)
        return plan_package(make_settings(ALL, **environ), dated, engine_with(), digest, "graph").fingerprint

    known = fingerprint()
    assert fingerprint(content="another") == known
    assert fingerprint(requirements="torch==1.13.1+cpu\nFlask==2.0.4\n# more") == known
    assert fingerprint(graph="networkx==2.8.9\ntorch_scatter==2.1.0+pt113cpu") == known
    assert fingerprint(requirements="torch==1.13.0+cpu") != known
    assert fingerprint(graph="torch_scatter==2.1.1+pt113cpu") != known
    assert fingerprint(PYTORCH_INDEX_URL="https://index.invalid/whl") != known


def test_a_source_of_cuda_is_asked_by_a_package_and_used_by_what_llm_needs() -> None:
    before, found = plan(), plan(CUDA_APT_REPOSITORY="https://index.invalid/cuda /")
    unchanged = {item.fingerprint for item in everything(before)}
    changed = {item.name for item in everything(found) if item.fingerprint not in unchanged}
    assert changed == {"fate_llm"} | {name for name in IMAGES if name.endswith("-all-gpu")}


def test_another_tag_of_the_same_source_only_needs_the_name() -> None:
    found = plan(engine=made(plan()), TAG="other")
    assert {image.status for image in found.images} == {Status.REUSABLE}
    assert all(package.status is Status.CURRENT for package in found.packages)


def test_platforms_do_not_disturb_each_other() -> None:
    amd64, arm64 = plan(), plan(Platform="arm64")
    common = [image.name for image in arm64.buildable]
    assert all(amd64.image(name).fingerprint != arm64.image(name).fingerprint for name in common)
    assert all(amd64.package(package.name).fingerprint == package.fingerprint for package in arm64.packages)


def test_options_that_change_the_result_change_the_fingerprint_and_others_do_not() -> None:
    base = plan().image("nginx").fingerprint
    assert plan(Docker_Options="--build-arg=X=1").image("nginx").fingerprint != base
    assert plan(Docker_Options="--no-cache --shm-size=1g").image("nginx").fingerprint == base


def test_options_are_not_told_by_labels() -> None:
    found = plan(Docker_Options="--build-arg=TOKEN=hunter2").image("nginx")
    assert "hunter2" not in str(found.inputs) + str(found.build_args)
    assert found.fingerprint != plan().image("nginx").fingerprint
    assert plan(Docker_Options="--build-arg=http_proxy=http://p").image("nginx").inputs == plan().image("nginx").inputs


def test_the_platform_is_part_of_what_an_image_is_made_of() -> None:
    assert all(image.inputs["platform"] == "arm64" for image in plan(Platform="arm64").buildable)


def test_what_somebody_built_on_an_image_is_not_taken_for_it() -> None:
    """It inherits all labels, and may have the name."""
    state = made(plan())
    nginx = plan().image("nginx")
    images = [replace(i, references=i.references - {nginx.stage}) for i in state.images]
    found = plan(engine=EngineState("amd64", tuple(images)))
    assert (found.image("nginx").status, stale(found)) == (Status.STALE, {"nginx"})
    assert found.image("nginx").reason == "its image is gone from the engine; what has its name may be built on it"


def test_an_image_without_any_name_is_what_a_killed_build_left() -> None:
    state = made(plan())
    nginx = plan().image("nginx")
    images = [replace(i, references=frozenset()) if nginx.stage in i.references else i for i in state.images]
    found = plan(engine=EngineState("amd64", tuple(images)))
    assert found.image("nginx").status is Status.MISSING


def test_packaging_alone_pushes_nothing() -> None:
    assert not plan(verb=Verb.PACKAGE).push


def test_no_cache_rebuilds_what_is_selected() -> None:
    found = plan(engine=made(plan()), Docker_Options="--no-cache")
    assert stale(found) == set(IMAGES)


def test_a_foreign_image_of_the_same_name_is_not_taken_for_ours() -> None:
    engine = made(plan())
    nginx = plan().image("nginx")
    foreign = [
        type(i)("sha256:foreign", frozenset({nginx.reference})) if nginx.reference in i.references else i
        for i in engine.images
    ]
    found = plan(engine=EngineState("amd64", tuple(foreign)))
    assert (found.image("nginx").status, stale(found)) == (Status.STALE, {"nginx"})
    assert found.image("nginx").reason == "the image of this name was not built by this pipeline"


def test_reasons_are_told_once_with_all_images_they_keep_out() -> None:
    told = [text for text in plan(Platform="arm64").warnings if text.startswith("left out, arm64 can't have them: ")]
    assert len(told) == 3
    assert any("base-image-ipcl, fateflow-ipcl" in text and "fate-test-ipcl (Intel's" in text for text in told)


def test_the_other_platforms_image_is_not_a_stale_one() -> None:
    found = plan(engine=made(plan()), Platform="arm64").image("nginx")
    assert (found.status, found.reason) == (Status.MISSING, "not built yet; the name is held by the amd64 image")


def test_unbuildable_by_name_fails_at_once_with_the_reason() -> None:
    with pytest.raises(UnbuildableError, match="fateflow-nn-gpu can't be built for arm64: torch"):
        plan(names=("fateflow-nn-gpu",), Platform="arm64")


def test_unknown_image() -> None:
    with pytest.raises(FimgError, match="there is no image 'fateflw'"):
        plan(names=("fateflw",))


def test_alias_asks_for_the_image() -> None:
    assert plan(names=("spark-bash-nn",)).image("spark-base-nn").selected_by == "asked for by name"


def fingerprints(found: Plan) -> dict[str, str]:
    return {item.stage: item.fingerprint for item in everything(found)}


def test_a_tag_that_is_refreshed_is_built_anew_and_no_other() -> None:
    before = plan()
    engine = engine_with(*everything(before))
    since = Freshness(refreshed={"t": "2026-11-29T01:00:00Z"})
    found = plan(engine=engine, freshness=since)
    assert {image.status for image in found.images} == {Status.STALE}
    # Packages are other tags', too: they are made anew if the bases they stand on are.
    assert {package.status for package in found.packages if RECIPES[package.recipe].bases} == {Status.MISSING}
    assert {package.status for package in found.packages if not RECIPES[package.recipe].bases} == {Status.CURRENT}
    assert fingerprints(plan(freshness=since, TAG="other")) == fingerprints(before)
    # By now they are there, and the same as before, as digests in registries may be.
    renewed = dict.fromkeys(engine.by_reference, "2026-11-29T01:00:01Z")
    there = since.model_copy(update={"renewed": renewed})
    found = plan(engine=engine, freshness=there)
    assert found.image("nginx").reason == "changed: refreshed" and found.image("fateflow").reason == "changed: parent"
    assert {package.status for package in found.packages} == {Status.CURRENT}
    # The same moment is the same build.
    again = plan(engine=engine_with(*everything(found)), freshness=there)
    assert {image.status for image in again.images} == {Status.CURRENT}


def test_a_base_that_is_to_be_newer_makes_what_stands_on_it_stale_until_it_is_there() -> None:
    before = plan()
    local, digest_ = BASES["debian"].local_reference("amd64"), "sha256:" + "ab" * 32
    engine = engine_with(*everything(before))
    wanted = Freshness(wanted={local: digest_})
    found = plan(engine=engine, freshness=wanted)
    assert found.image("nginx").reason == "changed: base debian:bookworm-slim"
    assert found.image("fateflow").status is Status.CURRENT
    # It turned out to be the one that was there, under another digest of the list.
    named = replace(
        engine,
        images=tuple(
            replace(image, references=image.references | {pulled_name(local, digest_)})
            if local in image.references
            else image
            for image in engine.images
        ),
    )
    assert plan(engine=named, freshness=wanted).image("nginx").status is Status.CURRENT


def test_bases_that_are_only_seen_to_be_newer_are_told_and_change_nothing() -> None:
    local = BASES["debian"].local_reference("amd64")
    found = plan(freshness=Freshness(newest={local: "sha256:" + "ab" * 32, "other": "sha256:1"}))
    assert found.newer_bases == ("debian",) and fingerprints(found) == fingerprints(plan())
