"""AppImages from templates: three placeholders filled, everything else as it is, checked before a node is touched."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.documents import DocumentError, load_all
from fimg_pipeline.kuscia.reference import ImageNameError, Reference, parse
from fimg_pipeline.schema import first_problem

KIND: Final = "AppImage"
#: What is filled; every other ``{{…}}`` is Kuscia's own, for the task that is started.
NAME: Final = "{{APP_IMAGE_NAME}}"
IMAGE_NAME: Final = "{{IMAGE_NAME}}"
IMAGE_TAG: Final = "{{IMAGE_TAG}}"


#: Fields of metadata that the server fills in, as they are in an object that was exported.
_SERVERS_OWN: Final = frozenset(
    ("creationTimestamp", "generation", "managedFields", "namespace", "resourceVersion", "selfLink", "uid")
)
#: Where ``kubectl apply`` keeps what it was last given.
_KUBECTLS_OWN: Final = "kubectl.kubernetes.io/last-applied-configuration"


#: etcd takes 1.5 MB a request, with what servers note of it; a ConfigMap, which Kuscia makes, may have 1 MiB.
_MOST_BYTES: Final = 1_000_000


class TemplateError(FimgError):
    """A template that gives no AppImage."""


def app_image(template: str, name: str, image: Reference) -> dict[str, Any]:
    """The AppImage ``name`` of ``image``, as ``template`` (YAML) wants it; raises :class:`TemplateError`.

    A placeholder stands for its text wherever it is, in quotes or not: a tag ``2.0`` stays a string, and nothing in a
    value is read as YAML. What a server notes in an object is left out, so that one that was exported is a template.
    """
    values = {NAME: name, IMAGE_NAME: image.repository, IMAGE_TAG: image.tag}
    # Without quotes they would be mappings to YAML. What stands in their place meanwhile is in no template.
    marks = {placeholder: f"fimg{uuid.uuid4().hex}" for placeholder in values}
    text = template
    for placeholder, mark in marks.items():
        text = text.replace(placeholder, mark)
    document = _own(_filled(_document(text), {marks[placeholder]: value for placeholder, value in values.items()}))
    try:
        checked = _AppImage.model_validate(document)
    except ValidationError as error:
        raise TemplateError(first_problem(error)) from None
    _check(checked, name, image)
    # What is short for it, as Docker has it, is written out: nodes know it by its whole name.
    document["spec"]["image"] |= {"name": image.repository, "tag": image.tag}
    _require_size(document)
    return document


def _document(text: str) -> dict[Any, Any]:
    try:
        documents = [document for document in load_all(text) if document is not None]
    except DocumentError as error:
        hint = "what Kuscia fills, {{.TASK_ID}} and such, has to stand in quotes or in a block (|)"
        unquoted = "{{." in text and any(words in error.message for words in ("unhashable", "flow mapping"))
        raise TemplateError(error.message, hint=hint if unquoted else None) from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise TemplateError(f"it must be one document of kind {KIND}, and holds {len(documents)}")
    return documents[0]


def _own(document: dict[str, Any]) -> dict[str, Any]:
    """What is the template's own in a document, without what a server or kubectl noted in it."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return document
    metadata = {name: value for name, value in metadata.items() if name not in _SERVERS_OWN}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _KUBECTLS_OWN}
    return {**{name: value for name, value in document.items() if name != "status"}, "metadata": metadata}


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {_filled(key, values): _filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    if isinstance(value, str):
        for mark, text in values.items():
            value = value.replace(mark, text)
    return value


# -- what Kuscia's API asks for (the CRD appimages.kuscia.secretflow), as far as it is more than Kubernetes' -----------


class _Model(BaseModel):
    """Fields that are not named here are Kubernetes' or a later Kuscia's, which checks them."""

    model_config = ConfigDict(strict=True, extra="allow")


Text = Annotated[str, Field(min_length=1)]


def _matching(pattern: str, most: int, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if len(text) > most or not re.fullmatch(pattern, text):
            raise ValueError(f"{text[:80]!r} must be {words}, of at most {most} characters")
        return text

    return AfterValidator(check)


#: What pods' containers can be called (RFC 1123): the server takes others, and no task starts then.
Label = Annotated[str, _matching("[a-z0-9]([a-z0-9-]*[a-z0-9])?", 63, "a-z, 0-9 and '-' between them")]
#: What containers' ports can be called (RFC 6335).
PortName = Annotated[
    str,
    _matching(
        "(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", 15, "a-z, 0-9 and single '-' between them, with a letter among them"
    ),
]
#: Keys of what Kuscia makes a ConfigMap of.
Key = Annotated[str, _matching(r"(?!\.{1,2}$)[-._a-zA-Z0-9]+", 253, "letters, digits, '-', '_' and '.'")]
MountPath = Annotated[str, _matching("[^:]+", 4096, "a path without ':'")]


class _Metadata(BaseModel):
    """Nothing else: finalizers and owners are not a template's to give."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Text
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Image(_Model):
    name: Text
    tag: Text
    id: str | None = None
    sign: str | None = None


class _Port(_Model):
    name: PortName
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    protocol: Literal["HTTP", "GRPC"] | None = None
    scope: Literal["Cluster", "Domain", "Local"] | None = None


class _Mount(_Model):
    mountPath: MountPath
    subPath: Text


class _Container(_Model):
    name: Label
    workingDir: Text
    command: list[str] | None = None
    args: list[str] | None = None
    ports: list[_Port] | None = None
    configVolumeMounts: list[_Mount] | None = None


class _PodSpec(_Model):
    containers: Annotated[list[_Container], Field(min_length=1)]
    restartPolicy: Literal["Always", "OnFailure", "Never"] | None = None


class _DeployTemplate(_Model):
    name: Label
    role: str = ""
    replicas: Annotated[int, Field(ge=0, le=(1 << 31) - 1)] | None = None
    spec: _PodSpec


class _Spec(_Model):
    image: _Image
    deployTemplates: Annotated[list[_DeployTemplate], Field(min_length=1)]
    configTemplates: dict[Key, str] | None = None


class _AppImage(_Model):
    apiVersion: Literal["kuscia.secretflow/v1alpha1"]
    kind: Literal["AppImage"]
    metadata: _Metadata
    spec: _Spec


def _check(found: _AppImage, name: str, image: Reference) -> None:
    """What a schema can't say: that it is of this image, and that what is mounted is there."""
    if found.metadata.name != name:
        raise TemplateError(
            f"metadata.name is {found.metadata.name}, and {name} is registered",
            hint=f"write {NAME}, or register it under that name: -n {found.metadata.name}",
        )
    given = f"{found.spec.image.name}:{found.spec.image.tag}"
    if _whole(given) != str(image):
        raise TemplateError(
            f"spec.image is {given}, and {image} is registered", hint=f"write {IMAGE_NAME} and {IMAGE_TAG}"
        )
    for place, template in enumerate(found.spec.deployTemplates):
        where = f"spec.deployTemplates[{place}].spec.containers"
        containers = template.spec.containers
        _unique(where, "is a container's name", [container.name for container in containers])
        # Of all containers: they are one pod's.
        _unique(where, "is a port's name", [port.name for container in containers for port in container.ports or ()])
        for number, container in enumerate(containers):
            mounts = container.configVolumeMounts or ()
            _unique(f"{where}[{number}]", "is mounted over", [mount.mountPath for mount in mounts])
            for mount in mounts:
                if mount.subPath not in (found.spec.configTemplates or ()):
                    raise TemplateError(
                        f"{where}[{number}] mounts {mount.subPath}, which spec.configTemplates does not have"
                    )


def _whole(name: str) -> str:
    """An image's whole name; itself where it is none."""
    try:
        return str(parse(name))
    except ImageNameError:
        return name


def _require_size(document: dict[str, Any]) -> None:
    """:class:`TemplateError` when it is more than an API server takes, which would say so at the end only."""
    # As Go writes it: what HTML takes for its own is six bytes.
    text = json.dumps(document, ensure_ascii=False)
    size = len(text.encode()) + 5 * sum(map(text.count, "<>&"))
    if size > _MOST_BYTES:
        raise TemplateError(f"it has {size} bytes as an API server keeps it, and {_MOST_BYTES} are taken at most")


def _unique(where: str, what: str, values: list[str]) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise TemplateError(f"{where}: {twice} {what} twice")
