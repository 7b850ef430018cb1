package com.webank.eggroll.rollsite;

import com.webank.eggroll.core.Bootstrap;
import com.webank.eggroll.core.resourcemanager.DaemonBootstrap;

import java.util.Arrays;
import java.util.stream.Stream;

/** The door to the other parties; can be started by itself as well as by {@link Bootstrap}. */
public final class EggSiteBootstrap extends DaemonBootstrap {
    public EggSiteBootstrap() {
        super("rollsite", "eggroll.rollsite.port");
    }

    public static void main(String[] args) {
        Stream<String> self = Stream.of("--bootstraps", EggSiteBootstrap.class.getName());
        Bootstrap.main(Stream.concat(self, Arrays.stream(args)).toArray(String[]::new));
    }
}
