package com.webank.ai.fate.board.conf;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Properties;

/** The board's application.properties: the packed one, overridden by the file of the installation. */
public final class BoardProperties {
    private static final String PACKED = "/application.properties";
    private final Properties values;

    private BoardProperties(Properties values) {
        this.values = values;
    }

    /** Reads the packed file and then the one at {@code location}, when one is named. */
    public static BoardProperties load(String location) throws IOException {
        Properties values = new Properties();
        try (InputStream packed = BoardProperties.class.getResourceAsStream(PACKED)) {
            values.load(packed);
        }
        if (location != null) {
            Path file = Paths.get(location.replaceFirst("^(optional:)?(file:)?", ""));
            if (!Files.isReadable(file)) {
                throw new IllegalArgumentException("cannot read " + file + " (spring.config.location)");
            }
            try (InputStream own = Files.newInputStream(file)) {
                values.load(own);
            }
        }
        return new BoardProperties(values);
    }

    public int port() {
        String text = values.getProperty("server.port").trim();
        try {
            return Integer.parseInt(text);
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException("server.port is not a number: " + text);
        }
    }

    public String fateFlowUrl() {
        return values.getProperty("fateflow.url", "").trim();
    }
}
