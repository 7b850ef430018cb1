"""The main job on the sample source, on a real engine, as a user runs it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES, lineage
from fimg_pipeline.engine.client import LABEL_ADAPTATIONS, LABEL_FINGERPRINT, LABEL_WAITED_FOR, Engine
from fimg_pipeline.sample import commit_change
from fimg_pipeline.settings import load
from fimg_pipeline_tests.promises import broken as broken_promises
from fimg_pipeline_tests.promises import inside, promise
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.containers import network
from fimg_pipeline_tests.rig.demo import PREFIX, broken, changed, ids, reference
from fimg_pipeline_tests.services import (
    DATABASE,
    ask_proxy,
    columns,
    compute_pi_on_spark,
    start_database,
    upgrade_database,
)

pytestmark = pytest.mark.engine


def test_everything_is_built(fimg: Fimg, engine: Engine) -> None:
    result = fimg("build", "all")
    assert result.status == 0, result.output
    assert re.search(r"images: \d+ built, \d+ up to date, 0 failed, 0 skipped", result.output), result.output
    found = ids(engine)
    assert set(found) == set(IMAGES)
    names = engine.state().by_reference
    for image in IMAGES.values():
        for alias in image.aliases:
            assert names[f"{PREFIX}/{alias}:demo"].image_id == found[image.name]


def test_images_say_where_they_come_from(fimg: Fimg, engine: Engine) -> None:
    plan = json.loads(fimg("plan", "--json").output)
    adaptations = {image["name"]: image["adaptations"] for image in plan["images"]}
    for image in plan["images"]:
        record = engine.inspect(image["reference"])
        assert record is not None
        labels = record["Config"]["Labels"]
        assert labels[LABEL_FINGERPRINT] == image["fingerprint"]
        assert labels["org.opencontainers.image.title"] == image["name"]
        assert labels["org.opencontainers.image.version"] == "1.11.2"
        assert re.fullmatch(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
        assert labels["org.opencontainers.image.base.name"] and labels["org.opencontainers.image.base.digest"]
        below = [change for ancestor in lineage(image["name"]) for change in adaptations[ancestor.name]]
        assert json.loads(labels.get(LABEL_ADAPTATIONS, "[]")) == list(dict.fromkeys(below))
        assert image["status"] == "current"
    assert adaptations["base-image"], "FATE's requirements ask for pip>=21"
    assert adaptations["spark-base-nn-gpu"] and not adaptations["nginx"]


@pytest.mark.parametrize("name", IMAGES)
def test_images_keep_their_promises(fimg: Fimg, engine: Engine, name: str) -> None:
    record = engine.inspect(reference(name))
    assert record is not None
    assert broken_promises(promise(name), record["Config"]) == []
    assert engine.run(reference(name), inside(promise(name)), timeout=60) == (0, "")


def test_a_spark_job_runs_on_master_and_workers(fimg: Fimg, engine: Engine) -> None:
    with network(engine) as services:
        assert compute_pi_on_spark(services, reference) == pytest.approx(3.14, abs=0.1)


def test_the_proxys_lua_answers(fimg: Fimg, engine: Engine) -> None:
    with network(engine) as services:
        assert ask_proxy(services, reference)


def test_a_database_is_upgraded(fimg: Fimg, engine: Engine) -> None:
    with network(engine) as services:
        database = start_database(services, DATABASE)
        assert "has been upgraded from 1.7.2 to 1.11.2" in upgrade_database(services, reference, "1.7.2", "1.11.2")
        found = columns(database, DATABASE)
    assert {"f_origin", "f_disable"} <= found["t_storage_table_meta"], "1.7.2-1.8.0"
    assert {"f_error_report", "f_deepspeed_id"} <= found["t_task"], "1.8.0-1.9.0 and 1.10.0-1.11.1"


def own_certificates() -> list[bytes]:
    """Certificates the builds trust here beyond Debian's, in binary (DER)."""
    bundle = load().ca_bundle
    debian = {
        certificate
        for file in Path("/usr/share/ca-certificates").rglob("*.crt")
        for certificate in certificates(file.read_text())
    }
    return [] if bundle is None else [found for found in certificates(bundle.read_text()) if found not in debian]


def certificates(text: str) -> list[bytes]:
    bodies = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.DOTALL)
    return [base64.b64decode("".join(body.split())) for body in bodies]


