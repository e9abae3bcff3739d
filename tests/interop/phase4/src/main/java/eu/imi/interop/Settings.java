package eu.imi.interop;

import com.helger.phase4.crypto.AS4CryptoFactoryInMemoryKeyStore;
import com.helger.phase4.crypto.IAS4CryptoFactory;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Properties;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * The properties file of one run.
 *
 * <p>Both commands: {@code suite}; {@code password} and the PKCS#12 stores {@code sign.store}, {@code crypt.store} and
 * {@code tls.store} (one key each, alias {@code key}); the PEM certificates {@code sign.trust} (the authority of the
 * peer's signing certificate) and {@code tls.trust} (that of its TLS certificate).
 */
final class Settings {
    private static final String ALIAS = "key";

    private final Properties properties = new Properties();

    static Settings read(final Path file) throws IOException {
        final Settings settings = new Settings();
        try (InputStream source = Files.newInputStream(file)) {
            settings.properties.load(source);
        }
        return settings;
    }

    String get(final String name) {
        final String value = properties.getProperty(name);
        if (value == null) {
            throw new IllegalArgumentException("setting missing: " + name);
        }
        return value;
    }

    String get(final String name, final String otherwise) {
        return properties.getProperty(name, otherwise);
    }

    int number(final String name, final int otherwise) {
        return Integer.parseInt(get(name, Integer.toString(otherwise)));
    }

    boolean says(final String name, final boolean otherwise) {
        return Boolean.parseBoolean(get(name, Boolean.toString(otherwise)));
    }

    Suite suite() {
        return Suite.of(get("suite"));
    }

    X509Certificate certificate(final String name) throws IOException, GeneralSecurityException {
        try (InputStream source = Files.newInputStream(Path.of(get(name)))) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(source);
        }
    }

    IAS4CryptoFactory signing() throws IOException, GeneralSecurityException {
        return keys("sign.store");
    }

    IAS4CryptoFactory decryption() throws IOException, GeneralSecurityException {
        return keys("crypt.store");
    }

    /** TLS with our certificate, for peers whose certificate the named authority issued. */
    SSLContext tls() throws IOException, GeneralSecurityException {
        final KeyManagerFactory ours = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        ours.init(store("tls.store"), password());
        final TrustManagerFactory theirs = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        theirs.init(trusting("tls.trust"));
        final SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(ours.getKeyManagers(), theirs.getTrustManagers(), null);
        return context;
    }

    private IAS4CryptoFactory keys(final String name) throws IOException, GeneralSecurityException {
        return new AS4CryptoFactoryInMemoryKeyStore(store(name), ALIAS, password(), trusting("sign.trust"));
    }

    private char[] password() {
        return get("password").toCharArray();
    }

    private KeyStore store(final String name) throws IOException, GeneralSecurityException {
        final KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream source = Files.newInputStream(Path.of(get(name)))) {
            store.load(source, password());
        }
        return store;
    }

    private KeyStore trusting(final String name) throws IOException, GeneralSecurityException {
        final KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setCertificateEntry("authority", certificate(name));
        return store;
    }
}
