package com.webank.ai.fate.board.controller;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

/** Serves the front end packed into the jar. */
public final class StaticController implements HttpHandler {
    private static final String ROOT = "/static";

    @Override
    public void handle(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().normalize().getPath();
        String name = path.endsWith("/") ? path + "index.html" : path;
        String type = contentType(name);
        try (InputStream file = StaticController.class.getResourceAsStream(ROOT + name)) {
            if (file == null || type == null || name.contains("..")) {
                Responses.send(exchange, 404, "text/plain", "not found\n".getBytes(StandardCharsets.UTF_8));
            } else {
                Responses.send(exchange, 200, type, readAll(file));
            }
        }
    }

    /** The type of what the front end's build makes; null for anything else, folders among it. */
    private static String contentType(String name) {
        if (name.endsWith(".html")) {
            return "text/html; charset=utf-8";
        }
        if (name.endsWith(".js")) {
            return "application/javascript";
        }
        return name.endsWith(".css") ? "text/css" : null;
    }

    private static byte[] readAll(InputStream file) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        byte[] buffer = new byte[8192];
        for (int count = file.read(buffer); count >= 0; count = file.read(buffer)) {
            bytes.write(buffer, 0, count);
        }
        return bytes.toByteArray();
    }
}
