"""Input fingerprints: equal fingerprint, equal image, nothing to build.

A fingerprint covers the recipe's files, its build arguments and the options that change the result. Arguments name
parents and packages by their own fingerprints, so a change anywhere below reaches everything above it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

#: 160 bits of sha256 in hex: fits a Docker tag, a Dagster tag (63 characters) and a person's eye.
FINGERPRINT_LENGTH: Final = 40


def fingerprint(inputs: Mapping[str, str]) -> str:
    """The fingerprint of ``inputs``; their order does not matter."""
    canonical = json.dumps(dict(inputs), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:FINGERPRINT_LENGTH]


def changed_inputs(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Names of the inputs in which two sets differ, in a person's words (``package proxy``, ``parent``)."""
    return [_spoken(name) for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


def _spoken(name: str) -> str:
    if name.startswith("PACKAGE_"):
        return f"package {name.removeprefix('PACKAGE_').lower()}"
    return {"PARENT": "parent", "options": "Docker_Options", "refreshed": "refreshed"}.get(name, name)
