package com.webank.eggroll.core.util;

import org.apache.commons.cli.CommandLine;
import org.apache.commons.cli.DefaultParser;
import org.apache.commons.cli.HelpFormatter;
import org.apache.commons.cli.Options;
import org.apache.commons.cli.ParseException;

/** The options all daemons share. */
public final class CommandArgs {
    private static final Options OPTIONS = new Options()
            .addOption("b", "bootstraps", true, "classes to start, separated by commas")
            .addOption("c", "config", true, "configuration file")
            .addOption("p", "port", true, "port to listen on")
            .addOption("s", "session-id", true, "session to serve")
            .addOption("v", "version", false, "print the version")
            .addOption("h", "help", false, "print this text");

    private final CommandLine line;

    private CommandArgs(CommandLine line) {
        this.line = line;
    }

    public static CommandArgs parse(String[] args) {
        try {
            return new CommandArgs(new DefaultParser().parse(OPTIONS, args));
        } catch (ParseException error) {
            throw new IllegalArgumentException(error.getMessage(), error);
        }
    }

    public static void printUsage() {
        new HelpFormatter().printHelp("com.webank.eggroll.core.Bootstrap", OPTIONS);
    }

    public boolean has(String name) {
        return line.hasOption(name);
    }

    public String value(String name) {
        return line.getOptionValue(name);
    }
}
