"""Python base images without Docker Hub: a local CPython prefix, or Debian's own Python.

FATE 1.11's pins need Python 3.8 or 3.9, and Debian has neither in bookworm. A CPython 3.8 somebody built on this
machine (pyenv's, say) can be moved into the Debian base when it leaves behind what belongs to the machine: its
site-packages, where administrators put hooks and certificates, and the paths it was configured with. The last choice
is bullseye's Python 3.9, FATE's limit.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fimg_pipeline.catalog.bases import PYTHON_SERIES
from fimg_pipeline.catalog.platforms import Platform, platform_of
from fimg_pipeline.dockerfiles import ROOT
from fimg_pipeline.engine.bases.tree import TreeRules, write_folder
from fimg_pipeline.engine.host import HostError

#: Where the official image keeps its Python, and so does ours.
TARGET: Final = "/usr/local"
_PROBE_SECONDS: Final = 30
#: Where prefixes are looked for, below pyenv's roots and the file system's.
_PYENV_PATTERNS: Final = (f"versions/{PYTHON_SERIES}.*",)
_ROOT_PATTERNS: Final = (f"opt/python*/{PYTHON_SERIES}*", "opt/python*", f"usr/local/python{PYTHON_SERIES}*")
#: 2020-01-01: a prefix carries no release date, and the time it was unpacked at would change the layer.
_FIXED_TIME: Final = 1577836800
#: Exit status of a build whose Python turns out unusable, as opposed to one that lacked a package or a network.
CHECK_FAILED: Final = 42

_PROGRAM: Final = re.compile(r"(python|pydoc|idle|2to3)(-?3(\.8)?)?(-config)?")
_LEFT_FOLDERS: Final = frozenset({"site-packages", "__pycache__", "test", "tests", "idle_test"})

_PROBE: Final = """
import json, os, platform, sys, sysconfig
configured = __import__(sysconfig._get_sysconfigdata_name()).build_time_vars
print(json.dumps({
    "version": platform.python_version(), "machine": platform.machine(), "implementation": sys.implementation.name,
    "prefix": sys.prefix, "base_prefix": sys.base_prefix, "configured_prefix": configured["prefix"],
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""


@dataclass(frozen=True)
class PythonPrefix:
    """A CPython installation that can be moved into an image."""

    path: Path
    version: str
    architecture: Platform
    #: The prefix it was configured with, which sysconfig repeats; not ``path`` when it was moved before.
    configured: str


@dataclass(frozen=True)
class Unusable:
    """A folder that looks like a prefix but can't be used, and why."""

    path: Path
    reason: str


def pyenv_roots(home: Path, running: Path) -> list[Path]:
    """The user's pyenv, and the one that the Python whose prefix is ``running`` comes from, where that is another."""
    roots = [home / ".pyenv", *([running.parent.parent] if running.parent.name == "versions" else [])]
    return list(dict.fromkeys(roots))


def candidates(pyenvs: Sequence[Path], root: Path = Path("/")) -> list[Path]:
    """Folders that may be CPython prefixes: the newest patch release first, pyenv's before others."""

    def found(base: Path, patterns: Iterable[str]) -> list[Path]:
        folders = {
            path
            for pattern in patterns
            for path in base.glob(pattern)
            if (path / f"bin/python{PYTHON_SERIES}").is_file()
        }
        return sorted(folders, key=lambda path: (_numbers(path.name), path.name), reverse=True)

    return [path for pyenv in pyenvs for path in found(pyenv, _PYENV_PATTERNS)] + found(root, _ROOT_PATTERNS)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


def probe(path: Path) -> PythonPrefix | Unusable:
    """Runs the interpreter in ``path`` and says what it is."""
    interpreter = path / f"bin/python{PYTHON_SERIES}"
    try:
        # -I: neither the caller's PYTHON* variables nor site hooks of the user decide what is found.
        answer = subprocess.run(
            [str(interpreter), "-I", "-S", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return Unusable(path, f"it has no bin/python{PYTHON_SERIES}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unusable(path, f"bin/python{PYTHON_SERIES} doesn't run: {error}")
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        return Unusable(path, f"bin/python{PYTHON_SERIES} doesn't run: {last}")
    return judge(path, json.loads(answer.stdout))


def judge(path: Path, facts: Mapping[str, object]) -> PythonPrefix | Unusable:
    """What an interpreter says about itself, as a usable prefix or the reason why it is none."""
    version, implementation = str(facts["version"]), facts["implementation"]
    if implementation != "cpython" or not version.startswith(f"{PYTHON_SERIES}."):
        return Unusable(path, f"it is {implementation} {version}, not CPython {PYTHON_SERIES}")
    if facts["prefix"] != facts["base_prefix"]:
        return Unusable(path, f"it is a virtual environment of {facts['base_prefix']}")
    if Path(str(facts["prefix"])).resolve() != path.resolve():
        return Unusable(path, f"its interpreter belongs to {facts['prefix']}")
    if not facts["headers"]:
        return Unusable(path, "its header files are missing, so packages can't be compiled with it")
    try:
        architecture = platform_of(str(facts["machine"]))
    except ValueError:
        return Unusable(path, f"it is for {facts['machine']}")
    return PythonPrefix(path, version, architecture, str(facts["configured_prefix"]))


def usable_prefixes(
    arch: Platform,
    explicit: Path | None,
    pyenvs: Sequence[Path],
    *,
    ask: Callable[[Path], PythonPrefix | Unusable] = probe,
    root: Path = Path("/"),
) -> list[PythonPrefix]:
    """The prefixes to try for ``arch``, best first.

    An ``explicit`` one (the setting PYTHON_PREFIX) is the only one, and must be usable, on the architecture it is for.
    """
    if explicit is not None:
        answer = ask(explicit)
        if isinstance(answer, Unusable):
            raise HostError(
                f"PYTHON_PREFIX={explicit} can't be used: {answer.reason}",
                hint=f"set it to the prefix of a CPython {PYTHON_SERIES} (what sys.prefix says), or leave it unset",
            )
        return [answer] if answer.architecture == arch else []
    answers = map(ask, candidates(pyenvs, root))
    return [answer for answer in answers if isinstance(answer, PythonPrefix) and answer.architecture == arch]


def taken(path: str, folder: bool) -> bool:
    """Whether a path of a prefix goes into an image: the interpreter, its headers and library, nothing installed."""
    parts = path.split("/")
    name = parts[-1]
    if folder and name in _LEFT_FOLDERS:
        return False
    if name.endswith((".pyc", ".a")) or name in ("sitecustomize.py", "usercustomize.py"):
        return False
    if len(parts) == 1:
        return folder and name in ("bin", "include", "lib")
    top, second = parts[:2]
    if top == "bin":
        return len(parts) == 2 and _PROGRAM.fullmatch(name) is not None
    if top == "lib" and not folder and len(parts) == 2:
        return name.startswith("libpython")
    return second == f"python{PYTHON_SERIES}" or (top, second) == ("lib", "pkgconfig")


def describes_itself(path: str) -> bool:
    """Whether a file of a prefix repeats the prefix as text: sysconfig's data, pkg-config files, scripts."""
    name = path.rpartition("/")[2]
    if path.startswith("bin/"):
        return not re.fullmatch(r"python(3(\.\d+)?)?", name)
    return (
        path.startswith("lib/pkgconfig/")
        or name.startswith("_sysconfigdata")
        or re.search(r"/config-3\.8[^/]*/(Makefile|python-config\.py)$", path) is not None
    )


def relocated(text: str, prefixes: Iterable[str]) -> str:
    """``text`` with every path below one of ``prefixes`` moved to :data:`TARGET`.

    Whole paths only: ``/install`` moves in ``-I/install/include``, but not in ``/usr/bin/install``.
    """
    for prefix in sorted(set(prefixes), key=len, reverse=True):
        if prefix != TARGET:
            path = rf"(?:(?<=-[ILR])|(?<![\w./-])){re.escape(prefix)}(?![\w.-])"
            text = re.sub(path, TARGET, text)
    return text


def write_prefix(prefix: PythonPrefix, output: BinaryIO) -> None:
    """Archives what an image takes of ``prefix``, as if it had been configured for :data:`TARGET`."""
    old = {prefix.configured, str(prefix.path), str(prefix.path.resolve())}

    def rewrite(path: str, content: bytes) -> bytes:
        if not describes_itself(path):
            return content
        # Latin-1 maps every byte to a character and back: whatever else is in the file stays as it is.
        return relocated(content.decode("latin-1"), old).encode("latin-1")

    write_folder(prefix.path, output, TreeRules(keep=taken, latest=_FIXED_TIME, owned_by_root=True, rewrite=rewrite))


#: What ``lib/build.sh`` and the packages leave behind beside what they are for.
_EPILOGUE: Final = """
find /usr/local /usr/lib -depth -name __pycache__ -exec rm -r {} +
rm -rf /tmp/* /var/cache/ldconfig
"""
#: What the recipes use too: apt with the mirror and CA of the build, which no layer keeps.
_LIBRARY: Final = ". /run/fimg/build.sh\n"
_RUN_CHECK: Final = f"""
cd /
python3 /run/fimg/check.py || exit {CHECK_FAILED}
"""
_PREFIX_SCRIPT: Final = (
    _LIBRARY
    + """
apt_install ca-certificates netbase tzdata \
    libbz2-1.0 libdb5.3 libexpat1 libffi8 libgdbm6 libgdbm-compat4 liblzma5 libncursesw6 libnsl2 libreadline8 \
    libsqlite3-0 libssl3 libtirpc3 libuuid1 zlib1g
ln -sf python3.8 /usr/local/bin/python3
ln -sf python3 /usr/local/bin/python
ldconfig
"""
    + _RUN_CHECK
    + "python3 -m ensurepip --default-pip\n"
    + _EPILOGUE
)
#: Debian splits what the official image has in one piece: venv, pip and the header files are packages of their own.
_DEBIAN_SCRIPT: Final = (
    _LIBRARY
    + """
apt_install ca-certificates netbase tzdata python3 python3-dev python3-pip python3-venv
for program in python3 pip3; do ln -s "/usr/bin/$program" /usr/local/bin/; done
ln -s python3 /usr/local/bin/python
ln -s pip3 /usr/local/bin/pip
"""
    + _RUN_CHECK
    + _EPILOGUE
)
#: Fails the build when the result is no Python that FATE can use, rather than some image's build an hour later.
_CHECK: Final = """
import sys, sysconfig
import bz2, ctypes, hashlib, lzma, readline, sqlite3, ssl, uuid, venv, zlib
if not (3, 8) <= sys.version_info < (3, 10):
    sys.exit("FATE needs Python 3.8 or 3.9, this is " + sys.version)
if not sys.prefix.startswith("/usr"):
    sys.exit("sys.prefix is " + sys.prefix)
try:
    open(sysconfig.get_path("include") + "/Python.h").close()
except OSError as error:
    sys.exit("no header files: %s" % error)
print("Python", sys.version.split()[0], "with", ssl.OPENSSL_VERSION)
"""
#: The tmpfs takes the mount points along, which would otherwise stay in the layer as empty folders.
_MOUNTS: Final = (
    "--mount=type=tmpfs,target=/run --mount=type=bind,source=setup,target=/run/fimg"
    " --mount=type=secret,id=ca --mount=type=secret,id=network"
)


@dataclass(frozen=True)
class PythonRecipe:
    """A Dockerfile and the small files its context needs beside it."""

    dockerfile: str
    files: Mapping[str, str]
    #: Name of the archive the Dockerfile adds, if it adds one.
    archive: str | None = None


def _recipe(script: str, environment: Sequence[str], archive: str | None = None) -> PythonRecipe:
    lines = [
        "ARG BASE",
        "FROM ${BASE}",
        *(f"ENV {setting}" for setting in environment),
        *([f"ADD {archive} {TARGET}/"] if archive else []),
        f"RUN {_MOUNTS} sh /run/fimg/install.sh",
        'CMD ["python3"]',
    ]
    library = (ROOT / "lib/build.sh").read_text(encoding="utf-8")
    files = {"setup/install.sh": script, "setup/check.py": _CHECK, "setup/build.sh": library}
    return PythonRecipe("\n".join(lines) + "\n", files, archive)


def prefix_recipe(prefix: PythonPrefix) -> PythonRecipe:
    """How a prefix's archive (``python.tar``) becomes an image on Debian bookworm."""
    return _recipe(_PREFIX_SCRIPT, ("LANG=C.UTF-8", f"PYTHON_VERSION={prefix.version}"), "python.tar")


def debian_recipe() -> PythonRecipe:
    """How Debian bullseye's own Python 3.9 becomes an image that looks like the official ones."""
    return _recipe(_DEBIAN_SCRIPT, ("LANG=C.UTF-8",))
