"""The catalog against the build document: names, switches, what is pushed, what arm64 can have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.images import IMAGES, lineage, unbuildable_reason
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.dockerfiles import ROOT

#: The list the build document prints after a full build, misspelt names included.
LISTED = frozenset(
    {
        "fate-test-ipcl",
        "spark-worker-ipcl",
        "spark-base-ipcl",
        "fateflow-spark-ipcl",
        "eggroll-ipcl",
        "fateflow-ipcl",
        "base-image-ipcl",
        "spark-worker-all-gpu",
        "spark-bash-all-gpu",
        "fateflow-spark-all-gpu",
        "eggroll-all-gpu",
        "fateflow-all-gpu",
        "spark-worker-nn-gpu",
        "spark-bash-nn-gpu",
        "fateflow-spark-nn-gpu",
        "eggroll-nn-gpu",
        "fateflow-nn-gpu",
        "spark-worker-nn",
        "spark-bash-nn",
        "fateflow-spark-nn",
        "eggroll-nn",
        "fateflow-nn",
        "fate-upgrade-manager",
        "fate-test",
        "client",
        "nginx",
        "spark-worker",
        "spark-master",
        "spark-base",
        "fateflow-spark",
        "eggroll",
        "fateboard",
        "fateflow",
        "base-image",
    }
)


#: Switches (B=Basic S=Spark N=NN G=GPU L=LLM I=IPCL O=OP F=FUM, all must be on), parent, pushed and bundled: as the
#: build document's script has them; spark-base-* and the workers on them as decided, see the module of the images.
MATRIX = """
base-image              -    -                      no
fateflow                B    base-image             yes
fateboard               B    -                      yes
eggroll                 B    base-image             yes
fateflow-spark          S    fateflow               yes
spark-base              S    fateflow               no
spark-master            S    spark-base             yes
spark-worker            S    spark-base             yes
nginx                   S    -                      yes
fateflow-nn             N    fateflow               yes
eggroll-nn              N    eggroll                yes
fateflow-spark-nn       SN   fateflow-spark         yes
spark-base-nn           SN   spark-base             no
spark-worker-nn         SN   spark-base-nn          yes
fateflow-nn-gpu         NG   fateflow               yes
eggroll-nn-gpu          NG   eggroll                yes
fateflow-spark-nn-gpu   SNG  fateflow-spark         yes
spark-base-nn-gpu       SNG  spark-base             no
spark-worker-nn-gpu     SNG  spark-base-nn-gpu      yes
fateflow-all-gpu        LG   fateflow-nn-gpu        yes
eggroll-all-gpu         LG   eggroll-nn-gpu         yes
fateflow-spark-all-gpu  SLG  fateflow-spark-nn-gpu  yes
spark-base-all-gpu      SLG  spark-base-nn-gpu      no
spark-worker-all-gpu    SLG  spark-base-all-gpu     yes
base-image-ipcl         I    base-image             no
fateflow-ipcl           I    base-image-ipcl        yes
eggroll-ipcl            I    base-image-ipcl        yes
fateflow-spark-ipcl     IS   fateflow-ipcl          yes
spark-base-ipcl         IS   fateflow-ipcl          no
spark-worker-ipcl       IS   spark-base-ipcl        yes
client                  O    fateflow               yes
fate-test               O    fateflow               yes
fate-test-ipcl          OI   fateflow-ipcl          yes
fate-upgrade-manager    F    -                      yes
"""
SWITCHES = dict(zip("BSNGLIOF", ["Basic", "Spark", "NN", "GPU", "LLM", "IPCL", "OP", "FUM"], strict=True))


def test_switches_parents_and_what_is_pushed_are_the_specifications() -> None:
    rows = [line.split() for line in MATRIX.strip().splitlines()]
    assert [row[0] for row in rows] == list(IMAGES)
    for name, letters, parent, pushed in rows:
        image = IMAGES[name]
        wanted = {f"Build_{SWITCHES[letter]}" for letter in letters if letter != "-"}
        assert {feature.variable for feature in image.selected_by} == wanted, name
        assert (image.parent or "-", "yes" if image.published else "no") == (parent, pushed), name


def test_every_listed_name_is_an_image_or_an_alias() -> None:
    names = {name for image in IMAGES.values() for name in (image.name, *image.aliases)}
    assert len(LISTED) == 34 == len(IMAGES)
    assert names >= LISTED
    assert names - LISTED == {"spark-base-nn", "spark-base-nn-gpu", "spark-base-all-gpu"}


def test_27_names_are_pushed() -> None:
    published = {image.name for image in IMAGES.values() if image.published}
    assert len(published) == 27
    assert not [name for name in published if "base" in name]


def test_parents_come_before_children() -> None:
    seen: set[str] = set()
    for image in IMAGES.values():
        assert image.parent is None or image.parent in seen
        seen.add(image.name)


@pytest.mark.parametrize("image", IMAGES.values(), ids=lambda image: str(image.name))
def test_what_recipes_need_exists_and_is_used(image: object) -> None:
    from fimg_pipeline.catalog.images import Image

    assert isinstance(image, Image)
    recipe = image.recipe
    assert set(recipe.bases) <= set(BASES) and set(recipe.packages) <= set(PACKAGES)
    assert image.parent or recipe.bases, "an image stands on a parent or on an external base"
    assert recipe.smoke


@pytest.mark.parametrize("path", RECIPES)
def test_dockerfiles_declare_exactly_what_the_catalog_gives(path: str) -> None:
    recipe = RECIPES[path]
    text = (ROOT / path / "Dockerfile").read_text()
    first_stage = re.search(r"^FROM ", text, re.MULTILINE)
    assert first_stage is not None
    declared = set(re.findall(r"^ARG (\w+)", text[: first_stage.start()], re.MULTILINE)) | (
        set(re.findall(r"^ARG (\w+)$", text, re.MULTILINE)) - {"TARGETARCH", "TARGETPLATFORM", "BUILDPLATFORM"}
    )
    given = {BASES[name].build_arg for name in recipe.bases} | {PACKAGES[name].build_arg for name in recipe.packages}
    given |= set(recipe.fate_env) | ({"SOURCE_DATE"} if recipe.source_date else set())
    given |= {"EXTRA_INDEXES"} if recipe.optional_indexes else set()
    if any(image.recipe_path == path and image.parent for image in IMAGES.values()):
        given.add("PARENT")
    assert declared == given


def test_arm64_has_the_basic_images_and_reasons_for_the_rest() -> None:
    reasons = {name: unbuildable_reason(name, "arm64") for name in IMAGES}
    buildable = {name for name, reason in reasons.items() if reason is None}
    assert {"base-image", "fateflow", "fateboard", "eggroll"} <= buildable
    assert all(len(reason) > 30 for reason in reasons.values() if reason is not None)
    assert (
        unbuildable_reason(
            "spark-worker-nn",
            "arm64",
        )
        == f"it stands on spark-base-nn: {reasons['spark-base-nn']}"
    )


def test_amd64_has_everything() -> None:
    assert not [name for name in IMAGES if unbuildable_reason(name, "amd64")]


def test_lineage() -> None:
    assert [image.name for image in lineage("spark-worker-nn")] == [
        "base-image", "fateflow", "spark-base", "spark-base-nn", "spark-worker-nn",
    ]  # fmt: skip


def test_recipes_are_all_used() -> None:
    used = {image.recipe_path for image in IMAGES.values()} | {package.recipe for package in PACKAGES.values()}
    assert used == set(RECIPES)


def test_the_documentation_lists_what_the_catalog_has() -> None:
    text = (Path(__file__).parent.parent / "docs" / "images.md").read_text()
    for image in IMAGES.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{image.name}`"))
        assert image.description in row and image.recipe_path in row
        assert all(feature.variable in row for feature in image.selected_by)
        assert all(f"`{alias}`" in row for alias in image.aliases)
        assert ("| no (" in row) == (unbuildable_reason(image.name, "arm64") is not None)
    reasons = {reason for recipe in RECIPES.values() for reason in recipe.unbuildable.values()}
    assert all(reason in text for reason in reasons)
    assert all(f"| `{name}` |" in text for name in PACKAGES)
