"""The code location: what is defined, how it hangs together, and that loading it touches nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml
from sqlalchemy.exc import IntegrityError

from fimg_pipeline import definitions
from fimg_pipeline.assets.keys import (
    LISTS,
    OVERVIEW,
    PUBLISHED,
    REGISTERED,
    SOURCE,
    base_key,
    bundle_key,
    image_key,
    log_page,
    package_key,
)
from fimg_pipeline.assets.partitions import TAG_PARTITIONS, add_tag, partition_key
from fimg_pipeline.assets.steps import POOL
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.cli.instance import CONFIGURATION
from fimg_pipeline.definitions import build_defs, build_job
from fimg_pipeline.errors import FimgError
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.settings import load
from fimg_pipeline.ship.folder import BUNDLES, FATE
from fimg_pipeline_tests.plan.samples import make_settings
from fimg_pipeline_tests.rig.command import environment

EXTERNAL = set(map(base_key, BASES))


def specs() -> dict[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in build_defs(make_settings()).resolve_all_asset_specs()}


def test_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(build_defs(make_settings()))


def test_steps_may_be_containers_but_for_commands_which_no_launcher_gives_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert build_defs(make_settings(STEPS="containers")).resolve_job_def("build").executor_def.name == "docker"
    assert build_defs(make_settings()).resolve_job_def("build").executor_def.name == "multiprocess"
    own = build_defs(make_settings(), steps_by=dg.in_process_executor)
    assert own.resolve_job_def("build").executor_def.name == "in_process"
    monkeypatch.setenv("STEPS", "containers")
    definitions._job.cache_clear()
    assert build_job().executor_def.name == "multiprocess"
    definitions._job.cache_clear()


def test_every_image_package_and_bundle_is_an_asset_whatever_the_switches_say() -> None:
    wanted = {SOURCE, *map(image_key, IMAGES), *map(package_key, PACKAGES), *map(bundle_key, BUNDLES)}
    assert set(specs()) == wanted | {PUBLISHED, LISTS, OVERVIEW, *EXTERNAL}


def test_lineage_follows_the_catalog() -> None:
    found = specs()
    for image in IMAGES.values():
        upstream = {dep.asset_key for dep in found[image_key(image.name)].deps}
        expected = {package_key(name) for name in image.recipe.packages}
        expected |= {image_key(image.parent)} if image.parent else set()
        expected |= set(map(base_key, image.recipe.bases))
        assert expected <= upstream <= expected | {SOURCE}
        assert upstream
    for name, package in PACKAGES.items():
        below = {SOURCE, *map(base_key, RECIPES[package.recipe].bases)}
        assert {dep.asset_key for dep in found[package_key(name)].deps} == below


@pytest.mark.parametrize("key", [bundle_key(FATE), PUBLISHED])
def test_what_is_carried_elsewhere_follows_the_images_that_are_published(key: dg.AssetKey) -> None:
    upstream = {dep.asset_key for dep in specs()[key].deps}
    assert upstream == {image_key(image.name) for image in IMAGES.values() if image.published}
    assert len(upstream) == 27


def test_a_build_carries_nothing_elsewhere() -> None:
    defs = build_defs(make_settings())
    shipping = {*map(bundle_key, BUNDLES), PUBLISHED, LISTS}

    def keys(job: str) -> set[dg.AssetKey]:
        return set(defs.resolve_job_def(job).asset_layer.executable_asset_keys)

    assert not (shipping | {OVERVIEW}) & (keys("build") | keys("build_amd64"))
    assert keys("bundle") == set(map(bundle_key, BUNDLES))
    assert (keys("publish"), keys("publish_lists")) == ({PUBLISHED}, {LISTS})


def test_app_images_follow_the_images_of_their_file(tmp_path: Path) -> None:
    file = tmp_path / "app-images.yaml"
    file.write_text("app_images: [{image: nginx, mode: p2p, user: x}, {image: client, mode: center, user: x}]")
    defs = build_defs(make_settings(KUSCIA_APP_IMAGES=str(file)))
    (spec,) = [spec for spec in defs.resolve_all_asset_specs() if spec.key == REGISTERED]
    assert {dep.asset_key for dep in spec.deps} == {image_key("client"), image_key("nginx")}
    assert set(defs.resolve_job_def("register").asset_layer.executable_asset_keys) == {REGISTERED}
    assert REGISTERED not in defs.resolve_job_def("build").asset_layer.executable_asset_keys
    file.write_text("app_images: [{image: ngin")
    broken = build_defs(make_settings(KUSCIA_APP_IMAGES=str(file)))
    dg.Definitions.validate_loadable(broken)
    (spec,) = [spec for spec in broken.resolve_all_asset_specs() if spec.key == REGISTERED]
    assert spec.description is not None and "It can't be used" in spec.description


def test_what_most_images_wait_for_goes_first() -> None:
    job = build_defs(make_settings()).resolve_job_def("build")
    priority = {node.name: int(node.tags.get("dagster/priority", 0)) for node in job.nodes}
    order = ["package__requirements", "package__eggroll", "fateflow", "spark_base", "package__fateboard"]
    assert sorted(order, key=lambda name: priority[name], reverse=True) == order
    assert priority["base_image"] == priority["package__requirements"] == 31


def test_all_builds_share_one_pool() -> None:
    job = build_defs(make_settings()).resolve_job_def("build")
    assert {frozenset(node.definition.pools) for node in job.nodes if node.name != "source"} == {frozenset({POOL})}


def test_groups_are_listed_from_the_source_to_what_leaves() -> None:
    assert sorted({spec.group_name or "" for spec in specs().values()}) == [
        "00_overview",
        "01_source",
        "02_external",
        "03_packages",
        "04_base",
        "05_eggroll",
        "06_spark",
        "07_nn",
        "08_gpu",
        "09_llm",
        "10_ipcl",
        "11_tools",
        "12_registry",
        "13_bundles",
    ]


def test_an_image_says_first_what_it_is_and_who_runs_it() -> None:
    first = {key: (spec.description or "").partition("\n")[0] for key, spec in specs().items()}
    assert first[image_key("spark-worker-nn-gpu")] == (
        "Spark worker with CUDA. Each party that computes on Spark runs one on every machine that is to compute, to "
        "train neural networks on NVIDIA cards."
    )
    assert first[image_key("spark-base")].endswith("Nobody runs it: other images stand on it.")


def test_every_asset_is_described_owned_and_partitioned() -> None:
    for key, spec in specs().items():
        assert spec.description and spec.owners and spec.kinds
        assert (spec.partitions_def is None) is (key in {OVERVIEW, *EXTERNAL})
    descriptions = [spec.description for spec in specs().values()]
    assert len(set(descriptions)) == len(descriptions)


@pytest.mark.parametrize(
    ("features", "count"),
    [((Feature.BASIC,), 4), (tuple(Feature), 34), ((), 1), ((Feature.BASIC, Feature.SPARK), 9)],
)
def test_platform_jobs_follow_the_switches(features: tuple[Feature, ...], count: int) -> None:
    job = build_defs(make_settings(features)).resolve_job_def("build_amd64")
    images = {key for key in job.asset_layer.executable_asset_keys if key in set(map(image_key, IMAGES))}
    assert len(images) == count


def test_log_pages_name_the_steps_dagster_has() -> None:
    job = build_defs(make_settings()).resolve_job_def("build")
    steps = {node.name for node in job.nodes}
    for key in (*map(image_key, IMAGES), *map(package_key, PACKAGES)):
        query = parse_qs(urlsplit(log_page("run", key)).query)
        assert query["selection"][0].removeprefix('name:"').rstrip('"') in steps


def test_arm64_job_holds_only_what_arm64_can_have() -> None:
    job = build_defs(make_settings(tuple(Feature))).resolve_job_def("build_arm64")
    keys = set(job.asset_layer.executable_asset_keys)
    assert image_key("fateflow") in keys and image_key("fateflow-ipcl") not in keys


def test_loading_needs_neither_network_nor_git_nor_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("loading the definitions must not do that")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(subprocess, "Popen", refused)
    dg.Definitions.validate_loadable(build_defs(make_settings()))


def test_what_steps_are_forked_from_can_be_loaded(tmp_path: Path) -> None:
    """An import error in it is swallowed by Python: every step would silently load everything by itself."""
    code = "import gc, fimg_pipeline.automation.preload; print(gc.get_freeze_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000


def test_a_tag_that_somebody_else_adds_in_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        add_tag(instance, "t")
        monkeypatch.setattr(type(instance), "has_dynamic_partition", lambda *_: False)

        def taken(*_: object) -> None:
            raise IntegrityError("insert", {}, Exception("UNIQUE constraint failed"))

        monkeypatch.setattr(type(instance), "add_dynamic_partitions", taken)
        add_tag(instance, "t")


def test_bad_tags_do_not_become_partitions() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for tag in ("a b", "a,b", "a|b", "1.0\n", "-x", "x" * 129, ""):
            with pytest.raises(FimgError, match="can't be a partition"):
                add_tag(instance, tag)
        add_tag(instance, "1.11.2-release")
        add_tag(instance, "1.11.2-release")
        assert instance.get_dynamic_partitions(TAG_PARTITIONS) == ["1.11.2-release"]


Selected = Callable[[str, Platform, list[dg.AssetKey]], dg.ExecuteInProcessResult]


@pytest.fixture
def selected(pristine: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Selected:
    """Executes of a job, for a platform's tag of the sample, what is selected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FATE_DIR", str(pristine.fate))
    monkeypatch.setenv("FIMG_HOME", str(tmp_path / "home"))

    def execute(job: str, platform: Platform, selection: list[dg.AssetKey]) -> dg.ExecuteInProcessResult:
        definition = build_defs(load()).resolve_job_def(job)
        with dg.DagsterInstance.ephemeral() as instance:
            add_tag(instance, "t")
            return definition.execute_in_process(
                instance=instance,
                partition_key=partition_key(platform, "t"),
                asset_selection=selection,
                raise_on_error=False,
            )

    return execute


