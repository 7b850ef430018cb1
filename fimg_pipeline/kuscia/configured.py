"""The AppImages that runs register: a file that says which image goes to which deployment, as which."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia import templates
from fimg_pipeline.kuscia.deployment import Deployment, Mode
from fimg_pipeline.kuscia.documents import DocumentError, load_all
from fimg_pipeline.kuscia.names import checked_name
from fimg_pipeline.kuscia.reference import parse
from fimg_pipeline.kuscia.request import Request
from fimg_pipeline.schema import first_problem

Text = Annotated[str, Field(min_length=1)]


class ConfiguredError(FimgError):
    """The file of AppImages can't be read, or says what can't be."""


class AppImage(BaseModel):
    """One of them: the image by its name in the catalog; the rest as the flags of ``fimg register``."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    image: Text
    platform: Platform = "amd64"
    name: str = ""
    template: str = ""
    mode: Mode = Field(strict=False)
    user: Text
    domains: tuple[Text, ...] = Field(("alice", "bob"), strict=False)
    containers: dict[str, str] = {}
    pin: bool = False
    sign: str = ""

    @property
    def deployment(self) -> Deployment:
        return Deployment(self.mode, self.user, self.domains, self.containers)

    @property
    def title(self) -> str:
        """What people know it by: ``nginx``, or ``web of nginx``."""
        return f"{self.name} of {self.image}" if self.name else self.image

    def is_of(self, other: AppImage, name: str) -> bool:
        """Whether ``other``, which was registered as ``name``, is this one, whatever else was said of it."""
        same = (self.image, self.platform, self.mode) == (other.image, other.platform, other.mode)
        called = self.name in (name, other.name)
        return same and called and bool(set(self.deployment.api_nodes) & set(other.deployment.api_nodes))

    def request(self, reference: str, folder: Path) -> Request:
        """What is asked for when the image is called ``reference``; files of templates are seen from ``folder``."""
        template = templates.find(self.template, folder) if self.template else None
        return Request(parse(reference), self.deployment, self.name, template, self.pin, self.sign)


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    app_images: tuple[AppImage, ...] = Field(min_length=1, strict=False)


def read(path: Path) -> tuple[AppImage, ...]:
    """The AppImages of the file; :class:`ConfiguredError` saying where what is wrong."""
    try:
        documents = load_all(path.read_text(encoding="utf-8"))
        found = _File.model_validate(documents[0] if len(documents) == 1 else None).app_images
    except UnicodeDecodeError:
        raise ConfiguredError(f"{path} is no text in UTF-8", hint="save it as UTF-8") from None
    except OSError as error:
        raise ConfiguredError(f"{path} can't be read: {error.strerror}", hint="see KUSCIA_APP_IMAGES") from None
    except DocumentError as error:
        raise ConfiguredError(f"{path}: {error.message}") from None
    except ValidationError as error:
        raise ConfiguredError(f"{path}: {first_problem(error)}") from None
    seen: set[tuple[str, str]] = set()
    for place, each in enumerate(found):
        where = f"{path}: app_images[{place}]"
        if each.image not in IMAGES:
            raise ConfiguredError(f"{where}: no image is called {each.image}", hint=f"there are {', '.join(IMAGES)}")
        try:
            servers = each.deployment.api_nodes
            name = checked_name(each.name) if each.name else each.image
        except FimgError as error:
            raise ConfiguredError(f"{where}: {error.message}", hint=error.hint) from None
        for server in servers:
            if (server, name) in seen:
                raise ConfiguredError(f"{where}: {name} is registered in {server} twice", hint="give it another name")
            seen.add((server, name))
    return found
