#!/usr/bin/env python3
"""Adapts FATE's requirement files to the indexes and the platform an image is built with.

FATE pins packages that only exist on indexes of their own (``torch==1.13.1+cpu``) and names things the
environment brings itself. RULES says what is changed, when and why; every change made is printed, so that a
build log tells how an image differs from the files. Needs nothing but Python 3.8.

The planner imports it too, to say the same beforehand.
"""

import argparse
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, FrozenSet, Iterable, List, Optional, Sequence, Tuple


@dataclass(frozen=True)
class Target:
    """What the requirements are adapted to."""

    machine: str
    python: Tuple[int, int]
    variant: str
    indexes: FrozenSet[str]


@dataclass(frozen=True)
class Rule:
    """One adaptation: lines that match `pattern` are rewritten to `replacement` (None: dropped) when it applies.

    Further lines of a replacement are requirements that come with it; an environment's own version of them gives way.
    """

    pattern: str
    applies: Callable[[Target], bool]
    replacement: Optional[str]
    reason: str


@dataclass(frozen=True)
class Change:
    """A line that a rule changed."""

    before: str
    after: Optional[str]
    reason: str

    def __str__(self) -> str:
        done = "left out" if self.after is None else "taken as " + " and ".join(self.after.splitlines())
        return f"{self.before}: {done} ({self.reason})"


@dataclass(frozen=True)
class Adapted:
    """The adapted lines and what was changed on the way."""

    lines: Tuple[str, ...]
    changes: Tuple[Change, ...]

    def free(self, constraints: Iterable[str]) -> List[str]:
        """`constraints` (`name==version`) without those of requirements that a rule added."""
        added = {name_of(line) for change in self.changes for line in (change.after or "").splitlines()[1:]}
        return [line for line in constraints if name_of(line) not in added]


def _always(target: Target) -> bool:
    return True


#: What may follow a version: for which environments the line is meant.
_MARKER = r"(\s*;.*)?"

# The first rule that matches and applies decides. Patterns match a whole line, without comment, in any case.
RULES: Tuple[Rule, ...] = (
    Rule(
        r"(--(extra-)?index-url|-i)[ =]*https://download\.pytorch\.org/.*",
        _always,
        None,
        "PYTORCH_INDEX_URL says where PyTorch's own builds come from",
    ),
    Rule(
        r"(--find-links|-f)[ =]*https://data\.pyg\.org/.*",
        _always,
        None,
        "PYG_FIND_LINKS says where PyTorch Geometric's builds come from",
    ),
    Rule(
        r"pip\b(?![-_.]).*",
        _always,
        None,
        "the environment brings pip 24.0; pulsar-client 2.10.2 can't be installed by later ones",
    ),
    Rule(
        r"ipcl[-_]python\b.*",
        lambda target: target.machine != "x86_64",
        None,
        "Intel's IPCL exists for x86-64 only",
    ),
    Rule(
        r"ipcl[-_]python\b.*",
        lambda target: target.python != (3, 8),
        None,
        "ipcl-python has builds for Python 3.8 only",
    ),
    Rule(
        r"numba==0\.53\.0",
        lambda target: target.machine == "aarch64",
        "numba==0.56.4",
        "numba 0.53 has no builds for arm64; 0.56 is the first made for the NumPy 1.23 that FATE pins",
    ),
    Rule(
        r"tensorflow-cpu==2\.11\.1",
        lambda target: target.machine == "aarch64",
        "tensorflow-cpu-aws==2.11.0",
        "TensorFlow's builds for arm64 have that name, and 2.11.1 has none",
    ),
    Rule(
        r"datasets==2\.11\.0",
        _always,
        "datasets==2.11.0\npyarrow>=8.0.0",
        "it needs that; the pyarrow 6.0.1 of FATE's other requirements gives way in images for FATE-LLM",
    ),
    Rule(
        r"(.*)\+pt113cpu" + _MARKER,
        lambda target: "pyg" in target.indexes and target.variant == "cuda",
        r"\1+pt113cu117\2",
        "the image is for GPUs",
    ),
    Rule(
        r"pyg[-_]lib==.*\+pt113cpu" + _MARKER,
        lambda target: "pyg" not in target.indexes,
        None,
        "only data.pyg.org has it, and torch-geometric goes without: set PYG_FIND_LINKS to have it installed",
    ),
    Rule(
        r"(.*)\+pt113cpu" + _MARKER,
        lambda target: "pyg" not in target.indexes and target.variant == "cuda",
        r"\1\2",
        "compiled for the CPU: set PYG_FIND_LINKS to have data.pyg.org's builds for CUDA",
    ),
    Rule(
        r"(.*)\+pt113cpu" + _MARKER,
        lambda target: "pyg" not in target.indexes,
        r"\1\2",
        "compiled from its source: builds are on data.pyg.org only, which PYG_FIND_LINKS names",
    ),
    Rule(
        r"(.*)\+cpu" + _MARKER,
        lambda target: "pytorch" in target.indexes and target.variant == "cuda",
        r"\1+cu117\2",
        "the image is for GPUs",
    ),
    Rule(
        r"(.*)\+cpu" + _MARKER,
        lambda target: "pytorch" not in target.indexes,
        r"\1\2",
        "builds without CUDA are on PyTorch's own index only: set PYTORCH_INDEX_URL to have them",
    ),
)