def test_a_platforms_job_refuses_a_partition_of_another(selected: Selected) -> None:
    result = selected("build_arm64", "amd64", [SOURCE])
    failures = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert len(failures) == 1
    assert "job build_arm64 builds for arm64, and the partition is one of amd64" in str(failures[0].event_specific_data)


def test_an_unbuildable_image_picked_in_the_ui_fails_once_with_its_reason(selected: Selected) -> None:
    result = selected("__ASSET_JOB", "arm64", [image_key("base-image-ipcl")])
    assert not result.success
    failures = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    retries = [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert (len(failures), len(retries)) == (1, 0)
    assert "can't be built for arm64: Intel's" in str(failures[0].event_specific_data)


def test_what_can_t_be_built_says_so_before_anything_below_it_is_made(selected: Selected) -> None:
    above = [image_key(name) for name in ("base-image", "fateflow", "fateflow-nn")]
    result = selected("build", "arm64", [SOURCE, *above])
    assert {event.step_key for event in result.all_events if event.event_type_value == "STEP_START"} == {"source"}
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "fateflow-nn can't be built for arm64: data.pyg.org" in str(failure.event_specific_data)


def test_the_instance_gives_killed_steps_places_back_and_bothers_nobody() -> None:
    found = yaml.safe_load(CONFIGURATION.read_text())
    assert found["run_monitoring"]["enabled"] and found["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert found["concurrency"]["pools"]["granularity"] == "op"
    assert not found["telemetry"]["enabled"] and not found["nux"]["enabled"]
    assert not found["run_retries"]["retry_on_asset_or_op_failure"]
