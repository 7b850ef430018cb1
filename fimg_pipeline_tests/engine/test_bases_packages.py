"""Packages of a small Debian: what apt is told, what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.engine.bases import packages
from fimg_pipeline.engine.bases.packages import Packages, download, release_time
from fimg_pipeline.engine.bases.suites import SUITES, Mirrors
from fimg_pipeline.engine.host import HostError


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for apt-get: answers with what it was configured with; fails where security updates are asked for."""
    program = tmp_path / "bin/apt-get"
    program.parent.mkdir()
    program.write_text(
        """#!/bin/sh
set -e
folder=$(dirname "$APT_CONFIG")
case "$*" in
    *update*) echo "Date: Sat, 09 Aug 2025 09:16:30 UTC" >"$folder/lists/mirror_InRelease" ;;
    *)
        echo "$*" >"$folder/asked"
        if grep -q -e -security "$folder/sources.list"; then echo "E: 404 Not Found" >&2; exit 100; fi
        touch "$folder/archives/b.deb" "$folder/archives/a.deb"
        ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(packages, "_KEYRING", program)
    return program


def test_without_security_updates_it_is_said(apt: Path, tmp_path: Path) -> None:
    work, lines = tmp_path / "work", list[str]()
    found = download(SUITES["bullseye"], "arm64", Mirrors(), work, lines.append)
    folder = work / "released"
    assert found == Packages([folder / "archives/a.deb", folder / "archives/b.deb"], 1754730990, secure=False)
    assert len(lines) == 1 and "without security updates" in lines[0] and "404 Not Found" in lines[0]
    assert (folder / "asked").read_text().split()[-3:] == ["?essential", "?priority(required)", "apt"]
    configuration = (folder / "apt.conf").read_text()
    assert 'APT::Architecture "arm64";\n' in configuration
    # Nothing of this machine's apt is read or written.
    assert 'Dir::Etc::Parts "/dev/null";\n' in configuration
    assert f'Dir::State::status "{folder}/status";\n' in configuration


def test_a_suite_that_is_supported_does_not_go_without(apt: Path, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"packages of Debian bookworm for amd64 failed") as caught:
        download(SUITES["bookworm"], "amd64", Mirrors(), tmp_path / "work", lambda _: pytest.fail("went without"))
    assert "APT_SECURITY_MIRROR" in str(caught.value) and not caught.value.transient


def test_the_mirror_and_its_certificates_are_apts(apt: Path, tmp_path: Path) -> None:
    mirrors = Mirrors("https://mirror.example/debian", "https://mirror.example/security", tmp_path / "ca.pem")
    download(SUITES["bullseye"], "amd64", mirrors, tmp_path / "work", lambda _: None)
    folder = tmp_path / "work/secure"
    keyring = f"[signed-by={apt}]"
    assert f'Acquire::https::CaInfo "{tmp_path}/ca.pem";' in (folder / "apt.conf").read_text()
    assert (folder / "sources.list").read_text().splitlines()[0] == (
        f"deb {keyring} https://mirror.example/debian bullseye main"
    )


@pytest.mark.parametrize(
    ("said", "transient"),
    [
        ("Failed to fetch http://m.example/x.deb  503 Service Unavailable", True),
        ("File has unexpected size (1 != 2). Mirror sync in progress?", True),
        ("Could not handshake: Error in the pull function.", True),
        ("No space left on device", False),
        ("The following signatures were invalid: BADSIG", False),
        ("Clearsigned file isn't valid (does the network require authentication?)", False),
    ],
)
def test_only_what_is_not_there_any_more_is_gone_without(apt: Path, tmp_path: Path, said: str, transient: bool) -> None:
    apt.write_text(apt.read_text().replace('"E: 404 Not Found"', f'"E: {said}"'))
    with pytest.raises(HostError) as caught:
        download(SUITES["bullseye"], "amd64", Mirrors(), tmp_path / "work", lambda _: pytest.fail("went without"))
    assert caught.value.transient is transient


def test_a_port_is_no_status(apt: Path, tmp_path: Path) -> None:
    gone = "Failed to fetch http://m.example:5000/debian-security/x.deb  404  Not Found"
    apt.write_text(apt.read_text().replace('"E: 404 Not Found"', f'"E: {gone}"'))
    assert not download(SUITES["bullseye"], "amd64", Mirrors(), tmp_path / "work", lambda _: None).secure


def test_a_mirror_that_has_nothing_is_told(apt: Path, tmp_path: Path) -> None:
    apt.write_text("#!/bin/sh\necho 'E: no such host' >&2; exit 100\n")
    with pytest.raises(HostError, match=r"downloading the packages of Debian bookworm for amd64 failed") as caught:
        download(SUITES["bookworm"], "amd64", Mirrors(), tmp_path / "work", lambda _: None)
    assert caught.value.transient, "a name server may be away"
    assert "no such host" in str(caught.value) and "check the network, APT_MIRROR" in str(caught.value)


def test_a_machine_without_apt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="this machine has no apt-get"):
        download(SUITES["bookworm"], "amd64", Mirrors(), tmp_path / "work", lambda _: None)


def test_the_latest_release_dates_the_tree() -> None:
    older = "Origin: Debian\nDate: Sat, 09 Aug 2025 09:16:30 UTC\n"
    newer = "Date: Sat, 12 Sep 2026 09:27:08 UTC\nValid-Until: Sat, 19 Sep 2026 09:27:08 UTC\n"
    assert release_time([newer, older]) == 1789205228
    with pytest.raises(HostError, match="no dated Release file"):
        release_time(["Origin: Debian\n"])
