package eu.imi.interop;

import java.nio.file.Path;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * An AS4 access point made of phase4, for interoperability tests and measurements.
 *
 * <pre>
 * java -cp ... eu.imi.interop.Main receive receive.properties
 * java -cp ... eu.imi.interop.Main send send.properties
 * </pre>
 *
 * What the properties mean is written at {@link Settings}, {@link Receiver} and {@link Sender}.
 */
public final class Main {
    /** Warns of every attachment of every message; kept here, as loggers are forgotten otherwise. */
    private static final Logger SIGNATURES = Logger.getLogger("org.apache.jcp.xml.dsig");

    private Main() {}

    public static void main(final String[] arguments) throws Exception {
        if (arguments.length != 2) {
            throw new IllegalArgumentException("usage: receive|send FILE.properties");
        }
        SIGNATURES.setLevel(Level.SEVERE);
        final Settings settings = Settings.read(Path.of(arguments[1]));
        switch (arguments[0]) {
            case "receive" -> new Receiver(settings).run();
            case "send" -> new Sender(settings).run();
            default -> throw new IllegalArgumentException("no such command: " + arguments[0]);
        }
        System.exit(0); // phase4 keeps threads of its own
    }
}
