package com.webank.eggroll.core.resourcemanager;

/** Starts the workers of a node. */
public final class NodeManagerBootstrap extends DaemonBootstrap {
    public NodeManagerBootstrap() {
        super("nodemanager", "eggroll.resourcemanager.nodemanager.port");
    }
}
