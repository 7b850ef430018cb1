"""What builds may read and no layer may hold: an extra CA, and mirrors whose URLs can carry passwords."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def secret_files(home: Path, ca_bundle: Path | None, variables: Mapping[str, str]) -> Iterator[Mapping[str, Path]]:
    """Secret id → file, for the block: ``ca``, and ``network``, lines with ``variables`` that a shell can source."""
    kept = home / "secrets"
    _sweep(kept)
    kept.mkdir(parents=True, exist_ok=True)
    secrets: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=kept) as folder:
        if ca_bundle is not None:
            # By a path of ours: the client's option is a list separated by commas.
            secrets["ca"] = Path(shutil.copyfile(ca_bundle, Path(folder) / "ca"))
        if variables:
            path = Path(folder) / "network"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
            secrets["network"] = path
        yield secrets


def _sweep(folder: Path) -> None:
    """Removes what builds that were killed left: their folders begin with the id of their process."""
    for left in folder.glob("*-*"):
        pid = left.name.partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
