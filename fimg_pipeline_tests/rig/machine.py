"""Commands the rig needs on this machine itself."""

from __future__ import annotations

import os
import shutil
import subprocess


def require_command(name: str, package: str, *, purpose: str) -> None:
    """Makes sure of the command ``name``; installs the Debian ``package`` when it is missing, and says so."""
    if shutil.which(name):
        return
    if os.geteuid() != 0:
        raise RuntimeError(f"{purpose} needs {name}: install {package}, or run this as root (sudo -E …)")
    print(f"installing {package} (for {purpose})")
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*apt, "update"], capture_output=True, check=False)
    subprocess.run(
        [*apt, "install", "-y", "--no-install-recommends", package],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        check=True,
    )
