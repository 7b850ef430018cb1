#!/bin/bash
# Runs the server in the foreground, in the environment of the checkout around it.
set -e
base=$(cd "$(dirname "$0")/../.." && pwd)
. "$base/bin/init_env.sh"
exec python "$base/fateflow/python/fate_flow/fate_flow_server.py" "$@"
