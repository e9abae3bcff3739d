package eu.imi.interop;

import com.helger.collection.commons.CommonsArrayList;
import com.helger.http.EHttpMethod;
import com.helger.phase4.crypto.IAS4CryptoFactory;
import com.helger.phase4.incoming.AS4IncomingProfileSelectorConstant;
import com.helger.phase4.incoming.AS4RequestHandler;
import com.helger.phase4.incoming.AS4ServerInitializer;
import com.helger.phase4.mgr.MetaAS4Manager;
import com.helger.phase4.model.pmode.IPMode;
import com.helger.phase4.profile.IAS4Profile;
import com.helger.phase4.servlet.AS4UnifiedResponse;
import com.helger.phase4.servlet.AS4XServletHandler;
import com.helger.phase4.servlet.IAS4ServletRequestHandlerCustomizer;
import com.helger.web.scope.IRequestWebScopeWithoutResponse;
import com.helger.web.scope.mgr.WebScopeManager;
import com.helger.xservlet.AbstractXServlet;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.SecureRequestCustomizer;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.ssl.SslContextFactory;
import org.eclipse.jetty.util.thread.QueuedThreadPool;

/**
 * phase4's servlet in Jetty: TLS 1.3 with a client certificate, on 127.0.0.1.
 *
 * <p>Settings besides the common ones: {@code port} (0: any free one), {@code path} (/as4), {@code folder} of
 * the {@link Inbox}, {@code store} (false: nothing is written), {@code failing}. Prints {@code ready PORT}. For a line {@code usage} on
 * standard input it prints {@code usage CPU-SECONDS COMPILING-SECONDS MESSAGES}; it ends with its standard input.
 */
final class Receiver {
    private static final int THREADS = 64;

    private final Settings settings;
    private final Inbox inbox;

    Receiver(final Settings settings) {
        this.settings = settings;
        final Path folder = settings.says("store", true) ? Path.of(settings.get("folder")) : null;
        this.inbox = new Inbox(folder, settings.number("failing", 0));
    }

    void run() throws Exception {
        final Server server = new Server(new QueuedThreadPool(THREADS));
        final ServerConnector connector = connector(server);
        server.addConnector(connector);
        final ServletContextHandler context = new ServletContextHandler("/");
        WebScopeManager.onGlobalBegin(context.getServletContext()); // phase4's managers live in it
        context.addServlet(new ServletHolder(new Servlet()), settings.get("path", "/as4"));
        server.setHandler(context);
        server.start();
        AS4ServerInitializer.initAS4Server();
        System.out.println("ready " + connector.getLocalPort());
        answerQuestions();
        server.stop();
    }

    private ServerConnector connector(final Server server) throws Exception {
        final SslContextFactory.Server tls = new SslContextFactory.Server();
        tls.setSslContext(settings.tls());
        tls.setIncludeProtocols("TLSv1.3");
        tls.setNeedClientAuth(true);
        final HttpConfiguration http = new HttpConfiguration();
        http.addCustomizer(new SecureRequestCustomizer(false)); // an address has no name to check
        final ServerConnector connector = new ServerConnector(server, tls, new HttpConnectionFactory(http));
        connector.setHost("127.0.0.1");
        connector.setPort(settings.number("port", 0));
        return connector;
    }

    private void answerQuestions() throws IOException {
        final BufferedReader questions =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        while (questions.readLine() != null) {
            final Usage used = Usage.now();
            System.out.printf(Locale.ROOT, "usage %.6f %.6f %d%n", used.cpu(), used.compiling(), inbox.taken());
        }
    }

    /** phase4's own servlet, but that its handler gets our keys, agreement and consumer. */
    private final class Servlet extends AbstractXServlet {
        private static final long serialVersionUID = 1L;

        Servlet() throws Exception {
            settings().setMultipartEnabled(false);
            final AS4XServletHandler handler = new AS4XServletHandler();
            handler.setRequestHandlerCustomizer(new Customizer());
            handlerRegistry().registerHandler(EHttpMethod.POST, handler);
        }
    }

    private final class Customizer implements IAS4ServletRequestHandlerCustomizer {
        private final IAS4CryptoFactory signing = settings.signing();
        private final IAS4CryptoFactory decryption = settings.decryption();
        private final String suite = settings.suite().id;
        private final Map<String, IPMode> agreements = new ConcurrentHashMap<>();

        Customizer() throws Exception {}

        @Override
        public void customizeBeforeHandling(
                final IRequestWebScopeWithoutResponse request,
                final AS4UnifiedResponse response,
                final AS4RequestHandler handler) {
            handler.setCryptoFactorySign(signing);
            handler.setCryptoFactoryCrypt(decryption);
            handler.setIncomingProfileSelector(new AS4IncomingProfileSelectorConstant(suite, true));
            handler.setPModeResolver((id, service, action, initiator, responder, agreement, address) ->
                    agreements.computeIfAbsent(initiator + " " + responder, key -> agreement(initiator, responder)));
            handler.setProcessorSupplier(() -> new CommonsArrayList<>(inbox));
        }

        @Override
        public void customizeAfterHandling(
                final IRequestWebScopeWithoutResponse request,
                final AS4UnifiedResponse response,
                final AS4RequestHandler handler) {
            // nothing
        }

        private IPMode agreement(final String initiator, final String responder) {
            final IAS4Profile profile = MetaAS4Manager.getProfileMgr().getProfileOfID(suite);
            return profile.createPModeTemplate(initiator, responder, null);
        }
    }
}
