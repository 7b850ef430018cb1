"""Where a Kuscia deployment on this engine has its nodes: containers by convention, or as they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from fimg_pipeline.errors import FimgError

#: The node that has the API server of a centralized deployment, among the domains of ``containers``.
MASTER: Final = "master"
#: Docker's grammar for names of containers; domains and users are parts of them.
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class DeploymentError(FimgError):
    """A deployment that can't be: a mode, a user or domains that name no containers."""


class Mode(str, Enum):
    """How domains are deployed: lites below one master, or each with an API server of its own."""

    CENTER = "center"
    P2P = "p2p"


@dataclass(frozen=True)
class Deployment:
    """``containers``: how those are called that don't follow the convention, by domain (and :data:`MASTER`)."""

    mode: Mode
    user: str
    domains: Sequence[str]
    containers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, text in (
            ("user", self.user),
            *(("domain", domain) for domain in self.domains),
            *((f"container of {domain}", name) for domain, name in self.containers.items()),
        ):
            if not _PART.fullmatch(text):
                raise DeploymentError(f"{what} {text!r} must be letters, digits, '_', '.', '-', beginning with one")
        if not self.domains:
            raise DeploymentError("no domain is named", hint="one or several, with commas between them: alice,bob")
        twice = sorted({domain for domain in self.domains if list(self.domains).count(domain) > 1})
        if twice:
            raise DeploymentError(f"domain {twice[0]} is named twice")
        known = {*self.domains, *([MASTER] if self.mode is Mode.CENTER else [])}
        unknown = sorted(set(self.containers) - known)
        if unknown:
            raise DeploymentError(
                f"a container is named for {unknown[0]}, which is no node here", hint=f"nodes: {', '.join(known)}"
            )
        shared = sorted(
            {name for name in self.image_nodes if self.image_nodes.count(name) > 1}
            | (set(self.image_nodes) & set(self.api_nodes) if self.mode is Mode.CENTER else set())
        )
        if shared:
            raise DeploymentError(f"container {shared[0]} is named for two nodes")

    @property
    def image_nodes(self) -> tuple[str, ...]:
        """The containers that run tasks and need the image, a domain each."""
        kind = "lite" if self.mode is Mode.CENTER else "autonomy"
        return tuple(self._container(domain, f"{kind}-{domain}") for domain in self.domains)

    @property
    def api_nodes(self) -> tuple[str, ...]:
        """The containers with an API server: where AppImages are applied."""
        return (self._container(MASTER, MASTER),) if self.mode is Mode.CENTER else self.image_nodes

    def _container(self, domain: str, rest: str) -> str:
        return self.containers.get(domain, f"{self.user}-kuscia-{rest}")


def domains_of(text: str) -> tuple[str, ...]:
    """The domains of a list with commas: ``alice,bob``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
