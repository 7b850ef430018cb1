"""What builds may read and no layer may hold: an extra CA, and mirrors whose URLs can carry passwords."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path


def secret_files(folder: Path, ca_bundle: Path | None, variables: Mapping[str, str]) -> Mapping[str, Path]:
    """Writes secrets to ``folder``. Id → file: ``ca``, and ``network``, lines with ``variables`` a shell can source."""
    secrets: dict[str, Path] = {}
    if ca_bundle is not None:
        # By a path of ours: the client's option is a list separated by commas.
        secrets["ca"] = Path(shutil.copyfile(ca_bundle, folder / "ca"))
    if variables:
        path = folder / "network"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        secrets["network"] = path
    return secrets
