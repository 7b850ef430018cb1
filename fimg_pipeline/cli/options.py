"""Flags that every verb shares: each stands for the environment variable of the build document."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from fimg_pipeline.settings import Settings, exported, load

_T = TypeVar("_T")

_FLAGS: Final[dict[str, str]] = {
    "fate_dir": "FATE_DIR",
    "tag": "TAG",
    "base_tag": "BASE_TAG",
    "prefix": "PREFIX",
    "platform": "Platform",
}


def checked(read: Callable[[str], _T]) -> Callable[[click.Context, click.Parameter, str | None], _T | None]:
    """A click callback that has a value read by ``read``, whose :class:`ValueError` says what it must be."""

    def callback(_context: click.Context, _parameter: click.Parameter, text: str | None) -> _T | None:
        try:
            return None if text is None else read(text)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} {error}") from None

    return callback


def containers(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Reads containers' names by domain (a click callback)."""
    named = dict(text.partition("=")[::2] for text in given)
    wrong = next((text for text in given if not all(text.partition("="))), None)
    if wrong is not None or len(named) < len(given):
        raise click.BadParameter(f"{wrong!r} must be DOMAIN=NAME" if wrong else "a domain is named twice")
    return named


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command and hands it ``settings`` and ``flags`` (variable → value given on the line)."""

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> Any:
        flags = {variable: arguments.pop(flag) for flag, variable in _FLAGS.items()}
        given = {variable: value for variable, value in flags.items() if value is not None}
        settings = load(given)
        # Dagster, git and Docker's client read the environment only.
        os.environ.update(exported(given))
        return command(settings=settings, flags=given, **arguments)

    for flag, variable in reversed(_FLAGS.items()):
        wrapped = click.option(f"--{flag.replace('_', '-')}", flag, metavar="TEXT", help=f"Overrides {variable}.")(
            wrapped
        )
    return wrapped


def given_settings(settings: Settings, flags: dict[str, str]) -> dict[str, str]:
    """What a run has to be told so that it sees the same settings: flags, since it inherits the environment."""
    return {"TAG": settings.tag, "Platform": settings.platform, **flags}
