"""Settings: precedence, defaults, and hostile values refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.settings import SettingsError, exported, load
from fimg_pipeline.values import build_options, choices
from fimg_pipeline.variables import VARIABLES
from fimg_pipeline_tests.values.settings import settings

#: Name → default of the build document's table.
DOCUMENT = {
    "FATE_DIR": "/data/projects/fate",
    "TAG": "latest",
    "PREFIX": "federatedai",
    "Docker_Options": "",
    "Build_Basic": "1",
    "Build_OP": "1",
    "Build_FUM": "0",
    "Build_NN": "1",
    "Build_Spark": "1",
    "Build_IPCL": "0",
    "IPCL_PKG_DIR": "",
    "IPCL_VERSION": "v1.1.3",
    "Build_GPU": "0",
    "Build_LLM": "0",
    "Build_LLM_VERSION": "v1.2.0",
    "Platform": "amd64",
}


def test_names_and_defaults_are_the_documents() -> None:
    ours = {variable.name: variable.default for variable in VARIABLES}
    assert {name: ours[name] for name in DOCUMENT} == DOCUMENT


def test_flag_beats_environment_beats_dotenv_beats_default(tmp_path: Path) -> None:
    assert settings(tmp_path).tag == "latest"
    (tmp_path / ".env").write_text("  TAG=from-dotenv\n  PREFIX=dotenv\n")
    assert settings(tmp_path).tag == "from-dotenv"
    assert settings(tmp_path, TAG="from-environment").tag == "from-environment"
    found = load({"TAG": "from-flag"}, environ={"TAG": "from-environment"}, directory=tmp_path)
    assert (found.tag, found.prefix) == ("from-flag", "dotenv")


def test_base_tag_follows_tag_unless_set(tmp_path: Path) -> None:
    assert settings(tmp_path, TAG="a").base_tag == "a"
    assert settings(tmp_path, TAG="a", BASE_TAG="b").base_tag == "b"


@pytest.mark.parametrize("line", ["TAG='never closed", "this is no assignment", 'PREFIX="a" b'])
def test_a_line_of_dotenv_that_is_no_assignment_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# first\nTAG=fine\n{line}\n")
    with pytest.raises(SettingsError, match=r"\.env, line 3: "):
        settings(tmp_path)


def test_a_dotenv_that_is_no_text_or_no_file_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TAG=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env is no text in UTF-8: byte 5 is 0xff\n"):
        settings(tmp_path)
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env can't be read: Is a directory\n"):
        settings(tmp_path)


def test_version_in_dotenv_is_fates(tmp_path: Path) -> None:
    (tmp_path / "fate").mkdir()
    (tmp_path / "fate/fate.env").write_text("FATE=1.11.2\n")
    (tmp_path / ".env").write_text("BASE_TAG=${version}-release\nTAG=${version}-release\n")
    found = settings(tmp_path, FATE_DIR=str(tmp_path / "fate"))
    assert (found.tag, found.base_tag) == ("1.11.2-release", "1.11.2-release")


def test_a_process_elsewhere_finds_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fate").mkdir()
    (tmp_path / "fate/fate.env").write_text("FATE=1.11.2\n")
    (tmp_path / ".env").write_text(
        "FATE_DIR=fate\nPREFIX=dotenv\nBASE_TAG=${version}-base\nBuild_NN=0\n"
        f"HTTPS_PROXY=http://a:1\nhttp_proxy=http://a:2\nDAGSTER_HOME={tmp_path}\n"
    )
    environ = {"PREFIX": "environment", "Build_NN": "1", "TAG": "", "https_proxy": "http://b:1", "HOME": "/root"}
    monkeypatch.chdir(tmp_path)
    found = exported({"TAG": "flag"}, environ=environ)
    assert found == {
        "FATE_DIR": str(tmp_path / "fate"),
        "PREFIX": "environment",
        "TAG": "flag",
        "BASE_TAG": "${version}-base",
        "Build_NN": "1",
        # Programs take either case, so what the environment says in one .env can't change in the other.
        "https_proxy": "http://b:1",
        "http_proxy": "http://a:2",
        "DAGSTER_HOME": str(tmp_path),
    }
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load(environ=found, directory=elsewhere) == load({"TAG": "flag"}, environ=environ, directory=tmp_path)


def test_how_dockers_client_finds_its_engine_may_be_in_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DOCKER_HOST=tcp://h:2376\nDOCKER_TLS_VERIFY=1\nDOCKER_CERT_PATH=/tls\n")
    expected = {"DOCKER_HOST": "unix:///x", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/tls"}
    assert exported({}, environ={"DOCKER_HOST": "unix:///x"}, directory=tmp_path) == expected
    assert settings(tmp_path).warnings == ()
    (tmp_path / ".env").write_text("DOCKER_CERT_PATH=~/my certs\n")
    assert exported({}, environ={}, directory=tmp_path) == {"DOCKER_CERT_PATH": str(Path.home() / "my certs")}
    (tmp_path / ".env").write_text('DOCKER_HOST="a\x07b"\n')
    with pytest.raises(SettingsError, match=r"^DOCKER_HOST=.* must be one line"):
        settings(tmp_path)


def test_proxies_in_dotenv_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HTTP_PROXY='not a url $(x)'\n")
    with pytest.raises(SettingsError, match=r"^HTTP_PROXY='not a url \$\(x\)' \(\.env\): must be a URL"):
        settings(tmp_path)


def test_a_home_with_a_space_is_told_by_the_name_of_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    with pytest.raises(SettingsError, match=r"^FIMG_HOME='~/.local/state/fimg' \(default\): is /home/a b/.local"):
        settings(tmp_path)


def test_version_unknown_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TAG=\$\{version\}-release .*no line FATE="):
        settings(tmp_path, TAG="${version}-release", FATE_DIR=str(tmp_path))


def test_switches(tmp_path: Path) -> None:
    found = settings(tmp_path, Build_NN="0", Build_FUM="1")
    assert Feature.NN not in found.features and Feature.FUM in found.features


HOSTILE = ["a b", "../up", "-rf", "$(id)", "`id`", "a;b", "a|b", "a&b", "a\nb", "a\x00b", "x" * 5000, "'", '"']
#: Options have a grammar of their own, and logins may hold whatever fits on a line.
NAMES = [variable.name for variable in VARIABLES if variable.parse not in (build_options.options, choices.line)]


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "x" * 5000])
def test_a_login_is_one_line_and_a_password_is_never_shown(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, REGISTRY_USER=value, REGISTRY_PASSWORD=f"hush{value}")
    assert "REGISTRY_USER=" in str(caught.value) and "REGISTRY_PASSWORD=… (environment)" in str(caught.value)
    assert "hush" not in str(caught.value) and len(str(caught.value)) < 1000
    assert settings(tmp_path, REGISTRY_USER="robot$x", REGISTRY_PASSWORD="a;b`c` '\"").registry_user == "robot$x"


def test_a_password_may_not_come_where_others_read_it(tmp_path: Path) -> None:
    for half in ({"REGISTRY_USER": "me"}, {"REGISTRY_PASSWORD": "hush"}):
        with pytest.raises(SettingsError, match="a login is both, REGISTRY_USER and REGISTRY_PASSWORD") as caught:
            settings(tmp_path, **half)
        assert "hush" not in str(caught.value)
    with pytest.raises(SettingsError, match="REGISTRY_PASSWORD must not be given where others can read it"):
        load({"REGISTRY_PASSWORD": "hush"}, environ={}, directory=tmp_path)


@pytest.mark.parametrize("value", HOSTILE, ids=[repr(value[:9]) for value in HOSTILE])
@pytest.mark.parametrize("name", NAMES)
def test_hostile_values_are_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, **{name: value})
    assert f"{name}=" in str(caught.value)
    assert "\x00" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", ["yes", "true", "2", "01", "on", "O"])
def test_switches_take_0_and_1_only(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=r"Build_NN='.*' \(environment\): must be 0 or 1"):
        settings(tmp_path, Build_NN=value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, TAG="-", PREFIX="UPPER", Platform="riscv")
    assert all(f"{name}=" in str(caught.value) for name in ("TAG", "PREFIX", "Platform"))


def test_passwords_in_urls_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, PIP_INDEX_URL="https://user:hunter2@host/ simple")
    assert "hunter2" not in str(caught.value) and "***" in str(caught.value)


def test_the_state_folder_is_in_no_source(tmp_path: Path) -> None:
    for name in ("FATE_DIR", "IPCL_PKG_DIR"):
        with pytest.raises(SettingsError, match=rf"^FIMG_HOME=.*must not be in {name}="):
            settings(tmp_path, FIMG_HOME=str(tmp_path / "fate/c/state"), **{name: str(tmp_path / "fate")})
    assert settings(tmp_path, FIMG_HOME=str(tmp_path / "fate-state"), FATE_DIR=str(tmp_path / "fate"))


def test_what_is_misspelt_in_dotenv_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("tag=x\nFate_Dir=/y\nREFRESHAT=x\nFIMG_PORT=1\n")
    assert settings(tmp_path, tag="another program's", REFRESHAT="").warnings == (
        "Fate_Dir in .env is ignored: the variable is spelt FATE_DIR",
        "REFRESHAT in .env is ignored: is REFRESH_AT meant?",
        "tag in .env is ignored: the variable is spelt TAG",
    )


def test_misspelt_switches_are_pointed_out(tmp_path: Path) -> None:
    assert settings(tmp_path, BUILD_NN="0").warnings == (
        "BUILD_NN in environment is ignored: the variable is spelt Build_NN",
    )


def test_ca_bundle_falls_back_to_the_standard_variable(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    assert settings(tmp_path, SSL_CERT_FILE=str(bundle)).ca_bundle == bundle
    with pytest.raises(SettingsError, match=r"CA_BUNDLE=.*no such file"):
        settings(tmp_path, CA_BUNDLE=str(tmp_path / "absent.pem"))


def test_a_ca_bundle_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello\n")
    with pytest.raises(SettingsError, match=r"^CA_BUNDLE=.*no PEM certificate"):
        settings(tmp_path, CA_BUNDLE=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAGSTER_HOME", "relative"),
        ("DAGSTER_HOME", "/nonexistent"),
        ("DAGSTER_HOME", "~nosuchuser/x"),
        ("FIMG_HOME", "/tmp/a,b"),
        ("PYTHON_PREFIX", "/nonexistent/python"),
        ("PYTHON_PREFIX", "/etc"),
    ],
)
def test_what_docker_or_the_machine_would_refuse_later(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}="):
        settings(tmp_path, **{name: value})


@pytest.mark.parametrize("name", ["FIMG_HOME", "DAGSTER_HOME"])
@pytest.mark.parametrize("source", ["FATE_DIR", "IPCL_PKG_DIR"])
def test_nothing_is_kept_in_what_is_only_read(tmp_path: Path, name: str, source: str) -> None:
    inside = tmp_path / "checkout" / "below"
    inside.mkdir(parents=True)
    with pytest.raises(SettingsError, match=f"^{name}=.*must not be in {source}="):
        settings(tmp_path, **{name: str(inside), source: str(inside.parent)})


def test_an_empty_flag_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^TAG \(flag\) is empty"):
        load({"TAG": ""}, environ={}, directory=tmp_path)


def test_only_the_wrong_path_is_told_where_a_version_depends_on_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, FATE_DIR="../x", TAG="${version}-a", BASE_TAG="${version}-b")
    assert caught.value.message.startswith("FATE_DIR=") and "TAG" not in caught.value.message


def test_a_wrong_tag_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, TAG="-x")
    assert caught.value.message.count("must be a Docker tag") == 1


@pytest.mark.parametrize(
    ("mirrors", "expected"),
    [
        ({}, None),
        ({"APT_MIRROR": "https://mirror.example/debian"}, "https://mirror.example/debian-security"),
        ({"APT_MIRROR": "https://mirror.example/debian/"}, "https://mirror.example/debian-security"),
        ({"APT_MIRROR": "https://mirror.example/repository/apt"}, "http://deb.debian.org/debian-security"),
        (
            {"APT_MIRROR": "https://a.example/debian", "APT_SECURITY_MIRROR": "https://b.example/s"},
            "https://b.example/s",
        ),
        ({"APT_SECURITY_MIRROR": "https://b.example/s"}, "https://b.example/s"),
        ({"APT_MIRROR": "http://debian"}, "http://deb.debian.org/debian-security"),
    ],
)
def test_a_mirrors_security_updates_are_beside_its_debian(
    tmp_path: Path, mirrors: dict[str, str], expected: str | None
) -> None:
    found = load(mirrors, environ={}, directory=tmp_path)
    assert found.security_mirror == expected
    assert found.network_variables.get("APT_SECURITY_MIRROR") == expected


def test_bundles_are_never_written_into_what_is_only_read(tmp_path: Path) -> None:
    settings = load({"FATE_DIR": str(tmp_path / "fate"), "BUNDLE_DIR": str(tmp_path / "bundles")}, directory=tmp_path)
    assert settings.bundles() == tmp_path / "bundles"
    assert settings.bundles(str(tmp_path / "other")) == tmp_path / "other"
    with pytest.raises(SettingsError, match="must not be in FATE_DIR"):
        settings.bundles(str(tmp_path / "fate" / "bundles"))
    with pytest.raises(SettingsError, match="output"):
        settings.bundles("a b;c")


def test_each_platform_may_have_an_engine_of_its_own(tmp_path: Path) -> None:
    assert settings(tmp_path).engine_address is None and settings(tmp_path).engine_addresses == (None,)
    arm = {"DOCKER_HOST_ARM64": "ssh://build@arm.example:2222"}
    assert settings(tmp_path, Platform="arm64", **arm).engine_address == "ssh://build@arm.example:2222"
    assert settings(tmp_path, **arm).engine_address is None
    assert settings(tmp_path, **arm).engine_addresses == (None, "ssh://build@arm.example:2222")
