"""Plans as people and scripts read them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fimg_pipeline.plan.model import Plan, Status

_STYLE = {
    Status.CURRENT: "green",
    Status.REUSABLE: "cyan",
    Status.STALE: "yellow",
    Status.MISSING: "yellow",
    Status.UNBUILDABLE: "dim",
}


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The object of ``fimg plan --json``; scripts outside the project read it, so names only get added."""
    fate = plan.source.fate
    return {
        "tag": plan.tag,
        "base_tag": plan.base_tag,
        "platform": plan.platform,
        "prefix": plan.prefix,
        "source": {
            "ref": fate.ref,
            "commit": fate.commit,
            "dirty": plan.source.dirty,
            "version": plan.source.version,
            "repositories": {
                name: {"ref": repository.ref, "commit": repository.commit, "dirty": repository.dirty}
                for name, repository in plan.source.repositories.items()
            },
        },
        "packages": [
            {
                "name": package.name,
                "reference": package.stage,
                "fingerprint": package.fingerprint,
                "status": package.status.value,
                "reason": package.reason,
            }
            for package in plan.packages
        ],
        "images": [
            {
                "name": image.name,
                "reference": image.reference,
                "aliases": list(image.aliases),
                "parents": [image.image.parent] if image.image.parent else [],
                "dockerfile": image.dockerfile,
                "packages": list(image.image.recipe.packages),
                "build_args": dict(image.build_args),
                "selected_by": image.selected_by,
                "fingerprint": image.fingerprint,
                "status": image.status.value,
                "reason": image.reason,
                "adaptations": list(image.adaptations),
            }
            for image in plan.images
        ],
        "push": list(plan.push),
        "bundle": list(plan.bundle),
        "warnings": list(plan.warnings),
    }


def print_plan(plan: Plan, console: Console) -> None:
    """The plan as a table in build order, with what is up to date and what is not, and why."""
    fate = plan.source.fate
    state = " with uncommitted changes" if plan.source.dirty else ""
    where = f"{plan.prefix}/…:{plan.tag}" + (f" (base images :{plan.base_tag})" if plan.base_tag != plan.tag else "")
    console.print(f"FATE {plan.source.version}, {fate.ref} at {fate.commit[:12]}{state}, {plan.platform}: {where}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("image", "status", "why", "selected by", "fingerprint"):
        table.add_column(column, overflow="fold", no_wrap=column in ("image", "status", "fingerprint"))
    for image in plan.images:
        status = f"[{_STYLE[image.status]}]{image.status.value}[/]"
        # The reasons are long and few: they stand below the table.
        why = "see below" if image.status is Status.UNBUILDABLE else escape(image.reason)
        table.add_row(image.name, status, why, image.selected_by, image.fingerprint[:12])
    if plan.images:
        console.print(table)
    stale = [package.name for package in plan.packages if package.status is not Status.CURRENT]
    console.print(f"packages to make: {', '.join(stale) if stale else 'none'}")
    to_build = [image for image in plan.images if image.status in (Status.STALE, Status.MISSING)]
    console.print(f"images: {len(plan.images)} planned, {len(to_build)} to build, {len(plan.push)} to push")
    for images, lines in _adaptations(plan).items():
        console.print(f"FATE's requirements are adapted in {', '.join(images)}:", highlight=False, soft_wrap=True)
        for line in lines:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    for warning in plan.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)


def _adaptations(plan: Plan) -> dict[tuple[str, ...], list[str]]:
    """Images, and what is changed for all of them in FATE's requirement files."""
    by_line: dict[str, list[str]] = {}
    for image in plan.buildable:
        for line in image.adaptations:
            by_line.setdefault(line, []).append(image.name)
    by_images: dict[tuple[str, ...], list[str]] = {}
    for line, images in by_line.items():
        by_images.setdefault(tuple(images), []).append(line)
    return by_images
