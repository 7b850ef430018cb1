#!/bin/bash
# Runs a worker with the Python of the environment.
home=${EGGROLL_HOME:-$(cd "$(dirname "$0")/../.." && pwd)}
export PYTHONPATH="$home/python${PYTHONPATH:+:$PYTHONPATH}"
exec python "$home/python/eggroll/roll_pair/egg_pair.py" "$@"
