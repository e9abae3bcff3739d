package eu.imi.interop;

import com.helger.xsds.xmldsig.ReferenceType;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.xml.parsers.DocumentBuilder;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.apache.xml.security.exceptions.XMLSecurityException;
import org.apache.xml.security.signature.Reference;
import org.apache.xml.security.signature.SignedInfo;
import org.apache.xml.security.signature.XMLSignature;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.xml.sax.SAXException;

/**
 * A strict judge of answers, independent of phase4's client, which takes an unsigned receipt, a receipt for another
 * message and one with other digests for success.
 */
final class Receipts {
    private static final String SOAP = "http://www.w3.org/2003/05/soap-envelope";
    private static final String EB = "http://docs.oasis-open.org/ebxml-msg/ebms/v3.0/ns/core/200704/";
    private static final String EBBP = "http://docs.oasis-open.org/ebxml-bp/ebbp-signals-2.0";
    private static final String WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-";
    private static final String WSSE = WSS + "secext-1.0.xsd";
    private static final String WSU = WSS + "utility-1.0.xsd";
    private static final String DS = "http://www.w3.org/2000/09/xmldsig#";
    private static final String EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";
    private static final String SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256";

    private final Suite suite;
    private final X509Certificate peer;

    /** @param peer the one certificate that signs the peer's receipts */
    Receipts(final Suite suite, final X509Certificate peer) {
        this.suite = suite;
        this.peer = peer;
    }

    /** What an answer turned out to be. {@code outcome}: receipt, error, bad-receipt or no-signal. */
    record Verdict(String outcome, String code, String detail) {
        boolean isReceipt() {
            return "receipt".equals(outcome);
        }
    }

    /** An answer that is not what it should be. */
    private static final class Unacceptable extends Exception {
        private static final long serialVersionUID = 1L;

        Unacceptable(final String message) {
            super(message);
        }
    }

    Verdict judge(final byte[] answer, final String messageId, final List<ReferenceType> sent) {
        final Document document;
        final Element signal;
        try {
            document = parse(answer);
            signal = only(messaging(document), EB, "SignalMessage");
            for (final Element error : children(signal, EB, "Error")) {
                final String text = error.getAttribute("shortDescription") + ": " + error.getTextContent().strip();
                return new Verdict("error", error.getAttribute("errorCode"), text);
            }
        } catch (final Unacceptable | SAXException | IOException | ParserConfigurationException fault) {
            return new Verdict("no-signal", "", String.valueOf(fault.getMessage()));
        }
        try {
            checkSignature(document);
            final Element receipt = only(signal, EB, "Receipt");
            final Element about = only(only(signal, EB, "MessageInfo"), EB, "RefToMessageId");
            demand(about.getTextContent().equals(messageId), "it is for another message");
            demand(digests(receipt).equals(digests(sent)), "its digests are not those of the message");
            return new Verdict("receipt", "", "");
        } catch (final Unacceptable | XMLSecurityException | IllegalArgumentException fault) {
            return new Verdict("bad-receipt", "", String.valueOf(fault.getMessage()));
        }
    }

    private static Document parse(final byte[] answer)
            throws ParserConfigurationException, SAXException, IOException {
        final DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
        final DocumentBuilder builder = factory.newDocumentBuilder();
        builder.setErrorHandler(null);
        return builder.parse(new ByteArrayInputStream(answer));
    }

    private static Element messaging(final Document document) throws Unacceptable {
        return only(only(document.getDocumentElement(), SOAP, "Header"), EB, "Messaging");
    }

    /** Signed by the peer's certificate with the suite's algorithm, over eb:Messaging and the SOAP body, no less. */
    private void checkSignature(final Document document) throws Unacceptable, XMLSecurityException {
        markIds(document.getDocumentElement(), new HashSet<>());
        final Element header = only(document.getDocumentElement(), SOAP, "Header");
        final Element element = only(only(header, WSSE, "Security"), DS, "Signature");
        final XMLSignature signature = new XMLSignature(element, "", true);
        final SignedInfo info = signature.getSignedInfo();
        demand(info.getSignatureMethodURI().equals(suite.signature.getAlgorithmURI()), "another signature algorithm");
        demand(info.getCanonicalizationMethodURI().equals(EXCLUSIVE), "another canonicalisation");
        demand(signature.checkSignatureValue(peer), "the signature does not verify");
        final Set<String> signed = new HashSet<>();
        for (int position = 0; position < info.getLength(); position++) {
            final Reference reference = info.item(position);
            demand(reference.getMessageDigestAlgorithm().getAlgorithmURI().equals(SHA256), "another digest");
            demand(
                    reference.getTransforms().getLength() == 1
                            && reference.getTransforms().item(0).getURI().equals(EXCLUSIVE),
                    "another transform");
            signed.add(reference.getURI());
        }
        for (final Element needed : List.of(messaging(document), only(document.getDocumentElement(), SOAP, "Body"))) {
            demand(signed.contains("#" + needed.getAttributeNS(WSU, "Id")), needed.getLocalName() + " is not signed");
        }
    }

    private static void markIds(final Element element, final Set<String> seen) throws Unacceptable {
        for (final String namespace : new String[] {WSU, null}) {
            if (element.hasAttributeNS(namespace, "Id")) {
                demand(seen.add(element.getAttributeNS(namespace, "Id")), "an Id that is not unique");
                element.setIdAttributeNS(namespace, "Id", true);
            }
        }
        for (Node child = element.getFirstChild(); child != null; child = child.getNextSibling()) {
            if (child instanceof final Element inner) {
                markIds(inner, seen);
            }
        }
    }

    /** Digest method and value of each reference a receipt repeats, by URI. */
    private static Map<String, String> digests(final Element receipt) throws Unacceptable {
        final Map<String, String> found = new HashMap<>();
        final Element information = only(receipt, EBBP, "NonRepudiationInformation");
        for (final Element part : children(information, EBBP, "MessagePartNRInformation")) {
            final Element reference = only(part, DS, "Reference");
            final String value = only(reference, DS, "DigestValue").getTextContent();
            final byte[] digest = Base64.getMimeDecoder().decode(value);
            final String method = only(reference, DS, "DigestMethod").getAttribute("Algorithm");
            demand(found.put(reference.getAttribute("URI"), text(method, digest)) == null, "a reference twice");
        }
        return found;
    }

    private static Map<String, String> digests(final List<ReferenceType> sent) {
        final Map<String, String> found = new HashMap<>();
        for (final ReferenceType reference : sent) {
            found.put(
                    reference.getURI(),
                    text(reference.getDigestMethod().getAlgorithm(), reference.getDigestValue()));
        }
        return found;
    }

    private static String text(final String method, final byte[] digest) {
        return method + " " + Base64.getEncoder().encodeToString(digest);
    }

    private static List<Element> children(final Element parent, final String namespace, final String name) {
        final List<Element> found = new ArrayList<>();
        for (Node child = parent.getFirstChild(); child != null; child = child.getNextSibling()) {
            if (child instanceof final Element element
                    && namespace.equals(element.getNamespaceURI())
                    && name.equals(element.getLocalName())) {
                found.add(element);
            }
        }
        return found;
    }

    private static Element only(final Element parent, final String namespace, final String name) throws Unacceptable {
        final List<Element> found = children(parent, namespace, name);
        demand(found.size() == 1, found.size() + " elements " + name + " in " + parent.getLocalName());
        return found.get(0);
    }

    private static void demand(final boolean holds, final String otherwise) throws Unacceptable {
        if (!holds) {
            throw new Unacceptable(otherwise);
        }
    }
}
