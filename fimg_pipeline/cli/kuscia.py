"""``fimg kuscia-job``: a job's file with its tasks on another AppImage, as text for whoever applies it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fimg_pipeline.kuscia.job import JobError, with_app_image


def print_job(file: str, app_image: str, tasks: Sequence[str]) -> None:
    """Prints the job of ``file`` (``-``: standard input) with its tasks on ``app_image``, byte for byte else."""
    name = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        done = with_app_image(content.decode("utf-8"), app_image, tasks)
    except UnicodeDecodeError:
        raise JobError(f"{name} is no text in UTF-8") from None
    except OSError as error:
        raise JobError(f"{name} can't be read: {error.strerror}") from None
    except JobError as error:
        raise JobError(f"{name}: {error.message}", hint=error.hint) from None
    sys.stdout.buffer.write(done.encode())
    sys.stdout.buffer.flush()
