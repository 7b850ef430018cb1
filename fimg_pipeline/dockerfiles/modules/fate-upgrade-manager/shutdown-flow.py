#!/usr/bin/env python3
"""Stops FATE Flow in a Kubernetes namespace: scales it to 0 and waits until its pods are gone.

Runs in a pod whose service account may get and scale deployments and stateful sets and list pods.
"""

import argparse
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KINDS = ("deployments", "statefulsets")
# What KubeFATE's charts call the workload: the first name in older ones, the second in newer ones.
NAMES = ("python", "fateflow")


class ShutdownError(Exception):
    """Something the user is told without a traceback."""


class Cluster:
    """The few requests to the Kubernetes API that are needed."""

    def __init__(self, url: str, token: str, trust: Optional[ssl.SSLContext]) -> None:
        self._url = url
        self._token = token
        self._trust = trust

    @classmethod
    def of_this_pod(cls) -> "Cluster":
        """The cluster this pod runs in, with the rights of its service account."""
        host = os.environ.get("KUBERNETES_SERVICE_HOST")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ShutdownError("this is not a pod of a Kubernetes cluster: KUBERNETES_SERVICE_HOST is not set")
        try:
            token = (ACCOUNT / "token").read_text(encoding="ascii").strip()
            trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        except OSError as error:
            raise ShutdownError(f"the pod has no service account: {error}") from error
        address = f"[{host}]" if ":" in host else host
        return cls(f"https://{address}:{port}", token, trust)

    def request(self, method: str, path: str, body: Optional[Dict[str, Any]] = None) -> Optional[Dict[str, Any]]:
        """The answer to a request; None when there is no such object."""
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/json",
                "Content-Type": "application/merge-patch+json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._trust) as response:
                answer: Dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise ShutdownError(f"{method} {path}: {error.code} {_message(error)}") from error
        except (OSError, ValueError) as error:
            raise ShutdownError(f"the Kubernetes API at {self._url}: {error}") from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def shutdown(cluster: Cluster, namespace: str, timeout: float, pause: float = 2.0) -> None:
    """Scales FATE Flow to 0 and returns when none of its pods is left."""
    selectors: List[str] = []
    for kind in KINDS:
        for name in NAMES:
            path = f"/apis/apps/v1/namespaces/{urllib.parse.quote(namespace, safe='')}/{kind}/{name}"
            workload = cluster.request("GET", path)
            if workload is None:
                continue
            if cluster.request("PATCH", f"{path}/scale", {"spec": {"replicas": 0}}) is None:
                raise ShutdownError(f"{kind[:-1]} {name} went away while it was being stopped")
            print(f"{kind[:-1]} {name}: scaled to 0", flush=True)
            labels = workload["spec"]["selector"].get("matchLabels", {})
            selectors.append(",".join(f"{key}={value}" for key, value in sorted(labels.items())))
    if not selectors:
        raise ShutdownError(f"namespace {namespace} has no deployment or stateful set named {' or '.join(NAMES)}")

    end = time.monotonic() + timeout
    while True:
        left = [pod for selector in selectors for pod in _pods(cluster, namespace, selector)]
        if not left:
            print("FATE Flow is stopped.")
            return
        if time.monotonic() > end:
            raise ShutdownError(f"still there after {timeout:.0f} s: {', '.join(left)}")
        time.sleep(pause)


def _pods(cluster: Cluster, namespace: str, selector: str) -> List[str]:
    query = urllib.parse.urlencode({"labelSelector": selector})
    answer = cluster.request("GET", f"/api/v1/namespaces/{urllib.parse.quote(namespace, safe='')}/pods?{query}")
    return [pod["metadata"]["name"] for pod in (answer or {}).get("items", [])]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command: 0 when FATE Flow is stopped, 1 when it is not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespace", metavar="NAMESPACE", help="namespace of the deployment")
    parser.add_argument("--timeout", type=float, default=300, help="seconds to wait for the pods (300)")
    options = parser.parse_args(arguments)
    try:
        shutdown(Cluster.of_this_pod(), options.namespace, options.timeout)
    except ShutdownError as error:
        print(f"shutdown-flow: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
