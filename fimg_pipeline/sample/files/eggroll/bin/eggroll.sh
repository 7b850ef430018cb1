#!/bin/bash
# Runs one daemon of Eggroll in the foreground.
home=${EGGROLL_HOME:-$(cd "$(dirname "$0")/.." && pwd)}
package=com.webank.eggroll.core.resourcemanager
case $1 in
clustermanager) class=$package.ClusterManagerBootstrap ;;
nodemanager) class=$package.NodeManagerBootstrap ;;
rollsite) class=com.webank.eggroll.rollsite.EggSiteBootstrap ;;
*)
    echo "usage: $0 clustermanager|nodemanager|rollsite" >&2
    exit 2
    ;;
esac
cd "$home" || exit 1
exec java "-Dlog4j.configurationFile=$home/conf/log4j2.properties" -cp "$home/lib/*" \
    com.webank.eggroll.core.Bootstrap --bootstraps "$class" -c "$home/conf/eggroll.properties"
