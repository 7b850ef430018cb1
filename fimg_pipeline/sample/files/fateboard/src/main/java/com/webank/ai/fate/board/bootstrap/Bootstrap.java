package com.webank.ai.fate.board.bootstrap;

import com.sun.net.httpserver.HttpServer;
import com.webank.ai.fate.board.conf.BoardProperties;
import com.webank.ai.fate.board.controller.StaticController;
import com.webank.ai.fate.board.controller.VersionController;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** Starts the board's HTTP server. */
public final class Bootstrap {
    private Bootstrap() {
    }

    public static void main(String[] args) {
        try {
            BoardProperties properties = BoardProperties.load(System.getProperty("spring.config.location"));
            HttpServer server = HttpServer.create(new InetSocketAddress(properties.port()), 0);
            server.createContext("/", new StaticController());
            server.createContext("/version", new VersionController(properties));
            server.setExecutor(Executors.newCachedThreadPool());
            server.start();
            System.out.println("FATE Board listens on port " + properties.port());
        } catch (IOException | IllegalArgumentException error) {
            System.err.println("FATE Board did not start: " + error.getMessage());
            System.exit(1);
        }
    }
}
