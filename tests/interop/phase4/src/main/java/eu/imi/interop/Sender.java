package eu.imi.interop;

import com.helger.http.header.HttpHeaderMap;
import com.helger.json.JsonObject;
import com.helger.mime.parse.MimeTypeParser;
import com.helger.phase4.CAS4;
import com.helger.phase4.attachment.EAS4CompressionMode;
import com.helger.phase4.attachment.WSS4JAttachment;
import com.helger.phase4.client.AS4ClientBuiltMessage;
import com.helger.phase4.client.AS4ClientUserMessage;
import com.helger.phase4.crypto.ECryptoKeyIdentifierType;
import com.helger.phase4.crypto.IAS4CryptoFactory;
import com.helger.phase4.model.MessageProperty;
import com.helger.phase4.util.AS4ResourceHelper;
import com.helger.scope.mgr.ScopeManager;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.hc.client5.http.classic.methods.HttpPost;
import org.apache.hc.client5.http.config.ConnectionConfig;
import org.apache.hc.client5.http.config.RequestConfig;
import org.apache.hc.client5.http.config.TlsConfig;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.DefaultClientTlsStrategy;
import org.apache.hc.core5.http.HttpHeaders;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.ssl.TLS;
import org.apache.hc.core5.util.Timeout;
import org.apache.wss4j.dom.engine.WSSConfig;

/**
 * Builds messages with phase4, posts them over kept connections and judges each answer with {@link Receipts}.
 *
 * <p>phase4's own poster opens a connection for every message; that is not what is measured here.
 *
 * <p>Settings besides the common ones: {@code url}; {@code peer.sign} and {@code peer.encrypt}, the peer's certificates
 * in PEM; {@code from}, {@code to}, {@code party.type}, {@code service}, {@code action}, {@code conversation},
 * {@code domain} of message ids; {@code count} messages, {@code flight} at once; payloads {@code part.1} (a file),
 * {@code part.1.type}, {@code part.1.compressed} (true), {@code part.1.charset}, then {@code part.2} ...;
 * {@code reference} (bst, ski-key-id, issuer-serial) to the encryption certificate; {@code repeat}: how often the same
 * bytes are posted; {@code tamper}: the last octet of the last part is changed.
 *
 * <p>Prints a JSON line for each post. With {@code warm} (seconds of sending before), prints {@code measuring} when the
 * warm-up is over, and one JSON line at the end with what {@code count} messages took.
 */
final class Sender {
    private static final Timeout PATIENCE = Timeout.ofSeconds(60);

    private final Settings settings;
    private final Suite suite;
    private final Receipts receipts;
    private final IAS4CryptoFactory signing;
    private final IAS4CryptoFactory encryption;
    private final X509Certificate recipient;
    private final List<Part> parts = new ArrayList<>();

    private record Part(byte[] content, String type, boolean compressed, Charset charset) {}

    private record Answer(int status, byte[] body) {}

    Sender(final Settings settings) throws IOException, GeneralSecurityException {
        this.settings = settings;
        suite = settings.suite();
        ScopeManager.onGlobalBegin("interop"); // phase4's managers live in it
        WSSConfig.init();
        receipts = new Receipts(suite, settings.certificate("peer.sign"));
        signing = settings.signing();
        encryption = settings.decryption();
        recipient = settings.certificate("peer.encrypt");
        for (int number = 1; !settings.get("part." + number, "").isEmpty(); number++) {
            final String name = "part." + number;
            final String charset = settings.get(name + ".charset", "");
            parts.add(new Part(
                    Files.readAllBytes(Path.of(settings.get(name))),
                    settings.get(name + ".type"),
                    settings.says(name + ".compressed", true),
                    charset.isEmpty() ? null : Charset.forName(charset)));
        }
    }

    void run() throws Exception {
        final int count = settings.number("count", 1);
        final int warm = settings.number("warm", 0);
        try (CloseableHttpClient http = client()) {
            if (warm == 0) {
                final AtomicInteger left = new AtomicInteger(count);
                inFlight(() -> left.getAndDecrement() > 0, () -> exchange(http, true));
            } else {
                measure(http, warm, count);
            }
        }
    }

    private void measure(final CloseableHttpClient http, final int warm, final int count) throws Exception {
        final long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(warm);
        final Queue<Receipts.Verdict> failures = new ConcurrentLinkedQueue<>();
        final Callable<?> once = () -> {
            final Receipts.Verdict verdict = exchange(http, false);
            return verdict.isReceipt() || failures.add(verdict);
        };
        inFlight(() -> System.nanoTime() < until, once);
        failures.clear();
        System.out.println("measuring");
        final AtomicInteger left = new AtomicInteger(count);
        final Usage began = Usage.now();
        inFlight(() -> left.getAndDecrement() > 0, once);
        final Usage used = Usage.now().since(began);
        final JsonObject summary = new JsonObject();
        summary.add("messages", count);
        summary.add("failures", failures.size());
        summary.add("failure", failures.isEmpty() ? "" : failures.peek().toString());
        summary.add("wall", used.wall());
        summary.add("cpu", used.cpu());
        summary.add("compiling", used.compiling());
        System.out.println(summary.getAsJsonString());
    }

