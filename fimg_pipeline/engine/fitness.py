"""Whether an engine is fit to build on: its version, the room on its disk. Asked before every build."""

from __future__ import annotations

import re
import shutil
from typing import Final

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.errors import EngineError

#: The first with all that builds use: BuildKit without experiments, secrets, ids of what was built.
_OLDEST: Final = (20, 10)
#: With less (bytes) nothing is built: a full disk stops whatever else runs on the engine, too.
LEAST_ROOM: Final = 2 << 30
ROOM_HINT: Final = "`docker system df` says what takes it; `fimg prune` and `docker builder prune` free some"


def require_fit(engine: Engine) -> None:
    """:class:`EngineError` when nothing should be built on it now, with what to do about it."""
    if problem := version_problem(engine.version):
        raise EngineError(problem, hint="install a newer docker")
    free = free_bytes(engine)
    if free is not None and free < LEAST_ROOM:
        raise EngineError(
            f"the engine's disk ({engine.disk}) has {free / 1e9:.1f} GB free, "
            f"and no build begins with less than {LEAST_ROOM / 1e9:.1f}",
            hint=ROOM_HINT,
        )


def version_problem(version: str) -> str | None:
    """Why an engine of that version can't be built on, or ``None``."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= _OLDEST:
        # A version that somebody made up says nothing.
        return None
    return f"the Docker engine is {version}; builds need {'.'.join(f'{number:02}' for number in _OLDEST)} or later"


def free_bytes(engine: Engine) -> int | None:
    """What is free on its disk, where that can be seen from here."""
    return None if engine.disk is None else shutil.disk_usage(engine.disk).free
