package com.webank.eggroll.core;

import com.webank.eggroll.core.util.CommandArgs;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;

/** The entry point of every daemon: starts the classes named by --bootstraps in this process. */
public final class Bootstrap {
    private static final Logger LOGGER = LogManager.getLogger(Bootstrap.class);

    private Bootstrap() {
    }

    public static void main(String[] args) {
        try {
            CommandArgs arguments = CommandArgs.parse(args);
            if (arguments.has("version")) {
                System.out.println("eggroll " + version());
            } else if (arguments.value("bootstraps") == null) {
                CommandArgs.printUsage();
                System.exit(arguments.has("help") ? 0 : 2);
            } else {
                for (String name : arguments.value("bootstraps").split(",")) {
                    run(name.trim(), args);
                }
            }
        } catch (Exception error) {
            LOGGER.debug("start failed", error);
            System.err.println("eggroll did not start: " + error.getMessage());
            System.exit(1);
        }
    }

    /** Starts one daemon. */
    public static void run(String className, String[] args) throws Exception {
        BootstrapBase daemon;
        try {
            daemon = (BootstrapBase) Class.forName(className).getDeclaredConstructor().newInstance();
        } catch (ClassNotFoundException | ClassCastException error) {
            throw new IllegalArgumentException(className + " is no daemon of Eggroll", error);
        }
        daemon.init(args);
        daemon.start();
    }

    /** This build's version, as the jar's manifest says. */
    public static String version() {
        String version = Bootstrap.class.getPackage().getImplementationVersion();
        return version == null ? "unknown" : version;
    }
}
