#!/bin/bash
# Runs a Spark worker in the foreground; its log goes to standard output.
set -eu

mkdir -p "$SPARK_WORKER_LOG"
exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \
    --webui-port "$SPARK_WORKER_WEBUI_PORT" "$SPARK_MASTER" 2>&1
