#!/bin/bash
# Packs what an installation needs: the jars and their dependencies, scripts, configuration, Python.
set -e
cd "$(dirname "$0")/.."
(cd jvm && mvn -DskipTests package -pl core,roll_pair,roll_site -am)
mkdir -p lib
for module in core roll_pair roll_site; do
    cp jvm/$module/target/eggroll-*.jar jvm/$module/target/lib/* lib/
done
cp jvm/core/main/resources/create-eggroll-meta-tables.sql conf/
tar -czf eggroll.tar.gz lib bin conf data python deploy
