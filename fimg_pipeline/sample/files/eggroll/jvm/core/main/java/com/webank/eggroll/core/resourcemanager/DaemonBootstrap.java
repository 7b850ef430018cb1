package com.webank.eggroll.core.resourcemanager;

import com.webank.eggroll.core.Bootstrap;
import com.webank.eggroll.core.BootstrapBase;
import com.webank.eggroll.core.util.CommandArgs;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;

import java.io.IOException;
import java.io.InputStream;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Properties;

/** A daemon that listens on its port and tells every caller who it is. */
public abstract class DaemonBootstrap implements BootstrapBase {
    private static final Logger LOGGER = LogManager.getLogger(DaemonBootstrap.class);
    private final String role;
    private final String portKey;
    private int port;

    protected DaemonBootstrap(String role, String portKey) {
        this.role = role;
        this.portKey = portKey;
    }

    @Override
    public void init(String[] args) {
        CommandArgs arguments = CommandArgs.parse(args);
        String config = arguments.value("config");
        Properties properties = read(Paths.get(config == null ? "conf/eggroll.properties" : config));
        String text = arguments.has("port") ? arguments.value("port") : properties.getProperty(portKey);
        try {
            port = Integer.parseInt(text);
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException(role + ": no valid port: give -p or set " + portKey, error);
        }
    }

    @Override
    public void start() throws IOException {
        ServerSocket server = new ServerSocket(port);
        new Thread(() -> serve(server), role).start();
        String message = "eggroll " + role + " " + Bootstrap.version() + " listens on port " + port;
        LOGGER.info(message);
        System.out.println(message);
    }

    private void serve(ServerSocket server) {
        byte[] greeting = ("eggroll " + role + " " + Bootstrap.version() + "\n").getBytes(StandardCharsets.UTF_8);
        while (true) {
            try (Socket caller = server.accept()) {
                caller.getOutputStream().write(greeting);
            } catch (IOException error) {
                LOGGER.warn("a caller was lost: {}", error.getMessage());
            }
        }
    }

    private static Properties read(Path file) {
        Properties properties = new Properties();
        try (InputStream stream = Files.newInputStream(file)) {
            properties.load(stream);
        } catch (IOException error) {
            throw new IllegalArgumentException("cannot read the configuration " + file, error);
        }
        return properties;
    }
}