    /** Do `work` in as many threads as messages may be in flight, as long as there is `more`. */
    private void inFlight(final BooleanSupplier more, final Callable<?> work) throws Exception {
        final int threads = settings.number("flight", 1);
        final ExecutorService pool = Executors.newFixedThreadPool(threads);
        final List<Future<?>> done = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            done.add(pool.submit(() -> {
                while (more.getAsBoolean()) {
                    work.call();
                }
                return null;
            }));
        }
        for (final Future<?> one : done) {
            one.get();
        }
        pool.shutdown();
    }

    /** One message, from its building to the verdict on its receipt (the last, if it is posted again). */
    private Receipts.Verdict exchange(final CloseableHttpClient http, final boolean report) throws Exception {
        final String id = UUID.randomUUID() + "@" + settings.get("domain");
        Receipts.Verdict verdict = null;
        try (AS4ResourceHelper resources = new AS4ResourceHelper()) {
            final AS4ClientBuiltMessage built = build(resources, id);
            final byte[] body = octets(built);
            for (int time = 0; time < settings.number("repeat", 1); time++) {
                final Answer answer = post(http, built, body);
                verdict = receipts.judge(answer.body(), id, built.getAllDSReferences());
                if (report) {
                    print(id, answer, verdict);
                }
            }
        }
        return verdict;
    }

    private AS4ClientBuiltMessage build(final AS4ResourceHelper resources, final String id) throws Exception {
        final AS4ClientUserMessage message = new AS4ClientUserMessage(resources);
        suite.applyTo(message);
        message.cryptParams().setCertificate(recipient);
        message.cryptParams()
                .setKeyIdentifierType(ECryptoKeyIdentifierType.getFromIDOrNull(settings.get("reference", "bst")));
        message.setCryptoFactorySign(signing).setCryptoFactoryCrypt(encryption);
        message.setFromPartyIDType(settings.get("party.type")).setFromPartyID(settings.get("from"));
        message.setToPartyIDType(settings.get("party.type")).setToPartyID(settings.get("to"));
        message.setFromRole(CAS4.DEFAULT_INITIATOR_URL).setToRole(CAS4.DEFAULT_RESPONDER_URL);
        message.setServiceValue(settings.get("service", Profiles.SERVICE));
        message.setAction(settings.get("action", Profiles.ACTION));
        message.setConversationID(settings.get("conversation"));
        message.setPModeIDFactory(unused -> null);
        property(message, CAS4.ORIGINAL_SENDER, "from");
        property(message, CAS4.FINAL_RECIPIENT, "to");
        for (final Part part : parts) {
            message.addAttachment(WSS4JAttachment.createOutgoingFileAttachment(
                    part.content(),
                    "part-" + UUID.randomUUID() + "@" + settings.get("domain"),
                    null,
                    MimeTypeParser.parseMimeType(part.type()),
                    part.compressed() ? EAS4CompressionMode.GZIP : null,
                    part.charset(),
                    resources));
        }
        return message.buildMessage(id, null);
    }

    private void property(final AS4ClientUserMessage message, final String name, final String setting) {
        final String value = settings.get(setting);
        message.ebms3Properties().add(MessageProperty.builder().name(name).value(value).build().getAsEbms3Property());
    }

    private byte[] octets(final AS4ClientBuiltMessage built) throws IOException {
        final ByteArrayOutputStream target = new ByteArrayOutputStream();
        built.getHttpEntity().writeTo(target);
        final byte[] octets = target.toByteArray();
        if (settings.says("tamper", false)) {
            final String text = new String(octets, StandardCharsets.ISO_8859_1);
            octets[text.lastIndexOf("\r\n--") - 1] ^= 1;
        }
        return octets;
    }

    private Answer post(final CloseableHttpClient http, final AS4ClientBuiltMessage built, final byte[] body)
            throws IOException {
        final HttpPost post = new HttpPost(settings.get("url"));
        final HttpHeaderMap headers = built.getAllCustomHttpHeaders();
        if (headers != null) {
            headers.forEachSingleHeader(post::addHeader, true, false);
        }
        if (!post.containsHeader(HttpHeaders.CONTENT_TYPE)) {
            post.addHeader(HttpHeaders.CONTENT_TYPE, built.getHttpEntity().getContentType());
        }
        post.setEntity(new ByteArrayEntity(body, null));
        return http.execute(post, response -> {
            final byte[] answer = response.getEntity() == null ? null : EntityUtils.toByteArray(response.getEntity());
            return new Answer(response.getCode(), answer == null ? new byte[0] : answer);
        });
    }

    private CloseableHttpClient client() throws IOException, GeneralSecurityException {
        final int connections = settings.number("flight", 1);
        return HttpClients.custom()
                .setConnectionManager(PoolingHttpClientConnectionManagerBuilder.create()
                        .setTlsSocketStrategy(new DefaultClientTlsStrategy(settings.tls()))
                        .setDefaultTlsConfig(TlsConfig.custom().setSupportedProtocols(TLS.V_1_3).build())
                        .setDefaultConnectionConfig(ConnectionConfig.custom()
                                .setConnectTimeout(PATIENCE)
                                .setSocketTimeout(PATIENCE)
                                .build())
                        .setMaxConnTotal(connections)
                        .setMaxConnPerRoute(connections)
                        .build())
                .setDefaultRequestConfig(RequestConfig.custom().setResponseTimeout(PATIENCE).build())
                .disableAutomaticRetries()
                .disableCookieManagement()
                .build();
    }

    private static synchronized void print(final String id, final Answer answer, final Receipts.Verdict verdict) {
        final JsonObject line = new JsonObject();
        line.add("message_id", id);
        line.add("status", answer.status());
        line.add("outcome", verdict.outcome());
        line.add("code", verdict.code());
        line.add("detail", verdict.detail());
        System.out.println(line.getAsJsonString());
    }
}