# Compiled against torch where no index has builds; the package `graph` is what comes of it.
COMPILED = ("torch-scatter", "torch-sparse", "torch-cluster", "torch-spline-conv")


def compiled(lines: Iterable[str], target: Target) -> Tuple[str, ...]:
    """Of adapted `lines` those that are compiled."""
    return () if "pyg" in target.indexes else tuple(line for line in lines if name_of(line) in COMPILED)


def adapt(lines: Iterable[str], target: Target, rules: Sequence[Rule] = RULES) -> Adapted:
    """The requirements of `lines` as they are to be installed on `target`."""
    kept: List[str] = []
    changes: List[Change] = []
    for line in lines:
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not text:
            continue
        rule = _rule_for(text, target, rules)
        if rule is None:
            kept.append(text)
            continue
        after = None
        if rule.replacement is not None:
            after = re.sub(rule.pattern, rule.replacement, text, count=1, flags=re.IGNORECASE)
            kept.extend(after.splitlines())
        changes.append(Change(text, after, rule.reason))
    return Adapted(tuple(kept), tuple(changes))


def name_of(requirement: str) -> str:
    """The package a line names, as PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def _rule_for(text: str, target: Target, rules: Sequence[Rule]) -> Optional[Rule]:
    for rule in rules:
        if re.fullmatch(rule.pattern, text, flags=re.IGNORECASE) and rule.applies(target):
            return rule
    return None


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Writes the adapted lines of all files into one, and prints the changes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--variant", required=True, choices=("cpu", "cuda"))
    parser.add_argument("--constraints", type=Path, help="what the environment has; what has to give way is taken out")
    parser.add_argument("--compiled", type=Path, help="where the lines of what is compiled are written, too")
    parser.add_argument("--indexes", default="", help="names of the optional indexes that are configured")
    options = parser.parse_args(arguments)
    target = Target(
        machine=platform.machine(),
        python=(sys.version_info[0], sys.version_info[1]),
        variant=options.variant,
        indexes=frozenset(options.indexes.split()),
    )
    lines: List[str] = []
    for file in options.files:
        try:
            lines.extend(file.read_text(encoding="utf-8").splitlines())
        except OSError as error:
            print(f"fimg: error: {file}: {error.strerror}", file=sys.stderr)
            return 1
    adapted = adapt(lines, target)
    for change in adapted.changes:
        print(f"fimg: {change}")
    _write(options.output, adapted.lines)
    if options.compiled is not None:
        _write(options.compiled, compiled(adapted.lines, target))
    if options.constraints is not None:
        _write(options.constraints, adapted.free(options.constraints.read_text(encoding="utf-8").splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
