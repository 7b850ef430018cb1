"""Starts the HTTP server."""

import argparse
import json

from werkzeug.serving import run_simple

from fate_arch.common.versions import get_versions
from fate_flow.apps import app
from fate_flow.settings import listen_address


def main() -> None:
    """``--version`` prints the versions, otherwise the server runs until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="store_true", help="print the versions and exit")
    if parser.parse_args().version:
        print(json.dumps(get_versions()))
        return
    address = listen_address()
    print(f"FATE Flow listens on {address.host}:{address.port}", flush=True)
    run_simple(hostname=address.host, port=address.port, application=app, threaded=True)


if __name__ == "__main__":
    main()
