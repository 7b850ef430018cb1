#!/bin/bash
# Where the services of this checkout find each other; sourced by their start scripts.
fate_project_base=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export FATE_PROJECT_BASE=${FATE_PROJECT_BASE:-$fate_project_base}
export EGGROLL_HOME=${EGGROLL_HOME:-$FATE_PROJECT_BASE/eggroll}
export PYTHONPATH=$FATE_PROJECT_BASE:$FATE_PROJECT_BASE/python:$FATE_PROJECT_BASE/fateflow/python:$EGGROLL_HOME/python
if [ -z "$JAVA_HOME" ] && command -v java >/dev/null; then
    JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
    export JAVA_HOME
fi
