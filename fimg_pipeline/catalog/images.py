"""The 34 images of the build document: which switches select each, what it stands on, which recipe makes it.

Three of them are in the document under a misspelt name (``spark-bash-…``) and were never built by the old script; here
they have the right name, with the listed one as an alias, and their workers stand on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.catalog.recipes import RECIPES, Recipe

B, S, N, G, L, I, O, F = (  # noqa: E741 - the letters of the document's table
    Feature.BASIC,
    Feature.SPARK,
    Feature.NN,
    Feature.GPU,
    Feature.LLM,
    Feature.IPCL,
    Feature.OP,
    Feature.FUM,
)


@dataclass(frozen=True)
class Image:
    """One row of the matrix.

    ``selected_by``: the switches that must all be on; empty for base-image, which everything needs. ``parent`` is the
    image it is built on, ``None`` when it stands on an external base. ``published`` images are pushed and bundled; the
    others only carry shared layers.
    """

    name: str
    selected_by: tuple[Feature, ...]
    parent: str | None
    recipe_path: str
    group: str
    description: str
    aliases: tuple[str, ...] = ()
    published: bool = True

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.recipe_path]

    @property
    def used_by(self) -> str:
        """Who runs it, in words."""
        if not self.published:
            return "nobody runs it: other images stand on it"
        # The longest first: `-gpu` alone is the end of several.
        variant = next((suffix for suffix in _VARIANTS if self.name.endswith(suffix)), "")
        return _USERS[self.name.removesuffix(variant)] + _VARIANTS.get(variant, "")

    @property
    def is_base(self) -> bool:
        """Base images are tagged with ``BASE_TAG``, all others with ``TAG``."""
        return self.recipe_path.startswith("base/")


#: Who runs an image, by what is left of its name without :data:`_VARIANTS`; as KubeFATE deploys them.
_USERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fateflow": "each party that computes on Eggroll runs one",
        "fateboard": "each party runs one, where its data scientists follow their jobs",
        "eggroll": "each party that computes on Eggroll runs several, one of each kind of server at least",
        "fateflow-spark": "each party that computes on Spark runs one",
        "spark-master": "each party that computes on Spark runs one",
        "spark-worker": "each party that computes on Spark runs one on every machine that is to compute",
        "nginx": "each party that computes on Spark runs one, before its FATE Flow",
        "client": "data scientists run it, to write jobs and send them",
        "fate-test": "whoever sets up a party runs it once, to see that jobs go through",
        "fate-upgrade-manager": "operators run it once, when a party goes to a newer FATE",
    }
)

#: What an ending of a name adds to that.
_VARIANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "-nn-gpu": ", to train neural networks on NVIDIA cards",
        "-all-gpu": ", to fine-tune large language models on NVIDIA cards",
        "-nn": ", to train neural networks on graphs",
        "-ipcl": ", on Intel processors that compute Paillier encryption by themselves",
    }
)

_ROWS: Final[tuple[Image, ...]] = (
    Image(
        "base-image", (), None, "base/basic", "base", "Python environment with FATE's requirements.", published=False
    ),
    Image("fateflow", (B,), "base-image", "modules/fateflow", "eggroll", "FATE Flow: schedules jobs, answers on 9380."),
    Image("fateboard", (B,), None, "modules/fateboard", "eggroll", "FATE Board: shows jobs in the browser on 8080."),
    Image(
        "eggroll", (B,), "base-image", "modules/eggroll", "eggroll", "Eggroll: cluster manager, node manager, rollsite."
    ),
    Image("fateflow-spark", (S,), "fateflow", "modules/fateflow-spark", "spark", "FATE Flow submitting to Spark."),
    Image(
        "spark-base",
        (S,),
        "fateflow",
        "modules/spark-base",
        "spark",
        "Shared layers of the Spark images.",
        published=False,
    ),
    Image(
        "spark-master", (S,), "spark-base", "modules/spark-master", "spark", "Spark master on 7077, web page on 8080."
    ),
    Image("spark-worker", (S,), "spark-base", "modules/spark-worker", "spark", "Spark worker with FATE's algorithms."),
    Image("nginx", (S,), None, "modules/nginx", "spark", "Proxy between the parties' FATE Flow, HTTP 9300, gRPC 9310."),
    Image("fateflow-nn", (N,), "fateflow", "modules/nn", "nn", "FATE Flow with the graph neural network packages."),
    Image("eggroll-nn", (N,), "eggroll", "modules/nn", "nn", "Eggroll with the graph neural network packages."),
    Image("fateflow-spark-nn", (S, N), "fateflow-spark", "modules/nn", "nn", "FATE Flow on Spark with NN packages."),
    Image(
        "spark-base-nn",
        (S, N),
        "spark-base",
        "modules/nn",
        "nn",
        "Shared layers of the NN Spark worker.",
        aliases=("spark-bash-nn",),
        published=False,
    ),
    Image("spark-worker-nn", (S, N), "spark-base-nn", "modules/spark-worker", "nn", "Spark worker with NN packages."),
    Image("fateflow-nn-gpu", (N, G), "fateflow", "modules/gpu", "gpu", "FATE Flow with NN packages on CUDA."),
    Image("eggroll-nn-gpu", (N, G), "eggroll", "modules/gpu", "gpu", "Eggroll with NN packages on CUDA."),
    Image("fateflow-spark-nn-gpu", (S, N, G), "fateflow-spark", "modules/gpu", "gpu", "FATE Flow on Spark with CUDA."),
    Image(
        "spark-base-nn-gpu",
        (S, N, G),
        "spark-base",
        "modules/gpu",
        "gpu",
        "Shared layers of the CUDA Spark worker.",
        aliases=("spark-bash-nn-gpu",),
        published=False,
    ),
    Image(
        "spark-worker-nn-gpu", (S, N, G), "spark-base-nn-gpu", "modules/spark-worker", "gpu", "Spark worker with CUDA."
    ),
    Image("fateflow-all-gpu", (L, G), "fateflow-nn-gpu", "modules/fate-llm", "llm", "FATE Flow with FATE-LLM on CUDA."),
    Image("eggroll-all-gpu", (L, G), "eggroll-nn-gpu", "modules/fate-llm", "llm", "Eggroll with FATE-LLM on CUDA."),
    Image(
        "fateflow-spark-all-gpu",
        (S, L, G),
        "fateflow-spark-nn-gpu",
        "modules/fate-llm",
        "llm",
        "FATE Flow on Spark with FATE-LLM on CUDA.",
    ),
    Image(
        "spark-base-all-gpu",
        (S, L, G),
        "spark-base-nn-gpu",
        "modules/fate-llm",
        "llm",
        "Shared layers of the FATE-LLM Spark worker.",
        aliases=("spark-bash-all-gpu",),
        published=False,
    ),
    Image(
        "spark-worker-all-gpu",
        (S, L, G),
        "spark-base-all-gpu",
        "modules/spark-worker",
        "llm",
        "Spark worker with FATE-LLM on CUDA.",
    ),
    Image(
        "base-image-ipcl",
        (I,),
        "base-image",
        "base/ipcl",
        "ipcl",
        "Base with Intel's Paillier library.",
        published=False,
    ),
    Image("fateflow-ipcl", (I,), "base-image-ipcl", "modules/fateflow", "ipcl", "FATE Flow with IPCL."),
    Image("eggroll-ipcl", (I,), "base-image-ipcl", "modules/eggroll", "ipcl", "Eggroll with IPCL."),
    Image(
        "fateflow-spark-ipcl",
        (I, S),
        "fateflow-ipcl",
        "modules/fateflow-spark",
        "ipcl",
        "FATE Flow on Spark with IPCL.",
    ),
    Image(
        "spark-base-ipcl",
        (I, S),
        "fateflow-ipcl",
        "modules/spark-base",
        "ipcl",
        "Shared layers of the IPCL Spark worker.",
        published=False,
    ),
    Image("spark-worker-ipcl", (I, S), "spark-base-ipcl", "modules/spark-worker", "ipcl", "Spark worker with IPCL."),
    Image("client", (O,), "fateflow", "modules/client", "tools", "Jupyter with FATE's clients on 20000."),
    Image("fate-test", (O,), "fateflow", "modules/fate-test", "tools", "FATE's test tool with a small suite."),
    Image("fate-test-ipcl", (O, I), "fateflow-ipcl", "modules/fate-test", "tools", "FATE's test tool with IPCL."),
    Image("fate-upgrade-manager", (F,), None, "modules/fate-upgrade-manager", "tools", "Upgrades FATE's database."),
)

#: All images by name, parents before children.
IMAGES: Final[Mapping[str, Image]] = MappingProxyType({image.name: image for image in _ROWS})


def lineage(name: str) -> tuple[Image, ...]:
    """The image and everything below it, base first."""
    chain: list[Image] = []
    current: str | None = name
    while current is not None:
        chain.append(IMAGES[current])
        current = IMAGES[current].parent
    return tuple(reversed(chain))


def dependents(name: str) -> tuple[str, ...]:
    """The images that stand on it, directly or not, itself included."""
    return tuple(image for image in IMAGES if IMAGES[name] in lineage(image))


def unbuildable_reason(name: str, platform: Platform) -> str | None:
    """Why ``name`` can't be built for ``platform``, or ``None``; a parent's reason holds for its children."""
    for image in lineage(name):
        reason = image.recipe.unbuildable.get(platform)
        if reason is not None:
            return reason if image.name == name else f"it stands on {image.name}: {reason}"
    return None
