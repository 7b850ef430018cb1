#!/bin/bash
# Runs the board beside this script in the foreground.
base=$(cd "$(dirname "$0")" && pwd)
if [ "$1" != starting ]; then
    echo "usage: $0 starting" >&2
    exit 2
fi
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" \
    "-Dspring.config.location=$base/conf/application.properties" "-Dssh_config_file=$base/ssh/" \
    -Xmx2048m -jar "$base/fateboard.jar"
