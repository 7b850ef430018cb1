"""The logins that docker keeps: in its configuration file, or with the credential helpers it names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import docker.auth
import docker.errors

from fimg_pipeline.errors import FimgError


class LoginsError(FimgError):
    """The logins that docker keeps can't be read."""


def logins() -> docker.auth.AuthConfig:
    """Those of the configuration file; :class:`LoginsError` where the SDK would pass over what is wrong with it.

    Nothing of the file's content is in the error: it may be a password.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return docker.auth.load_config()
    except OSError as error:
        raise _error(path, f"can't be read: {error.strerror}") from None
    except ValueError:
        raise _error(path, "is no JSON") from None
    if not isinstance(found, dict):
        raise _error(path, "is no JSON object")
    try:
        return docker.auth.load_config(config_dict=found)
    except (ValueError, TypeError, AttributeError, docker.errors.DockerException):
        raise _error(path, "has logins (auths) that are none") from None


def login_for(host: str) -> dict[str, Any] | None:
    """What is kept for a registry, in the SDK's words (``username``, ``Username`` …)."""
    kept = logins()
    try:
        found: dict[str, Any] | None = kept.resolve_authconfig(host)
    except (docker.errors.DockerException, ValueError, TypeError, KeyError, AttributeError):
        # What a helper printed may be the very password.
        helper = kept.get_credential_store(host)
        raise LoginsError(
            f"docker-credential-{helper}, which has the login for {host}, can't be asked or failed",
            hint="docker login again, or set REGISTRY_USER and REGISTRY_PASSWORD",
        ) from None
    return found


def _error(path: Path, what: str) -> LoginsError:
    return LoginsError(f"{path}, docker's configuration, {what}", hint="mend it, or move it away and log in again")
