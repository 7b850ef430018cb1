"""Finding a CPython to make a base of, and moving it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.bases.python import (
    PythonPrefix,
    Unusable,
    candidates,
    debian_recipe,
    describes_itself,
    judge,
    prefix_recipe,
    probe,
    pyenv_roots,
    relocated,
    taken,
    usable_prefixes,
    write_prefix,
)
from fimg_pipeline.engine.host import HostError

OLD = "/home/me/.pyenv/versions/3.8.18"


def interpreter(folder: Path, **facts: object) -> Path:
    """A prefix whose interpreter answers every question with ``facts``."""
    answer = {
        "version": "3.8.18",
        "machine": "x86_64",
        "implementation": "cpython",
        "prefix": str(folder),
        "base_prefix": str(folder),
        "configured_prefix": str(folder),
        "headers": True,
        **facts,
    }
    program = folder / "bin/python3.8"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    return folder


def test_newest_first_and_pyenv_before_others(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "root"
    for prefix in (".pyenv/versions/3.8.9", ".pyenv/versions/3.8.18", ".pyenv/versions/3.8.2"):
        interpreter(home / prefix)
    interpreter(root / "opt/python/3.8.20")
    interpreter(root / "opt/python3.8")
    (home / ".pyenv/versions/3.8.99").mkdir()  # an install that never finished
    (home / ".pyenv/versions/3.9.1/bin").mkdir(parents=True)
    found = candidates([home / ".pyenv"], root)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "home/.pyenv/versions/3.8.18",
        "home/.pyenv/versions/3.8.9",
        "home/.pyenv/versions/3.8.2",
        "root/opt/python/3.8.20",
        "root/opt/python3.8",
    ]


def test_the_pyenv_of_the_running_python_counts_wherever_it_is(tmp_path: Path) -> None:
    own, other = tmp_path / "home/.pyenv", tmp_path / "opt/pyenv"
    assert pyenv_roots(own.parent, other / "versions/3.11.7") == [own, other]
    assert pyenv_roots(own.parent, own / "versions/3.11.7") == [own]
    assert pyenv_roots(own.parent, Path("/usr")) == [own]


def test_a_prefix_is_asked_what_it_is(tmp_path: Path) -> None:
    prefix = interpreter(tmp_path / "p", machine="aarch64", configured_prefix="/install")
    assert probe(prefix) == PythonPrefix(prefix, "3.8.18", "arm64", "/install")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"version": "3.9.2"}, "it is cpython 3.9.2, not CPython 3.8"),
        ({"implementation": "pypy"}, "it is pypy"),
        ({"base_prefix": "/usr"}, "a virtual environment of /usr"),
        ({"prefix": "/usr", "base_prefix": "/usr"}, "belongs to /usr"),
        ({"headers": False}, "header files are missing"),
    ],
)
def test_why_a_prefix_is_of_no_use(tmp_path: Path, facts: dict[str, object], reason: str) -> None:
    answer = probe(interpreter(tmp_path / "p", **facts))
    assert isinstance(answer, Unusable) and reason in answer.reason


def test_interpreters_that_do_not_run(tmp_path: Path) -> None:
    missing = probe(tmp_path)
    assert isinstance(missing, Unusable) and "it has no bin/python3.8" in missing.reason
    program = interpreter(tmp_path / "p") / "bin/python3.8"
    program.write_text("#!/bin/sh\necho 'libssl.so.1.1: not found' >&2\nexit 127\n")
    broken = probe(tmp_path / "p")
    assert isinstance(broken, Unusable) and "libssl.so.1.1: not found" in broken.reason


def test_a_linked_prefix_is_itself(tmp_path: Path) -> None:
    real = interpreter(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    facts = {"version": "3.8.1", "implementation": "cpython", "machine": "x86_64", "headers": True}
    facts |= {"prefix": str(real), "base_prefix": str(real), "configured_prefix": str(real)}
    assert isinstance(judge(tmp_path / "link", facts), PythonPrefix)


def answers(path: Path) -> PythonPrefix | Unusable:
    architecture: Platform = "arm64" if "arm" in path.name else "amd64"
    return Unusable(path, "broken") if "bad" in path.name else PythonPrefix(path, "3.8.1", architecture, str(path))


def test_only_usable_prefixes_of_the_architecture_are_tried(tmp_path: Path) -> None:
    for name in ("3.8.3-bad", "3.8.2-arm", "3.8.1"):
        interpreter(tmp_path / ".pyenv/versions" / name)
    found = usable_prefixes("amd64", None, [tmp_path / ".pyenv"], ask=answers, root=tmp_path / "none")
    assert [prefix.path.name for prefix in found] == ["3.8.1"]
    assert usable_prefixes("arm64", None, [], ask=answers, root=tmp_path / "none") == []


def test_a_configured_prefix_is_the_only_one_and_must_be_usable(tmp_path: Path) -> None:
    interpreter(tmp_path / ".pyenv/versions/3.8.9")
    chosen = usable_prefixes("amd64", Path("/opt/mine"), [], ask=answers, root=tmp_path)
    assert [prefix.path for prefix in chosen] == [Path("/opt/mine")]
    assert usable_prefixes("arm64", Path("/opt/mine"), [], ask=answers, root=tmp_path) == []
    with pytest.raises(HostError, match="PYTHON_PREFIX=/opt/bad can't be used: broken"):
        usable_prefixes("amd64", Path("/opt/bad"), [], ask=answers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"'prefix': '{OLD}',", "'prefix': '/usr/local',"),
        (f"-L{OLD}/lib -Wl,-rpath,{OLD}/lib", "-L/usr/local/lib -Wl,-rpath,/usr/local/lib"),
        (f'"--prefix={OLD}"', '"--prefix=/usr/local"'),
        (f"#!{OLD}/bin/python3.8", "#!/usr/local/bin/python3.8"),
        (f"{OLD}-debug {OLD}.1 x{OLD}", f"{OLD}-debug {OLD}.1 x{OLD}"),
        (
            "'INSTALL': '/usr/bin/install -c', -I/install/include",
            "'INSTALL': '/usr/bin/install -c', -I/usr/local/include",
        ),
    ],
)
def test_whole_paths_move(text: str, expected: str) -> None:
    assert relocated(text, [OLD, "/install"]) == expected


def test_a_prefix_below_another_moves_first() -> None:
    assert relocated("/opt/python/3.8/lib", ["/opt/python", "/opt/python/3.8"]) == "/usr/local/lib"


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("bin/python3.8", False, True),
        ("bin/python3-config", False, True),
        ("bin/pydoc3.8", False, True),
        ("bin/pip3.8", False, False),
        ("bin/black", False, False),
        ("pip.conf", False, False),
        ("etc", True, False),
        ("include/python3.8", True, True),
        ("include/python3.8/Python.h", False, True),
        ("include/uv", True, False),
        ("lib/libpython3.8.so.1.0", False, True),
        ("lib/libpython3.8.a", False, False),
        ("lib/pkgconfig/python3.pc", False, True),
        ("lib/python3.8/os.py", False, True),
        ("lib/python3.8/site-packages", True, False),
        ("lib/python3.8/sitecustomize.py", False, False),
        ("lib/python3.8/test", True, False),
        ("lib/python3.8/unittest/test", True, False),
        ("lib/python3.8/__pycache__", True, False),
        ("lib/python3.8/config-3.8/libpython3.8.a", False, False),
        ("lib/python3.8/lib-dynload/_ssl.so", False, True),
        ("lib/libfoo.so", False, False),
    ],
)
def test_what_an_image_takes_of_a_prefix(path: str, folder: bool, expected: bool) -> None:
    assert taken(path, folder) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lib/python3.8/_sysconfigdata__linux_x86_64-linux-gnu.py", True),
        ("lib/python3.8/config-3.8-x86_64-linux-gnu/Makefile", True),
        ("lib/pkgconfig/python-3.8.pc", True),
        ("bin/python3.8-config", True),
        ("bin/2to3-3.8", True),
        ("bin/python3.8", False),
        ("lib/python3.8/os.py", False),
    ],
)
def test_files_that_name_their_prefix(path: str, expected: bool) -> None:
    assert describes_itself(path) is expected


def test_a_moved_prefix_carries_nothing_of_the_machine(tmp_path: Path) -> None:
    prefix = tmp_path / "3.8.18"
    for path, text in {
        "bin/python3.8": f"\x7fELF {prefix}",
        "bin/python3.8-config": f'prefix="{prefix}"',
        "lib/python3.8/site-packages/corporate_ca.pth": "import corporate",
        "lib/python3.8/_sysconfigdata_x.py": f"build_time_vars = {{'LDFLAGS': '-L{prefix}/lib'}}",
        "lib/python3.8/os.py": "name = 'posix'",
    }.items():
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text(text)
    output = io.BytesIO()
    write_prefix(PythonPrefix(prefix, "3.8.18", "amd64", str(prefix)), output)
    output.seek(0)
    with tarfile.open(fileobj=output) as archive:
        members = {member.name: member for member in archive}
        contents = {name: archive.extractfile(name) for name, member in members.items() if member.isreg()}
        texts = {name: file.read().decode() for name, file in contents.items() if file}
    assert set(texts) == {
        "bin/python3.8",
        "bin/python3.8-config",
        "lib/python3.8/_sysconfigdata_x.py",
        "lib/python3.8/os.py",
    }
    assert texts["bin/python3.8-config"] == 'prefix="/usr/local"'
    assert texts["lib/python3.8/_sysconfigdata_x.py"] == "build_time_vars = {'LDFLAGS': '-L/usr/local/lib'}"
    assert texts["bin/python3.8"] == f"\x7fELF {prefix}"
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}


def test_recipes_keep_to_the_features_of_docker_20_10() -> None:
    prefix = PythonPrefix(Path(OLD), "3.8.18", "amd64", OLD)
    for recipe in (prefix_recipe(prefix), debian_recipe()):
        assert recipe.dockerfile.startswith("ARG BASE\nFROM ${BASE}\n")
        assert "<<" not in recipe.dockerfile and "# syntax" not in recipe.dockerfile
        assert OLD not in recipe.dockerfile + "".join(recipe.files.values())
