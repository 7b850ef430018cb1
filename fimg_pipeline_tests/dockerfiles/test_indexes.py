"""Optional indexes (torch, graph packages, CUDA) are used where they are configured, and named where they fail.

What they serve here are packages without content under the real names: the real ones are on hosts out of reach.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline_tests.rig.command import Fimg, switches

pytestmark = pytest.mark.engine

PREFIX = f"fimg-test.invalid:5000/indexes{os.getpid()}"
TORCH = {"cpu": "1.13.1+cpu", "cu117": "1.13.1+cu117"}
GRAPH = {"pyg-lib": "0.1.0", "torch-scatter": "2.1.0"}
#: Of the packages that are compiled against torch, in a version PyPI does not have.
COMPILED = "torch-spline-conv"
CUDA = (
    "cuda-compiler-11-7", "cuda-cudart-dev-11-7", "libcublas-dev-11-7", "libcurand-dev-11-7", "libcusolver-dev-11-7",
    "libcusparse-dev-11-7",
)  # fmt: skip


def wheel(folder: Path, name: str, version: str) -> str:
    """Writes a wheel of an empty module; its file name."""
    stem = f"{name.replace('-', '_')}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name.replace('-', '_')}.py", "")
        information = f"{stem}.dist-info"
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", "")
    return f"{stem}-py3-none-any.whl"


def source_of_an_extension(folder: Path, name: str, version: str) -> str:
    """Writes a source archive that needs torch and a compiler, as the graph packages do; its file name."""
    module = name.replace("-", "_")
    setup = (
        "import torch\nfrom setuptools import Extension, setup\n"
        f"setup(name={name!r}, version={version!r}, ext_modules=[Extension({module!r}, ['{module}.cpp'])])\n"
    )
    code = (
        "#include <Python.h>\n"
        f'static struct PyModuleDef definition = {{PyModuleDef_HEAD_INIT, "{module}", 0, -1, 0}};\n'
        f"PyMODINIT_FUNC PyInit_{module}() {{ return PyModule_Create(&definition); }}\n"
    )
    stem = f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"{stem}.tar.gz", "w:gz") as archive:
        for path, text in (("setup.py", setup), (f"{module}.cpp", code)):
            entry = tarfile.TarInfo(f"{stem}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return f"{stem}.tar.gz"


def page(file: Path, wheels: list[str]) -> None:
    """A page of links, as simple indexes and data.pyg.org have it: without a word on when the files came."""
    file.write_text("".join(f'<a href="{quote(name)}">{name}</a>\n' for name in wheels))


def apt_repository(folder: Path, packages: Sequence[str]) -> None:
    """A flat apt repository, as NVIDIA's are, of packages without content."""
    listed = []
    for name in packages:
        control = f"Package: {name}\nVersion: 11.7.1-1\nArchitecture: all\nMaintainer: t <t@example.org>\n"
        tree = folder / name / "DEBIAN"
        tree.mkdir(parents=True)
        (tree / "control").write_text(f"{control}Description: none\n")
        file = folder / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", tree.parent, file], check=True, capture_output=True
        )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        listed.append(
            f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\nDescription: none\n"
        )
    (folder / "Packages").write_text("\n".join(listed))


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL below which ``torch/``, ``pyg/``, ``cuda/`` and ``cuda-12/`` are served."""
    root = tmp_path_factory.mktemp("indexes")
    for flavour, version in TORCH.items():
        project = root / "torch" / flavour / "torch"
        name = wheel(project, "torch", version)
        page(project / "index.html", [name])
        compiled = project.parent / COMPILED
        page(compiled / "index.html", [source_of_an_extension(compiled, COMPILED, "9.9.9")])
        names = [wheel(root / "pyg", name, f"{number}+pt113{flavour}") for name, number in GRAPH.items()]
        page(root / "pyg" / f"torch-1.13.0+{flavour}.html", names)
    apt_repository(root / "cuda", CUDA)
    apt_repository(root / "cuda-12", ["cuda-compiler-12-0"])
    handler = functools.partial(Quiet, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture(scope="module")
def fimg(tmp_path_factory: pytest.TempPathFactory, indexes: str) -> Iterator[Fimg]:
    folder = tmp_path_factory.mktemp("fimg")
    sample = create_sample(folder / "src")
    requirements = sample.fate / "python/requirements.txt"
    commit_change(
        sample.fate,
        "python/requirements.txt",
        f"--extra-index-url https://download.pytorch.org/whl/cpu\n{requirements.read_text()}torch=={TORCH['cpu']}\n",
        "torch",
    )
    graph = "".join(f"{name}=={version}+pt113cpu\n" for name, version in GRAPH.items())
    commit_change(
        sample.fate,
        "python/requirements-graph-nn.txt",
        f"--find-links https://data.pyg.org/whl/torch-1.13.0+cpu.html\n{graph}",
        "Graph packages",
    )
    settings = {
        "PREFIX": PREFIX,
        "TAG": "t",
        "PYTORCH_INDEX_URL": f"{indexes}/torch",
        "PYG_FIND_LINKS": f"{indexes}/pyg",
        # The test's server is on this machine.
        "Docker_Options": "--network=host",
        **switches(Feature.BASIC),
    }
    yield Fimg(folder, sample, settings)
    engine = Engine()
    for image in engine.state().images:
        for name in image.references:
            if name.startswith(PREFIX):
                engine.remove(name)


def installed(image: str) -> set[str]:
    status, output = Engine().run(f"{PREFIX}/{image}:t", ["python", "-m", "pip", "list", "--format=freeze"], timeout=60)
    assert status == 0, output
    return set(output.splitlines())


def test_builds_for_the_cpu(fimg: Fimg) -> None:
    result = fimg("build", "--image", "fateflow-nn")
    assert result.status == 0, result.output
    assert f"torch=={TORCH['cpu']}" in installed("base-image")
    wanted = {f"{name}=={version}+pt113cpu" for name, version in GRAPH.items()}
    assert wanted <= installed("fateflow-nn")


def test_what_no_index_has_is_compiled_once_and_kept(fimg: Fimg) -> None:
    files = fimg.sample.fate / "python"
    before = (files / "requirements-graph-nn.txt").read_text()
    commit_change(
        fimg.sample.fate, "python/requirements-graph-nn.txt", "torch_spline_conv==9.9.9+pt113cpu\n", "Compiled"
    )
    try:
        names = ("--image", "fateflow-nn", "--image", "eggroll-nn-gpu")
        result = fimg("build", *names, PYG_FIND_LINKS="")
        assert result.status == 0, result.output
        for image in ("fateflow-nn", "eggroll-nn-gpu"):
            assert f"{COMPILED}==9.9.9" in installed(image)
            asked = ["python", "-c", f"import {COMPILED.replace('-', '_')}"]
            assert Engine().run(f"{PREFIX}/{image}:t", asked, timeout=60) == (0, "")
        # For other images than these, too, and whatever the engine's build cache has forgotten.
        commit_change(fimg.sample.fate, "python/federatedml/note.py", f"# {PREFIX}\n", "A note")
        result = fimg("build", *names, PYG_FIND_LINKS="")
        assert result.status == 0 and "eggroll-nn-gpu built" in result.output, result.output
        assert "package graph" not in result.output, result.output
    finally:
        commit_change(fimg.sample.fate, "python/requirements-graph-nn.txt", before, "As before")


def test_builds_for_cuda(fimg: Fimg) -> None:
    result = fimg("build", "--image", "fateflow-nn-gpu")
    assert result.status == 0, result.output
    wanted = {f"{name}=={version}+pt113cu117" for name, version in GRAPH.items()} | {f"torch=={TORCH['cu117']}"}
    assert wanted <= installed("fateflow-nn-gpu")


def test_the_cuda_toolkit_for_llm(fimg: Fimg, indexes: str) -> None:
    result = fimg("build", "--image", "fateflow-all-gpu", CUDA_APT_REPOSITORY=f"{indexes}/cuda /")
    assert result.status == 0, result.output
    asked = ["sh", "-c", f"dpkg --status {' '.join(CUDA)} g++ >/dev/null && readlink /usr/local/cuda"]
    assert Engine().run(f"{PREFIX}/fateflow-all-gpu:t", asked, timeout=60) == (0, "cuda-11.7\n")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent /", "CUDA_APT_REPOSITORY can't be read as an apt source"),
        ("cuda-12 /", "the apt source that CUDA_APT_REPOSITORY names has no cuda-compiler-11-7"),
    ],
)
def test_a_cuda_toolkit_that_is_not_there(fimg: Fimg, indexes: str, source: str, message: str) -> None:
    # Where the toolkit is does not change what is built: what the test above left would be found.
    commit_change(fimg.sample.fate_llm, "python/fate_llm/note.py", f"# {indexes}/{source}\n", "Anew")
    result = fimg(
        "build", "--image", "eggroll-all-gpu", Build_LLM_VERSION="main", CUDA_APT_REPOSITORY=f"{indexes}/{source}"
    )
    assert (result.status, message in result.output) == (1, True), result.output
    # Told by what is made first, not after an hour by the image that needs it.
    assert "package fate_llm" in result.output and "1 failed; " in result.output


def test_an_index_that_can_not_be_reached_is_named(fimg: Fimg, indexes: str) -> None:
    path = "python/requirements-graph-nn.txt"
    # Otherwise what was built above would be found: where an index is does not change what is built.
    commit_change(fimg.sample.fate, path, f"{(fimg.sample.fate / path).read_text()}# {indexes}\n", "Anew")
    elsewhere = replace(fimg, settings={**fimg.settings, "PYG_FIND_LINKS": f"{indexes}/absent"})
    result = elsewhere("build", "--image", "fateflow-nn")
    assert result.status == 1 and "failed  fateflow-nn" in result.output, result.output
    assert "with PyPI PYTORCH_INDEX_URL PYG_FIND_LINKS: error: Failed to read `--find-links`" in result.output
