package com.webank.ai.fate.board.controller;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.webank.ai.fate.board.conf.BoardProperties;

import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** Says which board this is and which server it belongs to. */
public final class VersionController implements HttpHandler {
    private final BoardProperties properties;

    public VersionController(BoardProperties properties) {
        this.properties = properties;
    }

    @Override
    public void handle(HttpExchange exchange) throws IOException {
        String version = VersionController.class.getPackage().getImplementationVersion();
        String body = "{\"version\":\"" + version + "\",\"fateflow\":\"" + properties.fateFlowUrl() + "\"}\n";
        Responses.send(exchange, 200, "application/json", body.getBytes(StandardCharsets.UTF_8));
    }
}
