"""The recipes keep to what README.md beside them says, and to what the catalog says of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.dockerfiles import ROOT, recipe_files
from fimg_pipeline.engine import emulation, second
from fimg_pipeline_tests.dockerfiles.dockerfile import (
    global_arguments,
    parse,
    problems,
    shell_scripts,
    stage_arguments,
)

#: Recipes of what the pipeline runs for its own ends.
TOOLS = (emulation.RECIPE, second.RECIPE)
STEP = (
    "RUN --mount=type=tmpfs,target=/run --mount=type=bind,source=lib/build.sh,target=/run/fimg/build.sh "
    "--mount=type=secret,id=ca --mount=type=secret,id=network . /run/fimg/build.sh; apt_install curl"
)


def test_there_is_a_folder_for_every_recipe_and_no_other() -> None:
    folders = {str(file.parent.relative_to(ROOT)) for file in ROOT.rglob("Dockerfile")}
    assert folders == {*RECIPES, *TOOLS}


@pytest.mark.parametrize("path", [path for path in RECIPES if not path.startswith("packages/")])
def test_the_catalog_knows_what_requirements_a_recipe_installs(path: str) -> None:
    text = (ROOT / path / "Dockerfile").read_text(encoding="utf-8")
    installed = re.findall(r"python_requirements (\w+) (.+)", text)
    recipe = RECIPES[path]
    wanted = [(recipe.variant, recipe.requirements)] if recipe.requirements else []
    assert [(variant, tuple(Path(file).name for file in files.split())) for variant, files in installed] == wanted


@pytest.mark.parametrize("path", [*RECIPES, *TOOLS])
def test_recipe_keeps_the_rules(path: str) -> None:
    text = (ROOT / path / "Dockerfile").read_text(encoding="utf-8")
    assert list(problems(text, recipe_files(path))) == []


@pytest.mark.parametrize("path", RECIPES)
def test_recipe_takes_the_arguments_the_catalog_gives(path: str) -> None:
    recipe = RECIPES[path]
    instructions = parse((ROOT / path / "Dockerfile").read_text(encoding="utf-8"))
    expected = {BASES[name].build_arg for name in recipe.bases} | {PACKAGES[name].build_arg for name in recipe.packages}
    if any(image.parent is not None for image in IMAGES.values() if image.recipe_path == path):
        expected.add("PARENT")
    assert global_arguments(instructions) == expected
    in_stages = stage_arguments(instructions)
    assert {name for name in in_stages if name in {"SPARK_VERSION"}} == set(recipe.fate_env)
    assert ("SOURCE_DATE" in in_stages) == recipe.source_date


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# syntax=docker/dockerfile:1\nFROM scratch\n", "front end"),
        ("FROM scratch\nRUN <<E\nE\n", "heredoc"),
        ("FROM debian:bookworm\n", "neither an argument"),
        ("FROM ${BASE}\n", "no such global argument"),
        ("ARG PACKAGE_FATE\nFROM ${PACKAGE_FATE} AS fate\n", "--platform"),
        ("ARG BASE=debian\nFROM ${BASE}\n", "no defaults"),
        ("ARG BASE\nFROM ${BASE}\nARG COLOUR\n", "unknown arguments: COLOUR"),
        ("FROM scratch\nCOPY --link lib/build.sh /\n", "not in Docker 20.10"),
        ("FROM scratch\nCOPY --from=nowhere / /\n", "no such stage"),
        ("FROM scratch\nCOPY absent.sh /\n", "no such file"),
        ("FROM scratch\nADD lib/build.sh /\n", "ADD is not used"),
        ("FROM scratch\nRUN true; apt-get install curl\n", "past lib/"),
        ("FROM scratch\nRUN pip install --upgrade pip\n", "past lib/"),
        ("FROM scratch\nRUN echo https://example.org/\n", "a URL"),
        ("FROM scratch\nRUN apt_install curl\n", "not sourced"),
        (f"FROM scratch\n{STEP} && true\n", "hides failures"),
        (f"FROM scratch\n{STEP.replace('type=tmpfs', 'type=cache,id=x')}\n", "not a tmpfs"),
        (f"FROM scratch\n{STEP.replace('--mount=type=secret,id=ca ', '')}\n", "both secrets"),
        (f"FROM scratch\n{STEP.replace('source=lib/build.sh', 'source=lib/other.sh')}\n", "not mounted"),
        (f"FROM scratch\n{STEP.replace('build.sh', 'python.sh')}\n", "other files of lib/"),
        (
            f"FROM scratch\n{STEP.replace('RUN ', 'RUN --mount=type=cache,id=fimg-apt,target=/run/cache/apt ')}\n",
            "must be locked",
        ),
        (
            f"FROM scratch\n{STEP.replace('RUN ', 'RUN --mount=type=cache,id=x,target=/root/.cache ')}\n",
            "leaves its mount point",
        ),
        (
            f"FROM scratch\n{STEP.replace('RUN ', 'RUN --mount=type=bind,from=tools,target=/usr ')}\n",
            "mount from tools",
        ),
    ],
)
def test_the_rules_notice(text: str, expected: str) -> None:
    found = list(problems(text, ["Dockerfile", "lib/build.sh", "lib/python.sh"]))
    assert any(expected in problem for problem in found), found


def test_the_rules_accept_a_good_step() -> None:
    assert list(problems(f"FROM scratch\n{STEP}\n", ["Dockerfile", "lib/build.sh"])) == []


def test_every_file_of_lib_is_used() -> None:
    used = {name for path in RECIPES for name in recipe_files(path) if name.startswith("lib/")}
    there = {f"lib/{file.name}" for file in (ROOT / "lib").iterdir() if file.name != "__pycache__"}
    assert there == used


def test_a_recipe_does_not_depend_on_libraries_it_does_not_use() -> None:
    assert {name for name in recipe_files("modules/nginx") if name.startswith("lib/")} == {"lib/build.sh"}
    assert "lib/TrustStore.java" not in recipe_files("base/basic")


def test_the_steps_that_images_share_are_the_same() -> None:
    eggroll, fateflow = (_final_stage(f"modules/{name}") for name in ("eggroll", "fateflow"))
    assert eggroll[:5] == fateflow[:5]
    spark, base = (_final_stage(f"modules/{name}") for name in ("fateflow-spark", "spark-base"))
    assert spark[:3] == base[:3]
    assert spark[2].startswith("RUN")
    assert _stage("modules/fateflow-spark", "hdfs") == _stage("modules/spark-base", "hdfs")
    toolchains = [_stage(path, "toolchain") for path in ("base/basic", "packages/graph", "modules/gpu")]
    assert toolchains[0] == toolchains[1] == toolchains[2]
    assert toolchains[0][1].startswith("RUN")


def _final_stage(path: str) -> list[str]:
    return _stages(path)[-1]


def _stage(path: str, name: str) -> list[str]:
    return next(stage for stage in _stages(path) if stage[0].endswith(f" AS {name}"))


def _stages(path: str) -> list[list[str]]:
    instructions = parse((ROOT / path / "Dockerfile").read_text(encoding="utf-8"))
    starts = [index for index, instruction in enumerate(instructions) if instruction.name == "FROM"]
    stages = [instructions[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return [[" ".join((i.name, *i.flags, i.text)) for i in stage] for stage in stages]


@pytest.mark.parametrize("script", shell_scripts(ROOT), ids=lambda script: str(script.relative_to(ROOT)))
def test_shell_script_parses(script: Path) -> None:
    shell = "bash" if script.read_bytes().startswith(b"#!/bin/bash") else "sh"
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_known_versions_are_exact_and_each_name_is_there_once() -> None:
    header, *sections = (ROOT / "lib" / "known-versions.txt").read_text(encoding="utf-8").strip().split("\n\n")
    assert all(line.startswith("# ") for line in header.splitlines())
    assert sections
    for section in sections:
        head, *lines = section.splitlines()
        assert re.fullmatch(r"# as of \d{4}-\d{2}-\d{2} on (x86_64|aarch64)", head)
        assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9a-z.+!]+", line, re.IGNORECASE) for line in lines), section
        names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
        assert len(set(names)) == len(names) > 100
