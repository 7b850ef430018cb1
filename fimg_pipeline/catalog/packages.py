"""The packages recipes copy in: which folder of which repository goes where below ``/data/projects/fate``.

A package is itself an image (``FROM scratch``) named by its content, so an equal tree is packaged once, whichever tag
asks, and recipes take it with ``COPY --from`` without sending it to the engine again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from fimg_pipeline.catalog.platforms import Platform

Repository = Literal["fate", "fateflow", "fateboard", "eggroll", "fate_llm", "ipcl"]

#: Repositories FATE pins as submodules, by their path in FATE.
SUBMODULES: Final[tuple[Repository, ...]] = ("fateflow", "fateboard", "eggroll")


@dataclass(frozen=True)
class Part:
    """One folder or file of a repository and its place in the package.

    ``path`` is relative to the repository's root, empty for all of it. ``pattern`` (fnmatch) keeps only files directly
    below ``path`` whose names match.
    """

    repository: Repository
    path: str
    destination: str
    pattern: str | None = None


@dataclass(frozen=True)
class Package:
    """``recipe`` makes it from the parts; most are laid out as they are, by ``packages/source``.

    ``kind`` is what it is made of, for the web UI. ``per_platform``: it is made for the platform of the images; others
    are the same files everywhere (jars among them) and made on the engine's own.

    ``may_lack_files``: some public copies of FATE lack large files (data sets, slides) of these folders; they are left
    out and named. Anywhere else a missing file is an error.
    """

    name: str
    description: str
    parts: tuple[Part, ...]
    recipe: str = "packages/source"
    kind: Literal["git", "java", "python"] = "git"
    per_platform: bool = False
    may_lack_files: bool = False

    @property
    def build_arg(self) -> str:
        """The recipe's global ``ARG`` that receives the package's reference."""
        return f"PACKAGE_{self.name.upper()}"

    def platform(self, images: Platform, engine: Platform) -> Platform:
        """The platform it is made for: ``images`` are to be for one, the ``engine`` runs on another or the same."""
        return images if self.per_platform else engine

    @property
    def repositories(self) -> tuple[Repository, ...]:
        return tuple(dict.fromkeys(part.repository for part in self.parts))


#: FATE's Python requirement files.
REQUIREMENT_FILES: Final = Part("fate", "python", "", pattern="requirements*.txt")

PACKAGES: Final[Mapping[str, Package]] = MappingProxyType(
    {
        package.name: package
        for package in (
            Package(
                "requirements",
                "FATE's Python requirement files.",
                (REQUIREMENT_FILES,),
            ),
            Package(
                "graph",
                "PyTorch Geometric's packages: compiled, unless an index has builds of them.",
                (REQUIREMENT_FILES,),
                recipe="packages/graph",
                kind="python",
                per_platform=True,
            ),
            Package("fate", "FATE's algorithms and its Python API.", (Part("fate", "python", "fate/python"),)),
            Package("fateflow", "FATE Flow, the job scheduler.", (Part("fateflow", "", "fateflow"),)),
            Package(
                "eggroll",
                "Eggroll, the compute engine: compiled by Maven, with its Python side.",
                (Part("eggroll", "", ""),),
                recipe="packages/eggroll",
                kind="java",
            ),
            Package(
                "fateboard",
                "FATE Board: the front end built by npm, the server by Maven.",
                (Part("fateboard", "", ""),),
                recipe="packages/fateboard",
                kind="java",
            ),
            Package(
                "conf",
                "FATE's configuration folder and fate.env.",
                (Part("fate", "conf", "conf"), Part("fate", "fate.env", "fate.env")),
            ),
            Package(
                "examples",
                "Example jobs and data sets.",
                (Part("fate", "examples", "examples"),),
                may_lack_files=True,
            ),
            Package("doc", "FATE's documentation.", (Part("fate", "doc", "doc"),), may_lack_files=True),
            Package(
                "proxy",
                "nginx configuration and Lua code of the federation proxy.",
                (Part("fate", "c/proxy/conf", "proxy/nginx/conf"), Part("fate", "c/proxy/lua", "proxy/nginx/lua")),
            ),
            Package("deploy", "Deployment files, among them the SQL upgrades.", (Part("fate", "deploy", "deploy"),)),
            Package(
                "fate_llm",
                "FATE-LLM, laid into FATE's Python folder.",
                (Part("fate_llm", "python", "fate/python"),),
                recipe="packages/fate-llm",
                # It asks for a CUDA toolkit of that platform.
                per_platform=True,
            ),
            Package(
                "ipcl_pkg", "Intel's Paillier library for Python, as source or wheel.", (Part("ipcl", "", "ipcl_pkg"),)
            ),
        )
    }
)


def hold_requirements(names: Iterable[str]) -> bool:
    """Whether one of the packages ``names`` is made of FATE's requirement files."""
    return any(REQUIREMENT_FILES in PACKAGES[name].parts for name in names)
