#!/bin/bash
# Runs `namenode` or `datanode`.
set -eu

hdfs() { java -cp '/hdfs:/hdfs/lib/*' "org.apache.hadoop.hdfs.server.$1" "${@:2}"; }

case "$1" in
    namenode) hdfs namenode.NameNode -format -nonInteractive && hdfs namenode.NameNode ;;
    datanode) hdfs datanode.DataNode ;;
    *) echo "namenode or datanode, not $1" >&2; exit 64 ;;
esac
