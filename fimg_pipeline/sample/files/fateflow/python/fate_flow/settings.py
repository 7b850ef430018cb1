"""Where the server listens."""

from typing import NamedTuple

from fate_arch.common.conf_utils import get_service_conf

API_VERSION = "v1"


class Address(NamedTuple):
    """Host and HTTP port."""

    host: str
    port: int


def listen_address() -> Address:
    """``fateflow.host`` and ``http_port`` of the service configuration; every interface when it names none."""
    section = get_service_conf().get("fateflow") or {}
    return Address(section.get("host") or "0.0.0.0", int(section.get("http_port") or 9380))
