"""Registering as its tests do: the command, images of a few bytes, and what nodes are asked and given."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.rig.command import FIMG, Result, environment
from fimg_pipeline_tests.rig.kuscia import Kuscia, KusciaNode
from fimg_pipeline_tests.ship.archives import Image, layer, saved_by_old_engine

DOMAINS = ("alice", "bob")


@dataclass(frozen=True)
class Register:
    """``fimg register`` as a script runs it, without a terminal."""

    home: Path

    def __call__(self, rig: Kuscia, mode: str, image: str, *more: str) -> Result:
        done = subprocess.run(
            self._command(rig, mode, image, *more),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        return Result(done.returncode, done.stdout)

    def start(self, rig: Kuscia, mode: str, image: str, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(rig, mode, image, *more),
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def succeeds(self, rig: Kuscia, mode: str, image: str, *more: str) -> str:
        result = self(rig, mode, image, *more)
        assert result.status == 0, result.output
        return result.output

    def _command(self, rig: Kuscia, mode: str, image: str, *more: str) -> list[str]:
        return [FIMG, "register", "-u", rig.user, "-m", mode, "-i", image, *more]

    @property
    def _environment(self) -> dict[str, str]:
        return {**environment(), "FIMG_HOME": str(self.home)}


@dataclass(frozen=True)
class Images:
    """Images of a few bytes, put into the engine under names of their own."""

    engine: Engine
    names: list[str]

    def make(
        self,
        name: str,
        *,
        size: int = 20_000,
        architecture: str = "amd64",
        files: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> str:
        """Gives ``name`` to a new image, as a build does; its id.

        It has ``size`` bytes that do not shrink, ``files`` by their content, ``links`` by what they point at.
        """
        content = _content(os.urandom(size), files or {}, links or {})
        image = Image((layer(uuid.uuid4().hex, 2000), content), uuid.uuid4().hex, architecture)
        self.engine.sdk.images.load(saved_by_old_engine([image]))
        self.engine.tag(image.image_id, name)
        self.names.append(name)
        return image.image_id


def _content(noise: bytes, files: Mapping[str, str], links: Mapping[str, str]) -> bytes:
    """A layer's tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in {"noise": noise, **{name: text.encode() for name, text in files.items()}}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return stream.getvalue()


def unique(name: str = "image") -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def lites(rig: Kuscia) -> list[KusciaNode]:
    return [node for name, node in rig.nodes.items() if name.startswith("lite-")]


def untouched(rig: Kuscia, name: str) -> None:
    assert not any(name in node.images() for node in lites(rig))
    assert not any(name.partition("/")[2].replace(":", "-") in found for found in rig.nodes["master"].app_images())


def replace_loader(node: KusciaNode, script: str) -> None:
    """Has the node run ``script`` instead of ``kuscia image load``; what was there is in /root."""
    head = '#!/bin/sh\\n[ "$1" = --version ] && exec /root/kuscia "$@"\\n'
    node.execute(f"cp /usr/local/bin/kuscia /root/; printf '{head}{script}\\n' > /usr/local/bin/kuscia")
