#!/bin/bash
# Configures FATE's commands for the server at FATE_FLOW_IP:FATE_FLOW_PORT, then serves notebooks. Jupyter asks for the
# token it writes to its log, or for JUPYTER_TOKEN if that is set.
set -eu

pipeline init --ip "$FATE_FLOW_IP" --port "$FATE_FLOW_PORT"
flow init --ip "$FATE_FLOW_IP" --port "$FATE_FLOW_PORT"
exec jupyter notebook --ip=0.0.0.0 --port=20000 --allow-root --no-browser --notebook-dir=/data/projects/fate
