"""How steps are run: a process each, from a server that has everything imported already.

Dagster's default starts an interpreter per step, which costs more than most steps here do when nothing changed.
"""

from __future__ import annotations

import os
from typing import Final

import dagster as dg

#: Builds wait for the network about as long as they compute: two steps per core keep both busy.
MAX_CONCURRENT: Final = max(2, 2 * (os.cpu_count() or 1))

EXECUTOR: Final = dg.multiprocess_executor.configured(
    {
        "max_concurrent": MAX_CONCURRENT,
        "start_method": {"forkserver": {"preload_modules": ["fimg_pipeline.automation.preload"]}},
    }
)
