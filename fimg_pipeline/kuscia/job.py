"""KusciaJob files: which AppImage their tasks run on, set without touching anything else of the text.

The file is somebody's own, with comments and configurations of a thousand characters on a line: it is not written anew,
only the values are put in their places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.documents import DocumentError, load_all, spaced
from fimg_pipeline.kuscia.names import checked_name

KIND: Final = "KusciaJob"
_FIELD: Final = "appImage"
#: Names that every reader of YAML takes for text without quotes: kubectl's knows more numbers and booleans than ours.
_PLAIN: Final = re.compile(r"[a-z][a-zA-Z0-9.-]*")
_WORDS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


class JobError(FimgError):
    """A file that holds no KusciaJob whose tasks can be set."""


@dataclass(frozen=True)
class _Edit:
    """``text`` in the place of what is between two positions."""

    start: int
    end: int
    text: str


def with_app_image(text: str, app_image: str, tasks: Collection[str] = ()) -> str:
    """``text`` (YAML or JSON, one or several documents) with ``spec.tasks[].appImage`` of its KusciaJobs set.

    ``tasks``: the ``taskID`` of those that are, if not all. Raises :class:`JobError` naming what is wrong, and
    :class:`~fimg_pipeline.kuscia.names.AppImageNameError`.
    """
    checked_name(app_image)
    try:
        wanted = load_all(text)
        nodes = list(yaml.compose_all(spaced(text), Loader=yaml.SafeLoader))
    except DocumentError as error:
        raise JobError(error.message) from None
    edits: list[_Edit] = []
    seen: set[str] = set()
    jobs = 0
    for node, document in zip(nodes, wanted, strict=True):
        if not isinstance(document, dict) or document.get("kind") != KIND:
            continue
        jobs += 1
        for place, (task_node, task) in enumerate(_tasks(node, document)):
            name = str(task.get("taskID", ""))
            seen.add(name)
            if tasks and name not in tasks:
                continue
            task[_FIELD] = app_image
            edits.append(_edit(text, task_node, app_image, f"spec.tasks[{place}]"))
    if not jobs:
        raise JobError(f"it holds no document of kind {KIND}")
    unknown = sorted(set(tasks) - seen)
    if unknown:
        raise JobError(f"no task is called {', '.join(unknown)}", hint=f"there are {', '.join(sorted(seen))}")
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    if not _is(text, wanted):
        raise JobError(
            "setting it would change something else too: tasks share parts (anchors, aliases), or are written in "
            "another way than fields and values",
            hint="write the tasks out, each field as `name: value`",
        )
    return text


def _tasks(node: yaml.Node, document: dict[str, Any]) -> Iterator[tuple[yaml.MappingNode, dict[str, Any]]]:
    """The tasks of a job, as nodes and as data."""
    spec = document.get("spec")
    tasks = spec.get("tasks") if isinstance(spec, dict) else None
    if not isinstance(tasks, list) or not tasks:
        raise JobError("spec.tasks must be a list of tasks")
    found = _value(_value(node, "spec"), "tasks")
    if not isinstance(found, yaml.SequenceNode):
        raise JobError("spec.tasks comes from elsewhere (<<)", hint="write the tasks out")
    for place, (task_node, task) in enumerate(zip(found.value, tasks, strict=True)):
        if not isinstance(task, dict) or not task or not isinstance(task_node, yaml.MappingNode):
            raise JobError(f"spec.tasks[{place}] must be a mapping with taskID and {_FIELD}")
        yield task_node, task


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _edit(text: str, task: yaml.MappingNode, app_image: str, place: str) -> _Edit:
    """What sets a task's field: in the place of its value, or before its first field when it has none."""
    fields = [(name, value) for name, value in task.value if name.value == _FIELD]
    if fields:
        name, value = fields[0]
        start, end = value.start_mark.index, value.end_mark.index
        if not isinstance(value, yaml.ScalarNode) or start < name.end_mark.index or text[start : start + 1] == "&":
            raise JobError(f"{place}.{_FIELD} must be a name, not an alias or anything else", hint="write it out")
        after = ""
        if value.style in ("|", ">"):
            # Such a value ends where the next line begins, and may have a comment on its first.
            end = start + len(text[start:end].rstrip())
            comment = re.match(r"[^\s#]*(\s+#[^\r\n]*)", text[start:end])
            after = comment[1] if comment else ""
        # Right behind the colon (which a list in braces may do without), where there is no value.
        before = "" if start < end else " " if ":" in text[name.end_mark.index : start] else ": "
        return _Edit(start, end, before + _scalar(app_image, value.style) + after)
    first = task.value[0][0]
    start = first.start_mark.index
    quote = first.style if first.style == '"' else None
    field = f"{_scalar(_FIELD, quote)}: {_scalar(app_image, quote)}"
    line = "\r\n" if "\r\n" in text else "\n"
    return _Edit(start, start, f"{field}, " if task.flow_style else f"{field}{line}{' ' * first.start_mark.column}")


def _scalar(text: str, style: str | None) -> str:
    """``text`` in the quotes that are wanted, or in those that keep it a string (``1e3``, ``n``), whoever reads it."""
    if style == "'":
        return f"'{text}'"
    return text if style != '"' and _PLAIN.fullmatch(text) and text not in _WORDS else json.dumps(text)


def _is(text: str, wanted: list[Any]) -> bool:
    try:
        return load_all(text) == wanted
    except DocumentError:
        return False
