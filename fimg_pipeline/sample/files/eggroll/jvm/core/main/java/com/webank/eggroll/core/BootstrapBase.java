package com.webank.eggroll.core;

/** A daemon that {@link Bootstrap} can start. */
public interface BootstrapBase {
    /** Reads the command line; refuses a wrong one with an {@link IllegalArgumentException}. */
    void init(String[] args);

    /** Starts to work and returns. */
    void start() throws Exception;
}
