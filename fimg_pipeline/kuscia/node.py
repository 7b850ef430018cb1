"""What a node that runs tasks is asked: its architecture, how it takes images, which it has under a name.

Kuscia's nodes keep images in a containerd of their own. That an image is listed there says little: it is listed after
an import that failed, too, and under the same tag may be another one. So it counts by its id, and only complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fimg_pipeline.catalog.platforms import Platform, platform_of
from fimg_pipeline.engine.containers import Container, Done
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.reference import Reference

#: Kuscia's containerd, and the namespace of its pods.
_CTR: Final = ("ctr", "--address", "/home/kuscia/containerd/run/containerd.sock", "--namespace", "k8s.io")
_KUSCIA_LOAD: Final = ("kuscia", "image", "load")
#: ``kuscia version v0.13.0b0``
_VERSION: Final = re.compile(r"\bkuscia version v?(\d{1,4})\.(\d{1,4})\.")
#: From which version on `kuscia image load` brings a stream to containerd.
_LOADS_STREAMS: Final = (0, 11)
#: A line of `ctr images ls`: name, type, digest.
_LISTED: Final = re.compile(r"\S+\s+\S+\s+(sha256:[0-9a-f]{64})\s")
#: What `ctr images check` says of an image all of whose parts are there.
_COMPLETE: Final = re.compile(r"\bcomplete \((\d+)/\1\)")


class NodeError(FimgError):
    """A node does not answer, or not as a node of Kuscia does."""


@dataclass(frozen=True)
class Held:
    """What a node has under a name: the image's id, and whether all of it is there."""

    image_id: str
    complete: bool


@dataclass(frozen=True)
class Node:
    """A node by its container."""

    container: Container

    @property
    def name(self) -> str:
        return self.container.name

    def platform(self) -> Platform:
        """What its tasks run on."""
        done = self._ask(["uname", "-m"])
        try:
            return platform_of(done.output.strip())
        except ValueError:
            raise NodeError(f"{self.name} runs on {done.output.strip()}; amd64 and arm64 are supported") from None

    def import_command(self) -> Sequence[str]:
        """What reads an archive from its input and makes images of it.

        Kuscia's own where it has one for containerd (from 0.11 on; the earlier one, of the same name and flags, wants a
        file that it can go back in, and fills the store of another runtime), containerd's otherwise. Neither unpacks:
        that is done for the first task, as the node is configured to.
        """
        done = self.container.run(["kuscia", "--version"])
        version = _VERSION.search(done.output) if done.status == 0 else None
        if version is not None and (int(version[1]), int(version[2])) >= _LOADS_STREAMS:
            return list(_KUSCIA_LOAD)
        return [*_CTR, "images", "import", "--no-unpack", "-"]

    def copy_left(self, command: Sequence[str]) -> str:
        """What an import by ``command`` that failed has left in the node, in a person's words; empty: nothing."""
        # It ends without removing it, and calls it by a name of its own.
        return "Kuscia leaves its copy of the archive in /tmp there" if tuple(command) == _KUSCIA_LOAD else ""

    def held(self, image: Reference) -> Held | None:
        """What it has under the name of ``image``; ``None``: nothing."""
        only = f"name=={json.dumps(str(image))}"
        listed = self._ask([*_CTR, "images", "ls", only]).output.splitlines()
        if not listed or not listed[0].startswith("REF"):
            # Not even the names of the columns: that is no answer, and no sign that there is no such image.
            raise NodeError(f"{self.name} did not say which images it has: ctr printed {listed[:1]}")
        if len(listed) == 1:
            return None
        digest = _LISTED.match(listed[1])
        if digest is None:
            raise NodeError(f"{self.name} did not say which images it has: ctr printed {listed[1][:120]!r}")
        # It also fails where something is amiss.
        checked = self.container.run([*_CTR, "images", "check", only])
        return Held(self._image_id(digest[1]), _COMPLETE.search(checked.output) is not None)

    def _image_id(self, digest: str) -> str:
        """The id of the image with the manifest ``digest``: the digest of its configuration. Empty: it is not there."""
        try:
            document = self._document(digest)
            if "manifests" in document:
                platform = self.platform()
                of_platform = [
                    str(entry["digest"])
                    for entry in document["manifests"]
                    if entry.get("platform", {}).get("architecture") == platform
                ]
                document = self._document(of_platform[0]) if of_platform else {}
            return str(document["config"]["digest"]) if document else ""
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise NodeError(f"{self.name} has something else than a manifest in {digest}") from None

    def _document(self, digest: str) -> dict[str, Any]:
        """A manifest or an index; empty when it is not there."""
        done = self.container.run([*_CTR, "content", "get", digest])
        found: dict[str, Any] = json.loads(done.output) if done.status == 0 else {}
        return found

    def _ask(self, command: Sequence[str]) -> Done:
        done = self.container.run(command)
        if done.status != 0:
            raise NodeError(
                f"{self.name} does not answer as a node of Kuscia: {command[0]}: {done.problem}",
                hint="images are kept by the containerd of nodes whose runtime is runc; is it one, and has it started?",
            )
        return done