@pytest.mark.parametrize("name", ["base-image", "fateboard", "nginx", "fate-upgrade-manager", "client"])
def test_nothing_of_the_networks_own_ca_is_left_in_images(fimg: Fimg, engine: Engine, name: str) -> None:
    """In no file, be it text or a trust store of Java's; there is nothing to find where no extra CA is configured."""
    # The first line of a certificate is much the same in all: what follows is not.
    marks = [mark for der in own_certificates() for mark in (der[64:160], base64.b64encode(der)[64:128])]
    container = engine.sdk.containers.create(reference(name))
    try:
        chunks: Any = container.export()
        image = b"".join(chunks)
    finally:
        container.remove()
    assert b"etc/passwd" in image
    assert [mark for mark in marks if mark in image] == []


def test_again_builds_nothing(fimg: Fimg, engine: Engine) -> None:
    fimg.builds()
    before = ids(engine)
    result = fimg("build", "all")
    assert result.status == 0
    assert "images: 0 built, 34 up to date, 0 failed, 0 skipped" in result.output
    assert fimg.builds() == []
    assert ids(engine) == before


def test_the_run_is_in_dagster_with_data_versions_and_checks(fimg: Fimg) -> None:
    plan = json.loads(fimg("plan", "--json").output)
    with dg.DagsterInstance.from_config(str(fimg.home / "dagster")) as instance:
        (newest,) = instance.get_run_records(limit=1)
        assert newest.dagster_run.status == dg.DagsterRunStatus.SUCCESS
        for image in plan["images"]:
            found = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=dg.AssetKey([image["name"]]), asset_partitions=["amd64|demo"]), limit=1
            ).records
            materialization = found[0].asset_materialization
            assert materialization is not None and materialization.tags is not None
            assert materialization.tags["fimg/fingerprint"] == image["fingerprint"]
            assert materialization.tags["dagster/data_version"] == image["fingerprint"]
            assert float(str(materialization.metadata["size_mb"].value)) > 1


def test_values_of_build_arguments_are_in_no_argument_list(fimg: Fimg) -> None:
    """Whatever the environment has under the same names."""
    # Another one every time: what was built with it before would be reused.
    option = f"--build-arg TOKEN=s3cr3t-{time.time()}"
    result = fimg("build", "--image", "nginx", TAG="arguments", TOKEN="another", Docker_Options=option)
    assert result.status == 0, result.output
    calls = fimg.builds()
    assert calls and all("--build-arg=TOKEN" in call and "s3cr3t" not in call for call in calls)


def test_another_tag_of_the_same_source_is_named_not_built(fimg: Fimg, engine: Engine) -> None:
    result = fimg("build", "all", TAG="other", BASE_TAG="other")
    assert result.status == 0, result.output
    assert fimg.builds() == []
    assert ids(engine, "other", "other") == ids(engine)


def test_one_file_of_the_proxy_rebuilds_nginx_alone(fimg: Fimg, engine: Engine) -> None:
    before = ids(engine)
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# {time.time()}\n", "A note in the proxy")
    result = fimg("build", "all")
    assert result.status == 0, result.output
    assert changed(before, ids(engine)) == {"nginx"}
    assert len(fimg.builds()) == 2, "the package and the image"
    # Asked of an image that is new for certain: one that was there before keeps the labels of its build.
    record = engine.inspect(reference("nginx"))
    assert record is not None
    # The sample's origin is a folder, and no image may say which.
    assert str(fimg.folder) not in json.dumps(record)


def test_a_revert_is_found_again(fimg: Fimg, engine: Engine) -> None:
    before = ids(engine)
    text = (fimg.sample.fate / "c/proxy/conf/note.conf").read_text()
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", "# something else\n", "Change")
    assert fimg("build").status == 0
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", text, "Back")
    fimg.builds()
    assert fimg("build").status == 0
    assert (ids(engine), fimg.builds()) == (before, [])


def test_what_somebody_built_on_an_image_is_not_taken_for_it(fimg: Fimg, engine: Engine) -> None:
    """It has all labels of the image, and its name; the image itself is gone."""
    name = reference("nginx")
    before = engine.inspect(name)
    assert before is not None
    recipe = io.BytesIO(f"FROM {name}\nENV PATCHED=by-somebody\n".encode())
    theirs, _ = engine.sdk.images.build(fileobj=recipe, tag=name, rm=True)
    try:
        for own in before["RepoTags"]:
            if own != name:
                engine.remove(own)
        assert theirs.labels["io.fimg.fingerprint"] == before["Config"]["Labels"]["io.fimg.fingerprint"]
        assert "what has its name may be built on it" in fimg.succeeds("plan", "--image", "nginx")
        fimg.succeeds("build", "--image", "nginx")
        after = engine.inspect(name)
        assert after is not None and "PATCHED=by-somebody" not in after["Config"]["Env"]
    finally:
        engine.sdk.images.remove(str(theirs.id), force=True)


