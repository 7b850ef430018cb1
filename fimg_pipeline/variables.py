"""The table of settings: every variable by its name in the build document, with its default and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.values import build_options, choices, names, places


@dataclass(frozen=True)
class Variable:
    """One setting: the environment variable's name, the attribute it fills, its default, how it is read.

    ``secret``: its value is shown nowhere, and comes from the environment or ``.env`` only.
    """

    name: str
    attribute: str
    default: str
    parse: Callable[[str], Any]
    meaning: str
    secret: bool = False


_HOME_DEFAULT: Final = "~/.local/state/fimg"

VARIABLES: Final[tuple[Variable, ...]] = (
    Variable("FATE_DIR", "fate_dir", "/data/projects/fate", places.path, "FATE checkout"),
    Variable("TAG", "tag", "latest", names.tag, "tag of the images"),
    Variable("BASE_TAG", "base_tag", "", names.tag, "tag of the base images; default: TAG"),
    Variable("PREFIX", "prefix", "federatedai", names.prefix, "registry and namespace"),
    Variable("Docker_Options", "docker_options", "", build_options.options, "extra options for every docker build"),
    *(
        Variable(feature.variable, feature.name, default, choices.switch, meaning)
        for feature, default, meaning in (
            (Feature.BASIC, "1", "fateflow, fateboard, eggroll"),
            (Feature.OP, "1", "client and fate-test"),
            (Feature.FUM, "0", "fate-upgrade-manager"),
            (Feature.NN, "1", "images with neural network packages"),
            (Feature.SPARK, "1", "images for Spark, and nginx"),
            (Feature.IPCL, "0", "images with Intel's Paillier library"),
            (Feature.GPU, "0", "images with CUDA"),
            (Feature.LLM, "0", "images with FATE-LLM"),
        )
    ),
    Variable("IPCL_PKG_DIR", "ipcl_pkg_dir", "", places.path, "checkout of pailliercryptolib_python; default: fetched"),
    Variable("IPCL_VERSION", "ipcl_version", "v1.1.3", places.git_ref, "its tag, branch or commit"),
    Variable("Build_LLM_VERSION", "llm_version", "v1.2.0", places.git_ref, "FATE-LLM's tag, branch or commit"),
    Variable("Platform", "platform", "amd64", choices.platform, "amd64 or arm64"),
    Variable(
        "WATCHED_PLATFORMS",
        "watched_platforms",
        "",
        choices.platforms,
        "the platforms that are built by themselves, with commas; default: Platform",
    ),
    Variable("NIGHTLY_AT", "nightly_at", "02:00", choices.time_of_day, "when followed tags are built every night"),
    Variable(
        "REFRESH_AT",
        "refresh_at",
        "sunday 01:00",
        choices.time_of_week,
        "when followed tags are built without a cache every week, for security updates",
    ),
    Variable(
        "PRUNE_AT",
        "prune_at",
        "saturday 05:00",
        choices.time_of_week,
        "when what is superseded is removed every week",
    ),
    Variable(
        "PRUNE_KEEP",
        "prune_keep",
        "2",
        choices.count,
        "so many versions of everything stay, with the one that is used",
    ),
    Variable(
        "PRUNE_DAYS",
        "prune_days",
        "30",
        choices.count,
        "so long runs stay, and tags that nobody added, after something was built",
    ),
    Variable(
        "BASE_UPDATES",
        "base_updates",
        "nightly",
        choices.base_updates,
        "nightly: builds of the night stand on newer base images; ask: only `fimg bases --refresh` takes them",
    ),
    Variable("TIME_ZONE", "time_zone", "UTC", choices.time_zone, "of these times, e.g. Asia/Shanghai"),
    Variable("RELEASES", "releases", "==1.11.*", choices.releases, "new releases of FATE that are built by themselves"),
    Variable(
        "AFTER_BUILD",
        "deliveries",
        "",
        choices.deliveries,
        "what follows a build by itself, of push, bundle, register; default: nothing",
    ),
    Variable(
        "NOTIFY_URLS",
        "notify_urls",
        "",
        places.service_urls,
        "who is told what breaks: URLs of Apprise (DingTalk, WeCom, Feishu, Slack, mail, webhooks …); default: nobody",
        secret=True,
    ),
    Variable("UI_URL", "ui_url", "http://127.0.0.1:3000", places.web_url, "the web UI, as messages link to it"),
    Variable(
        "DOCKER_HOST_AMD64",
        "docker_host_amd64",
        "",
        places.engine_address,
        "the Docker engine that builds for amd64; default: DOCKER_HOST",
    ),
    Variable(
        "DOCKER_HOST_ARM64",
        "docker_host_arm64",
        "",
        places.engine_address,
        "the Docker engine that builds for arm64; default: DOCKER_HOST",
    ),
    Variable(
        "SHARED_REGISTRY",
        "shared_registry",
        "",
        names.registry_folder,
        "HOST[:PORT]/NAMESPACE where engines keep for each other what they built; default: each has its own only",
    ),
    Variable(
        "STEPS",
        "steps",
        "processes",
        choices.steps,
        "a run's steps are processes of it, or containers, where the instance starts runs as such (docs/deployment.md)",
    ),
    Variable("FIMG_HOME", "home", _HOME_DEFAULT, places.path, "state folder: fetched sources, locks, logs"),
    Variable("BUNDLE_DIR", "bundle_dir", "", places.path, "where bundles are written; default: FIMG_HOME/bundles"),
    Variable(
        "THIRD_PARTY_IMAGES",
        "third_party_images",
        "mysql:8.0.28",
        names.images,
        "what a deployment needs beside FATE's images, for its bundle",
    ),
    Variable("REGISTRY_USER", "registry_user", "", choices.line, "who pushes; default: what docker login keeps"),
    Variable("REGISTRY_PASSWORD", "registry_password", "", choices.line, "their password or token", secret=True),
    Variable("REGISTRY_CA", "registry_ca", "", places.path, "PEM file that vouches for the registry of PREFIX"),
    Variable(
        "INSECURE_REGISTRIES",
        "insecure_registries",
        "",
        names.hosts,
        "HOST[:PORT] of registries that are spoken to without TLS",
    ),
    Variable(
        "KUSCIA_APP_IMAGES",
        "kuscia_app_images",
        "",
        places.path,
        "YAML file of the AppImages that runs register; default: none",
    ),
    Variable(
        "FATE_LLM_URL",
        "fate_llm_url",
        "https://github.com/FederatedAI/FATE-LLM.git",
        places.git_url,
        "FATE-LLM's repository",
    ),
    Variable(
        "IPCL_URL",
        "ipcl_url",
        "https://github.com/intel/pailliercryptolib_python.git",
        places.git_url,
        "IPCL's repository",
    ),
    Variable("GIT_MIRROR", "git_mirror", "", places.git_url, "takes the place of https://github.com/"),
    Variable("DOCKER_HUB_MIRROR", "docker_hub_mirror", "", names.mirror, "takes the place of Docker Hub"),
    Variable("APT_MIRROR", "apt_mirror", "", places.web_url, "takes the place of http://deb.debian.org/debian"),
    Variable("APT_SECURITY_MIRROR", "apt_security_mirror", "", places.web_url, "takes the place of …/debian-security"),
    Variable("PIP_INDEX_URL", "pip_index_url", "", places.web_url, "takes the place of PyPI"),
    Variable(
        "PIP_EXTRA_INDEX_URL",
        "pip_extra_index_url",
        "",
        places.web_url,
        "a further Python index, e.g. for torch's +cpu wheels",
    ),
    Variable("NPM_CONFIG_REGISTRY", "npm_registry", "", places.web_url, "takes the place of the npm registry"),
    Variable("MAVEN_MIRROR", "maven_mirror", "", places.web_url, "takes the place of Maven Central"),
    Variable(
        "PYTORCH_INDEX_URL",
        "pytorch_index_url",
        "",
        places.web_url,
        "torch's own index, with its +cpu and +cuXXX wheels",
    ),
    Variable(
        "PYG_FIND_LINKS",
        "pyg_find_links",
        "",
        places.web_url,
        "wheels of the graph packages, e.g. https://data.pyg.org/whl",
    ),
    Variable(
        "CUDA_APT_REPOSITORY",
        "cuda_apt_repository",
        "",
        places.apt_source,
        "apt source with the CUDA toolkit, for FATE-LLM",
    ),
    Variable(
        "CA_BUNDLE",
        "ca_bundle",
        "",
        places.path,
        "PEM file the builds trust; default: SSL_CERT_FILE where it is set",
    ),
    Variable(
        "PYTHON_PREFIX",
        "python_prefix",
        "",
        places.path,
        "a CPython 3.8 to make the Python base from; default: pyenv's",
    ),
)
