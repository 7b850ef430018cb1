#!/bin/bash
# Runs Spark's master in the foreground; its log goes to standard output.
set -eu

mkdir -p "$SPARK_MASTER_LOG"
exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master \
    --host "${SPARK_MASTER_HOST:-$(hostname)}" \
    --port "$SPARK_MASTER_PORT" \
    --webui-port "$SPARK_MASTER_WEBUI_PORT" 2>&1
