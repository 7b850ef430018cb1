"""The two READMEs say the same: commands, tables, pictures, links and headings."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.cli.main import main
from fimg_pipeline.plan.selection import Verb
from fimg_pipeline.variables import VARIABLES

ROOT = Path(__file__).parents[1]
#: The variables of FATE-Builder's document.
_BUILD_DOCUMENT = {
    "FATE_DIR", "TAG", "BASE_TAG", "PREFIX", "Docker_Options", "IPCL_PKG_DIR", "IPCL_VERSION", "Build_LLM_VERSION",
    "Platform", *(feature.variable for feature in Feature),
}  # fmt: skip
ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh.md"))


def blocks(text: str) -> list[str]:
    """What stands between fences: commands and what they print."""
    return re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)


def levels(text: str) -> list[int]:
    """Of every heading how deep it is."""
    return [len(match) for match in re.findall(r"^(#+) ", text, re.MULTILINE)]


def first_cells(text: str) -> list[str]:
    """What tables are about: commands and variables."""
    return [cell for cell in re.findall(r"^\| (.*?) \|", text, re.MULTILINE) if "`" in cell]


def targets(text: str) -> set[str]:
    """Where links and pictures lead, but for the other language."""
    return {target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("README")}


@pytest.mark.parametrize("part", [blocks, levels, first_cells, targets])
def test_both_have_the_same(part: object) -> None:
    assert callable(part)
    english, chinese = (part(file.read_text(encoding="utf-8")) for file in (ENGLISH, CHINESE))
    assert english and english == chinese


def test_every_link_leads_somewhere() -> None:
    for file in (ENGLISH, *(ROOT / "docs").glob("*.md")):
        for target in targets(file.read_text(encoding="utf-8")):
            place = target.partition("#")[0]
            if place and not place.startswith(("http:", "https:")):
                assert (file.parent / place).exists(), f"{file.name}: {target}"


def test_troubleshooting_has_messages_that_are_printed() -> None:
    sources = [path for path in (ROOT / "fimg_pipeline").rglob("*") if path.suffix in (".py", ".sh")]
    # Strings that go on in the next line, as one.
    code = " ".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in sources)
    told = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(told) > 20 and [message for message in told if message not in code] == []


def test_migration_has_every_variable_and_verb_of_the_scripts() -> None:
    text = (ROOT / "docs/migration.md").read_text(encoding="utf-8")
    told = " ".join(first_cells(text))
    of_the_document = {variable.name for variable in VARIABLES if variable.name in _BUILD_DOCUMENT}
    assert of_the_document == _BUILD_DOCUMENT
    for name in (*_BUILD_DOCUMENT, *(verb.value for verb in Verb), "push", "-f", "-p", "-t", "-h"):
        assert f"`{name}" in told, name
    register = main.commands["register"]
    flags = {option for parameter in register.params for option in parameter.opts if re.fullmatch("-[a-z]", option)}
    assert flags and {flag for flag in flags if f"`{flag}" not in told} == set()


def test_every_command_is_in_the_table() -> None:
    told = " ".join(first_cells(ENGLISH.read_text(encoding="utf-8")))
    # What is only for those who set up: the Makefile, the deployment.
    hidden = {"setup", "exec"}
    assert isinstance(main, click.Group)
    assert {name for name in main.commands if f"fimg {name}" not in told} == hidden
