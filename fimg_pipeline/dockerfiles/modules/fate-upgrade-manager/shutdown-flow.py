#!/usr/bin/env python3
"""Stops FATE Flow in a Kubernetes namespace: scales it to 0 and waits until that is done.

Runs in a pod whose service account may get and patch deployments and stateful sets: KubeFATE's chart grants no more,
neither their scale nor a look at pods.
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
# Seconds that Kubernetes gives pods to end where they say nothing else.
GRACE = 30


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
    """Scales FATE Flow to 0 and returns when none of it is left."""
    stopping: List[str] = []
    grace = 0.0
    for kind in KINDS:
        for name in NAMES:
            path = f"/apis/apps/v1/namespaces/{urllib.parse.quote(namespace, safe='')}/{kind}/{name}"
            workload = cluster.request("PATCH", path, {"spec": {"replicas": 0}})
            if workload is not None:
                print(f"{kind[:-1]} {name}: scaled to 0", flush=True)
                stopping.append(path)
                if kind == "deployments":
                    # It does not count pods that are about to end, and they can't be asked for.
                    pods = workload["spec"]["template"]["spec"]
                    grace = max(grace, float(pods.get("terminationGracePeriodSeconds", GRACE)))
    if not stopping:
        raise ShutdownError(f"namespace {namespace} has no deployment or stateful set named {' or '.join(NAMES)}")

    end = time.monotonic() + timeout
    while True:
        stopping = [path for path in stopping if _is_there(cluster.request("GET", path))]
        if not stopping:
            if grace:
                print(f"Its pods have {grace:.0f} s to end.", flush=True)
                time.sleep(grace)
            print("FATE Flow is stopped.")
            return
        if time.monotonic() > end:
            left = ", ".join(path.rpartition("/")[2] for path in stopping)
            raise ShutdownError(f"still there after {timeout:.0f} s: {left}")
        time.sleep(pause)


def _is_there(workload: Optional[Dict[str, Any]]) -> bool:
    """Whether a workload counts pods of its own, or its controller has not seen yet what it was told."""
    if workload is None:
        return False
    status = workload.get("status", {})
    seen = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    return not seen or status.get("replicas", 0) > 0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command: 0 when FATE Flow is stopped, 1 when it is not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespace", metavar="NAMESPACE", help="namespace of the deployment")
    parser.add_argument("--timeout", type=float, default=300, help="seconds to wait for its end (300)")
    options = parser.parse_args(arguments)
    try:
        shutdown(Cluster.of_this_pod(), options.namespace, options.timeout)
    except ShutdownError as error:
        print(f"shutdown-flow: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
