"""The HTTP interface."""

from typing import Any, Dict

from fate_arch.common.versions import get_versions
from flask import Flask, jsonify, request
from flask.wrappers import Response

from fate_flow.settings import API_VERSION

app = Flask(__name__)


def answer(data: Any) -> Response:
    """The envelope of every answer."""
    body: Dict[str, Any] = {"retcode": 0, "retmsg": "success", "data": data}
    return jsonify(body)


@app.route(f"/{API_VERSION}/version/get", methods=["GET", "POST"])
def version() -> Response:
    """All versions, or the one of the module asked for."""
    versions = get_versions()
    module = (request.get_json(silent=True) or {}).get("module")
    return answer({module: versions.get(module)} if module else versions)
