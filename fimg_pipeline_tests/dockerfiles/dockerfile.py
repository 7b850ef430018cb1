"""A reader of Dockerfiles and the rules the recipes keep to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fimg_pipeline.catalog.packages import PACKAGES

#: Functions of ``lib/`` that talk to a network or need its settings.
FETCHING = (
    *("apt_install", "cuda_find", "cuda_install"),
    *("python_create", "python_requirements", "python_install", "python_project"),
    *("maven ", "npm "),
)
ALLOWED_IN_STAGES = {"SPARK_VERSION", "SOURCE_DATE", "EXTRA_INDEXES"}
_PREDEFINED = {"BUILDPLATFORM"}
_SAME_EVERYWHERE = {package.build_arg for package in PACKAGES.values() if not package.per_platform}


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    name: str
    flags: tuple[str, ...]
    text: str

    @property
    def mounts(self) -> tuple[dict[str, str], ...]:
        """The ``--mount`` flags of a RUN."""
        return tuple(
            dict(part.partition("=")[::2] for part in flag.removeprefix("--mount=").split(","))
            for flag in self.flags
            if flag.startswith("--mount=")
        )

    @property
    def words(self) -> list[str]:
        """What follows the flags, word by word; the JSON form is understood."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return self.text.split()


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [_instruction(line) for line in joined.splitlines() if line.strip()]


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    flags = []
    rest = rest.lstrip()
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        flags.append(flag)
    return Instruction(name, tuple(flags), rest)


def global_arguments(instructions: Iterable[Instruction]) -> set[str]:
    """The ARGs before the first FROM."""
    found = set()
    for instruction in instructions:
        if instruction.name == "FROM":
            break
        if instruction.name == "ARG":
            found.add(instruction.text.partition("=")[0])
    return found


def stage_arguments(instructions: Iterable[Instruction]) -> set[str]:
    """The ARGs of the stages."""
    found: set[str] = set()
    inside = False
    for instruction in instructions:
        inside = inside or instruction.name == "FROM"
        if inside and instruction.name == "ARG":
            found.add(instruction.text.partition("=")[0])
    return found


def problems(text: str, files: Iterable[str]) -> Iterator[str]:
    """What is wrong with a recipe's Dockerfile; ``files`` are the paths of its build context."""
    context = set(files)
    if re.search(r"^#\s*syntax\s*=", text, re.MULTILINE):
        yield "a front end from a registry (# syntax=)"
    if re.search(r"^(RUN|COPY)\b.*<<", text, re.MULTILINE):
        yield "a heredoc"
    if re.search(r"\b(https?|ftp|git|ssh)://", re.sub(r"^#.*$", "", text, flags=re.MULTILINE)):
        yield "a URL: what is external is named by arguments or settings"
    instructions = parse(text)
    arguments = global_arguments(instructions)
    yield from (f"ARG {name}={value}: no defaults" for name, value in _defaults(instructions))
    extra = stage_arguments(instructions) - ALLOWED_IN_STAGES
    if extra:
        yield f"unknown arguments: {', '.join(sorted(extra))}"
    stages: set[str] = set()
    for instruction in instructions:
        if instruction.name == "FROM":
            yield from _from_problems(instruction, arguments, stages)
        elif instruction.name == "COPY":
            yield from _copy_problems(instruction, stages, context)
        elif instruction.name == "RUN":
            yield from _run_problems(instruction, stages, context)
        elif instruction.name in {"ADD", "ONBUILD", "MAINTAINER", "SHELL", "VOLUME"}:
            yield f"{instruction.name} is not used here"


def _defaults(instructions: Iterable[Instruction]) -> Iterator[tuple[str, str]]:
    for instruction in instructions:
        if instruction.name == "ARG" and "=" in instruction.text:
            name, _, value = instruction.text.partition("=")
            yield name, value