def test_requirements_rebuild_what_stands_on_them(fimg: Fimg, engine: Engine) -> None:
    before = ids(engine)
    requirements = fimg.sample.fate / "python/requirements.txt"
    text = f"{requirements.read_text().rstrip()}\n# {time.time()}\n"
    commit_change(fimg.sample.fate, "python/requirements.txt", text, "Requirements")
    result = fimg("build", "all")
    assert result.status == 0, result.output
    on_base = {name for name in IMAGES if lineage(name)[0].name == "base-image"}
    assert changed(before, ids(engine)) == on_base
    assert set(IMAGES) - on_base == {"fateboard", "nginx", "fate-upgrade-manager"}


def test_a_failing_package_skips_what_needs_it_and_nothing_else(fimg: Fimg, engine: Engine) -> None:
    before = ids(engine)
    with broken(fimg, "eggroll/jvm/pom.xml", "<project>"):
        commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", "# a change that builds\n", "Fine")
        result = fimg("build", "all")
    assert result.status == 1
    assert changed(before, ids(engine)) == {"nginx"}
    assert "skipped fateflow-nn: it needs package eggroll, which failed" in result.output
    assert re.search(r"failed +eggroll: .*POM", result.output), result.output
    assert "Traceback" not in result.output
    mended = fimg("build", "all")
    assert mended.status == 0, mended.output


def test_a_step_that_is_killed_has_failed(fimg: Fimg, tmp_path: Path) -> None:
    """As by the system when memory runs out: nobody is left to say so."""
    commit_change(fimg.sample.fate, "c/proxy/conf/note.conf", f"# killed {time.time()}\n", "Change")
    killer = tmp_path / "docker"
    killer.write_text(f'#!/bin/sh\n[ "$1" != build ] || kill -9 $PPID\nexec \'{Engine().cli}\' "$@"\n')
    killer.chmod(0o755)
    result = fimg("build", "--image", "nginx", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert result.status == 1
    assert (
        "images: 0 built, 0 up to date, 0 failed, 1 skipped; packages: 0 made, 0 up to date, 1 failed" in result.output
    )
    assert "failed  proxy: its process was killed" in result.output, result.output
    assert "skipped nginx: it needs package proxy, which failed" in result.output
    assert fimg("build", "--image", "nginx").status == 0


def test_containers_of_killed_checks_are_removed_by_the_next(fimg: Fimg, engine: Engine) -> None:
    assert fimg("build", "--image", "nginx").status == 0
    image = reference("nginx")
    labels = {"past": {LABEL_WAITED_FOR: "1"}, "future": {LABEL_WAITED_FOR: str(time.time() + 600)}}
    left = {name: engine.sdk.containers.create(image, ["true"], labels=label) for name, label in labels.items()}
    try:
        assert engine.run(image, ["true"], timeout=60)[0] == 0
        there = {container.id for container in engine.sdk.containers.list(all=True)}
        assert {name for name, container in left.items() if container.id in there} == {"future"}
    finally:
        left["future"].remove()


def test_an_image_whose_program_does_not_answer_gets_no_name(fimg: Fimg, engine: Engine) -> None:
    before = ids(engine)
    with broken(fimg, "c/proxy/conf/nginx.conf", "this is no nginx configuration\n"):
        for _ in range(2):
            result = fimg("build", "--image", "nginx")
            assert result.status == 1, "also the second time: a failed check is not forgotten"
            assert "nginx failed" in result.output and "[emerg]" in result.output, result.output
            assert ids(engine) == before
    assert fimg("build", "--image", "nginx").status == 0


def test_arm64_basic_images(fimg: Fimg, engine: Engine) -> None:
    before = ids(engine)
    basic = replace(fimg, settings={**fimg.settings, **switches(Feature.BASIC), "TAG": "arm", "BASE_TAG": "arm"})
    result = basic("build", "all", Platform="arm64")
    assert result.status == 0, result.output
    for name in ("base-image", "fateflow", "fateboard", "eggroll"):
        record = engine.inspect(f"{PREFIX}/{name}:arm")
        assert record is not None and record["Architecture"] == "arm64"
    assert ids(engine) == before, "those for amd64 are still there"


def test_unsupported_image_fails_at_once_with_its_reason(fimg: Fimg) -> None:
    fimg.builds()
    result = fimg("build", "--image", "fateflow-ipcl", Platform="arm64")
    assert result.status == 1
    assert "fateflow-ipcl can't be built for arm64: it stands on base-image-ipcl: Intel's" in result.output
    assert fimg.builds() == []
