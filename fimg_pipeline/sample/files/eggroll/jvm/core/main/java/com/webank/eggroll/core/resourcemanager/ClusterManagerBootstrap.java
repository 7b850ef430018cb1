package com.webank.eggroll.core.resourcemanager;

/** Knows the nodes of the cluster. */
public final class ClusterManagerBootstrap extends DaemonBootstrap {
    public ClusterManagerBootstrap() {
        super("clustermanager", "eggroll.resourcemanager.clustermanager.port");
    }
}