def _from_problems(instruction: Instruction, arguments: set[str], stages: set[str]) -> Iterator[str]:
    words = instruction.words
    base = words[0]
    argument = re.fullmatch(r"\$\{(\w+)\}", base)
    if argument is None and base != "scratch" and base not in stages:
        yield f"FROM {base}: neither an argument, nor scratch, nor an earlier stage"
    if argument is not None:
        name = argument.group(1)
        if name not in arguments | _PREDEFINED:
            yield f"FROM {base}: no such global argument"
        if (name in _SAME_EVERYWHERE) != (instruction.flags == ("--platform=$BUILDPLATFORM",)):
            yield f"FROM {base}: --platform=$BUILDPLATFORM is for packages, and for them alone"
    if len(words) == 3:
        stages.add(words[2])


def _copy_problems(instruction: Instruction, stages: set[str], context: set[str]) -> Iterator[str]:
    source = None
    for flag in instruction.flags:
        if flag.startswith("--from="):
            source = flag.removeprefix("--from=")
        elif not flag.startswith("--chmod="):
            yield f"COPY {flag}: not in Docker 20.10"
    if source is not None:
        if source not in stages:
            yield f"COPY --from={source}: no such stage"
        return
    for path in instruction.words[:-1]:
        folder = path.rstrip("/")
        if folder == "src" or folder.startswith("src/"):
            continue
        if folder not in context and not any(file.startswith(f"{folder}/") for file in context):
            yield f"COPY {path}: the context has no such file"


def _run_problems(instruction: Instruction, stages: set[str], context: set[str]) -> Iterator[str]:
    mounts = instruction.mounts
    if len(mounts) != len(instruction.flags):
        yield f"RUN with other flags than --mount: {instruction.flags}"
    script = instruction.text
    if re.search(r"(^|[;&|]\s*)(apt|apt-get|pip|pip3|mvn|curl|wget|git)\s", script):
        yield f"a tool that is called past lib/: {script}"
    sourced = re.findall(r"\. /run/fimg/([\w.-]+)", script)
    if not sourced:
        if any(function in script for function in FETCHING):
            yield f"lib/ is not sourced: {script}"
        return
    if not script.startswith(f". /run/fimg/{sourced[0]};"):
        yield "lib/ has to be sourced first"
    if "&&" in script:
        yield f"&& hides failures of functions: {script}"
    by_target = {mount.get("target"): mount for mount in mounts}
    if by_target.get("/run", {}).get("type") != "tmpfs":
        yield f"/run is not a tmpfs: {script}"
    for name in sourced:
        if f"lib/{name}" not in context:
            yield f"the context has no lib/{name}"
        whole, single = by_target.get("/run/fimg", {}), by_target.get(f"/run/fimg/{name}", {})
        if whole.get("source") != "lib" and single.get("source") != f"lib/{name}":
            yield f"lib/{name} is sourced, but not mounted"
        if name != "build.sh" and not whole:
            yield f"lib/{name} needs other files of lib/, which are not mounted"
    for mount in mounts:
        if mount["type"] == "bind" and "from" in mount and mount["from"] not in stages:
            yield f"a mount from {mount['from']}: no such stage"
        exclusive = mount["type"] == "cache" and mount.get("id", "").startswith(("fimg-apt", "fimg-maven"))
        if exclusive and mount.get("sharing") not in {"locked", "private"}:
            yield f"cache {mount['id']} must be locked or private: its owner does not see to that"
        if mount["type"] == "cache" and not mount.get("target", "").startswith("/run/cache/"):
            yield f"cache {mount.get('id')} leaves its mount point in the image"
    secrets = {mount.get("id") for mount in mounts if mount["type"] == "secret"}
    if any(function in script for function in FETCHING) and secrets != {"ca", "network"}:
        yield f"a step that fetches needs both secrets: {script}"


def shell_scripts(folder: Path) -> list[Path]:
    """All shell scripts below ``folder``, by name or by first line."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and (file.suffix == ".sh" or file.read_bytes()[:32].startswith((b"#!/bin/sh", b"#!/bin/bash")))
    )
