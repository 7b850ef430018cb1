"""The recipes: folders below ``dockerfiles/`` with what each takes in and what it promises.

The promises are those of the build document and of what KubeFATE reaches for inside the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from fimg_pipeline.catalog.platforms import Platform

NO_IPCL_ON_ARM: Final = (
    "Intel's pailliercryptolib needs x86-64 instructions (AVX-512 IFMA) and has no source or wheel for arm64"
)
NO_PYG_ON_ARM: Final = (
    "data.pyg.org has no builds of the graph packages in requirements-graph-nn.txt for arm64, and compiling them has "
    "not been tried there: in emulation it takes hours"
)
#: PyTorch's builds that an environment can have.
Variant = Literal["cpu", "cuda"]
VARIANTS: Final[tuple[Variant, ...]] = ("cpu", "cuda")

#: What an image goes without while an optional index that its recipe asks for is not configured. Builds that come from
#: elsewhere then are the requirements' rules to tell.
LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cuda": "CUDA toolkit: left out, so DeepSpeed compiles no operations of its own (CUDA_APT_REPOSITORY "
        "says where it comes from)"
    }
)
NO_CUDA_ON_ARM: Final = "torch 1.13.1 with CUDA was published for x86-64 only"


@dataclass(frozen=True)
class Recipe:
    """``path`` below ``dockerfiles/``; ``fate_env`` maps build arguments to keys of FATE's ``fate.env``.

    ``source_date``: takes the day the requirement files last changed; ``optional_indexes``: indexes beyond the public
    registries that change what is installed when they are configured (both become build arguments).

    ``requirements``: the files of FATE's ``python/`` that the recipe installs, adapted for ``variant``: PyTorch's
    builds for the CPU or for CUDA. A package's recipe compiles of them what has to be, for both.

    ``replaces``: what FATE requires that the recipe's package takes the place of.

    ``smoke`` is run in a fresh container of every image built by it, without network: the image's own program has to
    answer with status 0. ``unbuildable`` gives, per platform, the reason why the recipe can't be built there.

    ``kind``: what an image of it is mostly made of, for the web UI, which has a picture for each of these.
    """

    path: str
    smoke: tuple[str, ...]
    bases: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    fate_env: Mapping[str, str] = field(default_factory=dict)
    source_date: bool = False
    optional_indexes: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    variant: Variant = "cpu"
    replaces: tuple[str, ...] = ()
    unbuildable: Mapping[Platform, str] = field(default_factory=dict)
    kind: str = "python"


def _python(code: str) -> tuple[str, ...]:
    return ("python", "-c", code)


def _answers(start: str, question: str) -> tuple[str, ...]:
    """The server that ``start`` starts answers ``question``, a URL with options of curl, before it ends."""
    ask = f"curl --silent --fail --output /dev/null {question}"
    loop = f"while kill -0 $! 2>/dev/null; do if {ask}; then echo answered; exit 0; fi; sleep 0.3; done"
    return ("bash", "-c", f"{start} & {loop}; echo it ended without an answer; exit 1")


#: It only says its version: a JVM that compiles little does that with half the work, and ten images ask for it.
_SPARK_SMOKE = (
    "env",
    "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "/spark/bin/spark-submit",
    "--version",
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        recipe.path: recipe
        for recipe in (
            Recipe("packages/source", smoke=()),
            Recipe("packages/eggroll", smoke=(), bases=("bullseye",)),
            Recipe("packages/fateboard", smoke=(), bases=("debian",)),
            Recipe(
                "packages/graph",
                smoke=(),
                bases=("python",),
                optional_indexes=("pytorch", "pyg"),
                requirements=("requirements.txt", "requirements-graph-nn.txt"),
            ),
            Recipe("packages/fate-llm", smoke=(), bases=("python",), optional_indexes=("cuda",)),
            Recipe(
                "base/basic",
                smoke=_python("import setuptools, pip, ssl, sqlite3, ctypes, lzma, bz2"),
                bases=("python",),
                packages=("requirements",),
                source_date=True,
                optional_indexes=("pytorch",),
                requirements=("requirements.txt",),
            ),
            Recipe(
                "base/ipcl",
                # As FATE calls it.
                smoke=_python(
                    "from ipcl_python import PaillierEncryptedNumber, PaillierKeypair\n"
                    "public, private = PaillierKeypair.generate_keypair(n_length=1024)\n"
                    "assert isinstance(public.encrypt(5), PaillierEncryptedNumber)\n"
                    "assert private.decrypt(public.encrypt(5)) == 5\n"
                    "assert list(private.decrypt(public.encrypt([1, 2]))) == [1, 2]"
                ),
                packages=("ipcl_pkg",),
                replaces=("ipcl-python",),
                unbuildable={"arm64": NO_IPCL_ON_ARM},
            ),
            Recipe(
                "modules/fateflow",
                # Importing is not enough: its web framework's pieces only meet when the server starts.
                smoke=_answers(
                    "python fateflow/python/fate_flow/fate_flow_server.py",
                    "--request POST http://127.0.0.1:9380/v1/version/get",
                ),
                packages=("fate", "fateflow", "eggroll", "conf", "examples", "doc"),
            ),
            Recipe(
                "modules/fateboard",
                # With the configuration of its command, but without the 2 GB.
                smoke=_answers(
                    "java -Xmx512m -Dspring.config.location=conf/application.properties -Dssh_config_file=conf/ "
                    "-jar fateboard.jar",
                    "http://127.0.0.1:8080/",
                ),
                bases=("debian",),
                packages=("fateboard",),
                kind="java",
            ),
            Recipe(
                "modules/eggroll",
                # Without arguments it says which it needs.
                smoke=(
                    "bash",
                    "-c",
                    "java -cp 'lib/*' com.webank.eggroll.core.Bootstrap 2>&1 | grep -e --bootstraps && "
                    "python -c 'import eggroll, federatedml, fate_arch'",
                ),
                packages=("fate", "fateflow", "eggroll", "conf"),
                kind="java",
            ),
            *(
                Recipe(path, smoke=_SPARK_SMOKE, bases=("python",), fate_env={"SPARK_VERSION": "SPARK"}, kind="spark")
                for path in ("modules/fateflow-spark", "modules/spark-base")
            ),
            Recipe("modules/spark-master", smoke=_SPARK_SMOKE, kind="spark"),
            Recipe("modules/spark-worker", smoke=_SPARK_SMOKE, kind="spark"),
            Recipe(
                "modules/nginx",
                smoke=("openresty", "-t", "-g", "daemon off;"),
                bases=("debian",),
                packages=("proxy",),
                kind="nginx",
            ),
            Recipe(
                "modules/nn",
                smoke=_python("import federatedml"),
                packages=("graph",),
                optional_indexes=("pytorch", "pyg"),
                requirements=("requirements-graph-nn.txt",),
                unbuildable={"arm64": NO_PYG_ON_ARM},
                kind="pytorch",
            ),
            Recipe(
                "modules/gpu",
                smoke=_python("import federatedml"),
                bases=("python",),
                packages=("graph",),
                optional_indexes=("pytorch", "pyg"),
                requirements=("requirements.txt", "requirements-graph-nn.txt"),
                variant="cuda",
                unbuildable={"arm64": NO_CUDA_ON_ARM},
                kind="pytorch",
            ),
            Recipe(
                "modules/fate-llm",
                smoke=_python("import federatedml, fate_llm"),
                packages=("fate_llm",),
                optional_indexes=("pytorch", "pyg", "cuda"),
                requirements=("requirements-fate-llm.txt",),
                variant="cuda",
                unbuildable={"arm64": NO_CUDA_ON_ARM},
                kind="huggingface",
            ),
            Recipe(
                "modules/client",
                smoke=("sh", "-c", "pipeline --help && flow --help && jupyter notebook --version"),
                kind="jupyter",
            ),
            Recipe("modules/fate-test", smoke=("sh", "-c", "fate_test --help && test -d test_suite")),
            Recipe(
                "modules/fate-upgrade-manager",
                smoke=("sh", "-c", "python /upgrade-mysql.py --help && python /shutdown-flow.py --help"),
                bases=("python",),
                packages=("deploy",),
                kind="mysql",
            ),
        )
    }
)
