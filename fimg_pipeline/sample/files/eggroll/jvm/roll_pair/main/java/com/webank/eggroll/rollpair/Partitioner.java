package com.webank.eggroll.rollpair;

import java.util.Arrays;

/** Decides which partition of a table a key belongs to. */
public final class Partitioner {
    private final int partitions;

    public Partitioner(int partitions) {
        if (partitions < 1) {
            throw new IllegalArgumentException("a table has at least one partition, not " + partitions);
        }
        this.partitions = partitions;
    }

    public int partitionOf(byte[] key) {
        return Math.floorMod(Arrays.hashCode(key), partitions);
    }
}
