"""Templates of AppImages: those that come with the project, by name, each with what it is for in its first lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fimg_pipeline.errors import FimgError

_FOLDER: Final = Path(__file__).parent
GENERAL: Final = "general"
#: Bytes of a template, wherever it is from.
LARGEST: Final = 1 << 20


class TemplateFileError(FimgError):
    """There is no template of that name."""


@dataclass(frozen=True)
class Template:
    """A template's text, and where it is from, for people."""

    source: str
    text: str


def names() -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def shipped(name: str) -> Template:
    """A template that comes with the project."""
    return Template(name, (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def find(text: str, folder: Path) -> Template:
    """The template called ``text``: one that comes with the project, or a file, seen from ``folder``."""
    if text in names():
        return shipped(text)
    try:
        with (folder / text).open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise TemplateFileError(f"template {text} has more than the {LARGEST} bytes that are read at most")
        return Template(text, content.decode("utf-8"))
    except UnicodeDecodeError:
        raise TemplateFileError(f"template {text} is no text in UTF-8") from None
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise TemplateFileError(
            f"template {text} can't be read: {problem}", hint=f"a file, or one of {', '.join(names())}"
        ) from None
