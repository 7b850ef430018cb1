"""What is asked over networks: package registries, the registry images go to.

Packages are fetched by the engine's builds, which may be on another machine: what can't be had here may be had there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

from fimg_pipeline.doctor.findings import Finding, Verdict, told
from fimg_pipeline.settings import DEBIAN, DEBIAN_SECURITY, Settings
from fimg_pipeline.ship.destination import destination
from fimg_pipeline.values.masking import redacted

_PROXY: Final = "the proxy does not lead there"
_SECONDS: Final = 15
_PYPI: Final = "https://pypi.org/simple"
_NPM: Final = "https://registry.npmjs.org"
_MAVEN: Final = "https://repo1.maven.org/maven2"


def services(settings: Settings) -> Iterator[Finding]:
    """All of them at once."""
    places = {
        ("Debian", "APT_MIRROR"): f"{_folder(settings.apt_mirror or DEBIAN)}/dists/bookworm/InRelease",
        (
            "Debian's security updates",
            "APT_SECURITY_MIRROR",
        ): f"{_folder(settings.security_mirror or DEBIAN_SECURITY)}/dists/bookworm-security/InRelease",
        ("PyPI", "PIP_INDEX_URL"): f"{_folder(settings.pip_index_url or _PYPI)}/pip/",
        ("npm", "NPM_CONFIG_REGISTRY"): f"{_folder(settings.npm_registry or _NPM)}/npm",
        ("Maven", "MAVEN_MIRROR"): f"{_folder(settings.maven_mirror or _MAVEN)}/junit/junit/maven-metadata.xml",
    }
    with ThreadPoolExecutor(len(places)) as pool:
        problems = pool.map(lambda url: _problem(url, settings), places.values())
        for ((what, variable), url), problem in zip(places.items(), problems, strict=True):
            where = redacted(url)
            if problem is None:
                yield Finding(what, Verdict.OK, where)
            elif problem == _PROXY:
                yield Finding(what, Verdict.WARNING, f"{where}: {problem}", "mend HTTPS_PROXY, HTTP_PROXY or NO_PROXY")
            else:
                hint = f"if builds can't have it either, set {variable} to a mirror (docs/settings.md)"
                yield Finding(what, Verdict.WARNING, f"{where}: {problem}", hint)
    yield from _registry(settings)
    yield from _notifications(settings)


def _folder(url: str) -> str:
    return url.rstrip("/")


def _problem(url: str, settings: Settings) -> str | None:
    """Why something can't be had, as far as one may say it."""
    verify = True if settings.ca_bundle is None else str(settings.ca_bundle)
    try:
        with requests.get(url, timeout=_SECONDS, stream=True, verify=verify) as answer:
            return None if answer.ok else f"it answers with {answer.status_code}"
    except requests.exceptions.SSLError:
        return "its certificate is not trusted (CA_BUNDLE)"
    except requests.exceptions.ProxyError:
        return _PROXY
    except requests.exceptions.Timeout:
        return f"no answer within {_SECONDS} s"
    except (requests.exceptions.RequestException, ValueError):
        return "it can't be reached"


def _registry(settings: Settings) -> Iterator[Finding]:
    """The one that PREFIX names: only who pushes needs it."""

    def ask() -> str:
        place = destination(settings, lambda _: None)
        place.registry.answers(place.repository("fateflow"))
        who = f"{place.registry.user} is logged in" if place.registry.user else "nobody is logged in"
        return f"{place.registry.host} answers for PREFIX={settings.prefix}; {who}"

    pushes = "push" in settings.deliveries
    # Whoever has said who pushes means to.
    otherwise = Verdict.NOTE if settings.registry_user is None else Verdict.WARNING
    yield from told(f"registry{'' if pushes else ', for who pushes'}", ask, Verdict.WRONG if pushes else otherwise)


def _notifications(settings: Settings) -> Iterator[Finding]:
    """Whether the addresses are some that messages can be sent to. Nothing is sent, and none of them is shown."""
    if not settings.notify_urls:
        return
    import apprise  # takes a quarter of a second

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    wrong = [place + 1 for place, url in enumerate(settings.notify_urls) if not apprise.Apprise().add(url)]
    if wrong:
        which = ", ".join(map(str, wrong))
        hint = "its form is in Apprise's wiki: https://github.com/caronc/apprise/wiki"
        yield Finding("notifications", Verdict.WRONG, f"number {which} of NOTIFY_URLS is no address of a service", hint)
    else:
        yield Finding("notifications", Verdict.OK, f"{len(settings.notify_urls)} addresses that messages are sent to")
