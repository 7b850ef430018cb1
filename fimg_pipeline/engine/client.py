"""The engine's one entrance: the Docker SDK for whatever it has words for, ``docker_cli.py`` for the rest."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import docker
import docker.errors
import requests.exceptions
import requests.utils

from fimg_pipeline.catalog.platforms import Platform, platform_of
from fimg_pipeline.engine import docker_cli
from fimg_pipeline.engine.connection import API_TIMEOUT_SECONDS, Connection
from fimg_pipeline.engine.errors import EngineError, EngineUnreachableError, ImageGoneError
from fimg_pipeline.plan.model import EngineState, StoredImage

#: The pipeline's labels on everything it builds.
LABEL_FINGERPRINT: Final = "io.fimg.fingerprint"
LABEL_PLATFORM: Final = "io.fimg.platform"
LABEL_INPUTS: Final = "io.fimg.inputs"
LABEL_ADAPTATIONS: Final = "io.fimg.requirements.adapted"
#: On containers of checks: the second of the epoch until which somebody waits for them.
LABEL_WAITED_FOR: Final = "io.fimg.smoke.until"
#: And on base images it made itself: the Python they bring.
LABEL_PYTHON: Final = "io.fimg.base.python"

#: Less than a privileged container, which an engine that is in a container itself may not be able to give.
_ADMINISTRATOR: Final[Mapping[str, Any]] = {
    "cap_add": ["SYS_ADMIN", "SYS_PTRACE"],
    "pid_mode": "host",
    "security_opt": ["apparmor=unconfined", "label=disable"],
}
#: Status of what :meth:`Engine.run` stopped waiting for, as of ``timeout``.
TIMED_OUT: Final = 124
#: Docker has it in each of its containers.
_IN_CONTAINER: Final = Path("/.dockerenv")
#: In a mode as the engine gives it (Go's ModeDir).
_FOLDER: Final = 1 << 31


class Saving(NamedTuple):
    """Images that an engine is sending: ``stop``, from another thread, has the ``archive`` end where it is."""

    archive: IO[bytes]
    stop: Callable[[], None]


class Engine:
    """A Docker engine at ``address`` (``unix://``, ``tcp://``, ``ssh://``), or as the environment names it.

    ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` are for those by ``tcp://``.
    """

    def __init__(self, address: str | None = None) -> None:
        self._connection = Connection(address)

    @property
    def address(self) -> str:
        """Where it is."""
        return self._connection.address

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes that speak to it."""
        return self._connection.environment

    @cached_property
    def sdk(self) -> docker.DockerClient:
        """The SDK's client of it; :class:`EngineError` where none answers."""
        return self._connection.open()

    @cached_property
    def _version(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._call(self.sdk.version)
        return found

    @property
    def version(self) -> str:
        """As it calls itself: ``20.10.24+dfsg1``."""
        return str(self._version["Version"])

    @cached_property
    def platform(self) -> Platform:
        """The architecture the engine runs on itself."""
        architecture = str(self._version["Arch"])
        try:
            return platform_of(architecture)
        except ValueError:
            raise EngineError(f"the Docker engine runs on {architecture}; amd64 and arm64 are supported") from None

    @cached_property
    def cli(self) -> str:
        """The docker client that builds."""
        return docker_cli.find()

    @cached_property
    def disk(self) -> Path | None:
        """A folder on the disk that has the engine's images, where one can be seen from here; ``None`` elsewhere."""
        if self._root is None or self._root.is_dir():
            return self._root
        # In a container of the engine, its root is there, too.
        return Path("/") if self._contains_us else None

    @property
    def sees_our_files(self) -> bool:
        """Whether the engine has our folders where we have them: it runs beside us."""
        return self._root is not None and self._root.is_dir()

    @property
    def _contains_us(self) -> bool:
        if not _IN_CONTAINER.exists():
            return False
        # Docker calls a machine as the container is called that it is.
        named = {"id": socket.gethostname()}
        return bool(self._call(lambda: self.sdk.api.containers(all=True, filters=named)))

    @cached_property
    def _root(self) -> Path | None:
        """Where an engine of this machine keeps its images' layers, by its own word."""
        if not self.address.startswith("unix:"):
            return None
        info = self._call(self.sdk.info)
        return Path(str(info.get("DockerRootDir") or "/nowhere")) if info.get("Driver") == "overlay2" else None

    def state(self) -> EngineState:
        """Everything the engine holds that a plan looks at, by one listing."""
        images = self._call(lambda: self.sdk.api.images())
        return EngineState(self.platform, tuple(_stored(image) for image in images))

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """The engine's record of an image, or ``None`` when it has none of that name."""
        try:
            record: dict[str, Any] = self._call(lambda: self.sdk.images.get(reference).attrs)
        except ImageGoneError:
            return None
        return record

    def tag(self, source: str, target: str) -> None:
        """Gives the image ``source`` the further name ``target``, which moves if it was another's."""
        repository, _, tag = target.rpartition(":")
        self._call(lambda: self.sdk.api.tag(source, repository, tag, force=True))

    def remove(self, reference: str) -> None:
        """Takes a name off an image (and the image with it when that was its last)."""
        try:
            self._call(lambda: self.sdk.api.remove_image(reference, noprune=False))
        except ImageGoneError:
            return

    def used_images(self) -> frozenset[str]:
        """The ids of images that a container was made of, whether it runs or not."""
        containers = self._call(lambda: self.sdk.api.containers(all=True))
        return frozenset(str(container["ImageID"]) for container in containers)

    def read_file(self, reference: str, path: str, limit: int) -> bytes | None:
        """The file ``path`` of an image, whose programs are not run; ``None`` when there is no file of that name.

        :class:`EngineError` when it has more than ``limit`` bytes, is a folder or anything else, or a link to what is
        not there.
        """
        # Never started, so that the command need not be there.
        container = self._call(lambda: self.sdk.containers.create(reference, ["none"], network_mode="none"))
        try:
            found = self._stat(container.id, path)
            if found is None:
                return None
            if target := found["linkTarget"]:
                found = self._stat(container.id, target)
                if found is None:
                    raise EngineError(f"{path} of {reference} is a link to {target}, which is not there")
            if found["mode"] & _FOLDER:
                raise EngineError(f"{path} of {reference} is a folder")
            if found["size"] > limit:
                raise EngineError(f"{path} of {reference} has {found['size']} bytes, and {limit} are read at most")
            parts, _ = self._call(lambda: container.get_archive(target or path))
            with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
                file = archive.extractfile(archive.getmembers()[0])
                if file is None:
                    raise EngineError(f"{path} of {reference} is no file")
                return file.read()
        finally:
            self._call(lambda: container.remove(force=True, v=True))

    def _stat(self, container: str, path: str) -> dict[str, Any] | None:
        """What ``path`` of a container is; ``None``: nothing. It is asked first: an archive once begun is all sent."""
        api = self.sdk.api
        url = f"{api.base_url}/v{api.api_version}/containers/{container}/archive"
        answer = self._call(lambda: api.head(url, params={"path": path}, timeout=API_TIMEOUT_SECONDS))
        if answer.status_code == requests.codes.not_found:
            return None
        told = answer.headers.get("X-Docker-Container-Path-Stat")
        if told is None:
            raise EngineError(f"the Docker engine does not say what {path} is: {answer.status_code} {answer.reason}")
        found: dict[str, Any] = json.loads(base64.b64decode(told))
        return found

    def layer_sizes(self, image_id: str) -> list[int]:
        """Bytes of an image's layers, lowest first, without those that have none; empty when it is not there."""
        try:
            steps = self._call(lambda: self.sdk.api.history(image_id))
        except ImageGoneError:
            return []
        return [int(step["Size"]) for step in reversed(steps) if step["Size"]]

    @contextmanager
    def save(self, image_ids: Sequence[str]) -> Iterator[Saving]:
        """The archive of images, to be read to its end in the block: each layer once, in one of two forms.

        Raises what the engine says when it ends early, even if the block took that for something else.
        """
        process = subprocess.Popen(
            [self.cli, "save", *image_ids],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            yield Saving(process.stdout, process.kill)
        finally:
            process.stdout.close()
            said = process.stderr.read().decode("utf-8", "replace").strip()
            process.stderr.close()
            # A block that stopped reading breaks the client's pipe.
            if process.wait() not in (0, -signal.SIGPIPE) and "broken pipe" not in said:
                raise docker_cli.failure("docker save", process.returncode, said)

    def run(
        self, reference: str, command: Sequence[str], *, timeout: int, administers: bool = False
    ) -> tuple[int, str]:
        """Runs ``command`` in a fresh container without network; its status and combined output.

        ``administers``: it sees the processes of the engine's machine, and may mount, and change the kernel's settings.

        Containers of this kind that a killed process left, which nobody waits for any more, are removed first.
        """
        self._remove_abandoned()
        container = self._call(
            lambda: self.sdk.containers.create(
                reference,
                list(command),
                network_mode="none",
                hostname="localhost",
                **(_ADMINISTRATOR if administers else {}),
                labels={LABEL_WAITED_FOR: str(int(time.time() + timeout + API_TIMEOUT_SECONDS))},
            )
        )
        try:
            try:
                container.start()
            except docker.errors.APIError as error:
                return 127, f"can't be started: {error.explanation or error}"
            try:
                status = int(container.wait(timeout=timeout)["StatusCode"])
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
                return TIMED_OUT, f"did not end within {timeout} s"
            return status, container.logs().decode("utf-8", "replace")
        finally:
            container.remove(force=True, v=True)

    def _remove_abandoned(self) -> None:
        now = time.time()
        for container in self._call(
            lambda: self.sdk.containers.list(all=True, filters={"label": LABEL_WAITED_FOR}, ignore_removed=True)
        ):
            if now > float(container.labels[LABEL_WAITED_FOR]):
                # Another build may be doing the same.
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)

    def build(
        self,
        context: Iterable[bytes],
        *,
        dockerfile: str,
        tag: str,
        platform: str,
        build_args: Mapping[str, str],
        labels: Mapping[str, str],
        secrets: Mapping[str, Path],
        options: Sequence[str],
        id_file: Path,
        log: Callable[[str], None],
    ) -> str:
        """Builds ``context`` (a tar) for ``platform`` (``linux/amd64``) and returns the image's id.

        ``tag`` is given only to an image that was built to its end, whose id the client writes to ``id_file``. Raises a
        :class:`~fimg_pipeline.engine.failures.BuildError`, transient or not.
        """
        arguments = docker_cli.build_arguments(self.cli, dockerfile, platform, build_args)
        arguments += [f"--label={name}={value}" for name, value in sorted(labels.items())]
        arguments += [f"--secret=id={name},src={path}" for name, path in sorted(secrets.items())]
        # Not --tag: when this process is killed the client goes on with half a context. Naming is our last step.
        given, environment = docker_cli.by_name(options)
        own = {**self.environment, **environment}
        docker_cli.build([*arguments, f"--iidfile={id_file}", *given, "-"], own, context, tag, log)
        image_id = id_file.read_text().strip()
        record = self.inspect(image_id)
        if record is None:
            raise EngineError(f"{tag} was built but the engine does not have it")
        built = f"{record['Os']}/{record['Architecture']}"
        if built != platform:
            raise EngineError(
                f"{tag} was built for {built} instead of {platform}", hint="the base image is of another architecture"
            )
        self.tag(image_id, tag)
        return image_id

    def build_archive(
        self,
        context: Iterable[bytes],
        *,
        dockerfile: str,
        what: str,
        platform: str,
        options: Sequence[str],
        archive: Path,
        log: Callable[[str], None],
    ) -> None:
        """Builds ``context`` for ``platform`` and writes the files of the result, as a tar, to ``archive``.

        The engine keeps no image of it. Errors as of :meth:`build`; they call it ``what``.
        """
        given, environment = docker_cli.by_name(options)
        output = f"--output=type=tar,dest={archive}"
        arguments = [*docker_cli.build_arguments(self.cli, dockerfile, platform, {}), *given, output, "-"]
        docker_cli.build(arguments, {**self.environment, **environment}, context, what, log)

    def _call(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except docker.errors.ImageNotFound as error:
            raise ImageGoneError(
                f"the Docker engine lacks an image: {error.explanation or error}",
                hint="somebody may have removed it meanwhile: run it again",
            ) from None
        except docker.errors.APIError as error:
            raise EngineError(f"the Docker engine refused: {error.explanation or error}") from None
        except requests.exceptions.RequestException as error:
            raise EngineUnreachableError(f"the Docker engine stopped answering: {type(error).__name__}") from None


def _stored(image: Mapping[str, Any]) -> StoredImage:
    labels = image.get("Labels") or {}
    try:
        inputs = json.loads(labels.get(LABEL_INPUTS, "{}"))
    except ValueError:
        inputs = {}
    return StoredImage(
        image_id=image["Id"],
        references=frozenset(tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"),
        fingerprint=labels.get(LABEL_FINGERPRINT),
        platform=labels.get(LABEL_PLATFORM),
        inputs=inputs if isinstance(inputs, dict) else {},
        python=labels.get(LABEL_PYTHON),
    )
