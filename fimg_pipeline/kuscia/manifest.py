"""AppImages from templates: three placeholders filled, everything else as it is, checked before a node is touched."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.documents import DocumentError, load_all
from fimg_pipeline.kuscia.reference import Reference
from fimg_pipeline.schema import first_problem

KIND: Final = "AppImage"
#: What is filled; every other ``{{…}}`` is Kuscia's own, for the task that is started.
NAME: Final = "{{APP_IMAGE_NAME}}"
IMAGE_NAME: Final = "{{IMAGE_NAME}}"
IMAGE_TAG: Final = "{{IMAGE_TAG}}"


class TemplateError(FimgError):
    """A template that gives no AppImage."""


def app_image(template: str, name: str, image: Reference) -> dict[str, Any]:
    """The AppImage ``name`` of ``image``, as ``template`` (YAML) wants it; raises :class:`TemplateError`.

    A placeholder stands for its text wherever it is, in quotes or not: a tag ``2.0`` stays a string, and nothing in a
    value is read as YAML.
    """
    values = {NAME: name, IMAGE_NAME: image.repository, IMAGE_TAG: image.tag}
    # Without quotes they would be mappings to YAML. What stands in their place meanwhile is in no template.
    marks = {placeholder: f"fimg{uuid.uuid4().hex}" for placeholder in values}
    text = template
    for placeholder, mark in marks.items():
        text = text.replace(placeholder, mark)
    document = _filled(_document(text), {marks[placeholder]: value for placeholder, value in values.items()})
    try:
        checked = _AppImage.model_validate(document)
    except ValidationError as error:
        raise TemplateError(first_problem(error)) from None
    _check(checked, name, image)
    return dict(document)


def _document(text: str) -> Mapping[Any, Any]:
    try:
        documents = [document for document in load_all(text) if document is not None]
    except DocumentError as error:
        hint = "what Kuscia fills, {{.TASK_ID}} and such, has to stand in quotes or in a block (|)"
        broken = "no YAML" in error.message and "there twice" not in error.message
        raise TemplateError(error.message, hint=hint if broken and "{{." in text else None) from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise TemplateError(f"it must be one document of kind {KIND}, and holds {len(documents)}")
    return documents[0]


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
#: What pods' containers and services' ports can be called (RFC 1123): the server takes others, and no task starts then.
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]


class _Metadata(_Model):
    name: Text


class _Image(_Model):
    name: Text
    tag: Text
    id: str = ""
    sign: str = ""


class _Port(_Model):
    name: Label
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    protocol: Literal["HTTP", "GRPC"] = "HTTP"
    scope: Literal["Cluster", "Domain", "Local"] = "Local"


class _Mount(_Model):
    mountPath: Text
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
    replicas: int | None = None
    spec: _PodSpec


class _Spec(_Model):
    image: _Image
    deployTemplates: Annotated[list[_DeployTemplate], Field(min_length=1)]
    configTemplates: dict[str, str] = {}


class _AppImage(_Model):
    apiVersion: Literal["kuscia.secretflow/v1alpha1"]
    kind: Literal["AppImage"]
    metadata: _Metadata
    spec: _Spec


def _check(found: _AppImage, name: str, image: Reference) -> None:
    """What a schema can't say: that it is of this image, and that what is mounted is there."""
    if found.metadata.name != name:
        raise TemplateError(f"metadata.name is {found.metadata.name}, and {name} is registered", hint=f"write {NAME}")
    given = f"{found.spec.image.name}:{found.spec.image.tag}"
    if given != str(image):
        raise TemplateError(
            f"spec.image is {given}, and {image} is registered", hint=f"write {IMAGE_NAME} and {IMAGE_TAG}"
        )
    for place, template in enumerate(found.spec.deployTemplates):
        for number, container in enumerate(template.spec.containers):
            where = f"spec.deployTemplates[{place}].spec.containers[{number}]"
            for mount in container.configVolumeMounts or ():
                if mount.subPath not in found.spec.configTemplates:
                    raise TemplateError(f"{where} mounts {mount.subPath}, which spec.configTemplates does not have")
