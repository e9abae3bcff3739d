package eu.imi.interop;

import com.helger.collection.commons.ICommonsList;
import com.helger.http.header.HttpHeaderMap;
import com.helger.json.JsonArray;
import com.helger.json.JsonObject;
import com.helger.phase4.attachment.WSS4JAttachment;
import com.helger.phase4.ebms3header.Ebms3CollaborationInfo;
import com.helger.phase4.ebms3header.Ebms3From;
import com.helger.phase4.ebms3header.Ebms3PartInfo;
import com.helger.phase4.ebms3header.Ebms3Property;
import com.helger.phase4.ebms3header.Ebms3SignalMessage;
import com.helger.phase4.ebms3header.Ebms3To;
import com.helger.phase4.ebms3header.Ebms3UserMessage;
import com.helger.phase4.error.AS4ErrorList;
import com.helger.phase4.incoming.IAS4IncomingMessageMetadata;
import com.helger.phase4.incoming.IAS4IncomingMessageState;
import com.helger.phase4.incoming.spi.AS4MessageProcessorResult;
import com.helger.phase4.incoming.spi.AS4SignalMessageProcessorResult;
import com.helger.phase4.incoming.spi.IAS4IncomingMessageProcessorSPI;
import com.helger.phase4.model.error.EEbmsError;
import com.helger.phase4.model.pmode.IPMode;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import org.w3c.dom.Node;

/**
 * The consumer behind the receiver: refuses what is not signed and encrypted, writes the rest to a folder.
 *
 * <p>phase4 itself takes unsigned and unencrypted messages. Each message becomes a folder named by a running number,
 * which appears when it is complete: {@code message.json} and the payloads {@code part-1}, {@code part-2} ... in the
 * order of the header.
 */
final class Inbox implements IAS4IncomingMessageProcessorSPI {
    private final Path folder; // null: nothing is written
    private final AtomicInteger failing;
    private final AtomicInteger taken = new AtomicInteger();

    /** @param failing how many messages, the first ones, this consumer cannot take */
    Inbox(final Path folder, final int failing) {
        this.folder = folder;
        this.failing = new AtomicInteger(failing);
    }

    int taken() {
        return taken.get();
    }

    @Override
    public AS4MessageProcessorResult processAS4UserMessage(
            final IAS4IncomingMessageMetadata metadata,
            final HttpHeaderMap headers,
            final Ebms3UserMessage message,
            final IPMode agreement,
            final Node payload,
            final ICommonsList<WSS4JAttachment> attachments,
            final IAS4IncomingMessageState state,
            final AS4ErrorList errors) {
        final boolean hasParts = attachments != null && attachments.isNotEmpty();
        if (!state.isSoapSignatureChecked() || hasParts && !state.isSoapDecrypted()) {
            errors.add(EEbmsError.EBMS_POLICY_NONCOMPLIANCE
                    .errorBuilder(Locale.ENGLISH)
                    .refToMessageInError(state.getMessageID())
                    .errorDetail("only signed and encrypted messages are taken")
                    .build());
            return AS4MessageProcessorResult.createFailure();
        }
        if (failing.getAndUpdate(left -> Math.max(0, left - 1)) > 0) {
            return AS4MessageProcessorResult.createFailure();
        }
        final int number = taken.incrementAndGet();
        try {
            take(number, message, hasParts ? attachments : List.of());
        } catch (final IOException error) {
            throw new UncheckedIOException(error);
        }
        return AS4MessageProcessorResult.createSuccess();
    }

    @Override
    public AS4SignalMessageProcessorResult processAS4SignalMessage(
            final IAS4IncomingMessageMetadata metadata,
            final HttpHeaderMap headers,
            final Ebms3SignalMessage signal,
            final IPMode agreement,
            final IAS4IncomingMessageState state,
            final AS4ErrorList errors) {
        return AS4SignalMessageProcessorResult.createSuccess();
    }

    @Override
    public void processAS4ResponseMessage(
            final IAS4IncomingMessageMetadata metadata,
            final IAS4IncomingMessageState state,
            final String responseId,
            final byte[] response,
            final boolean available,
            final AS4ErrorList errors) {
        // what we answer is for our peer to judge
    }

    private void take(final int number, final Ebms3UserMessage message, final List<WSS4JAttachment> attachments)
            throws IOException {
        final List<Ebms3PartInfo> parts =
                message.getPayloadInfo() == null ? List.of() : message.getPayloadInfo().getPartInfo();
        if (folder == null) {
            for (final WSS4JAttachment attachment : attachments) {
                copy(attachment, OutputStream.nullOutputStream());
            }
            return;
        }
        final Path unfinished = Files.createDirectories(folder.resolve("." + number));
        for (int position = 0; position < parts.size(); position++) {
            final String id = parts.get(position).getHref().substring("cid:".length());
            final WSS4JAttachment attachment =
                    attachments.stream().filter(one -> one.getId().equals(id)).findAny().orElseThrow();
            try (OutputStream target = Files.newOutputStream(unfinished.resolve("part-" + (position + 1)))) {
                copy(attachment, target);
            }
        }
        Files.writeString(unfinished.resolve("message.json"), describe(message, parts).getAsJsonString());
        final Path finished = folder.resolve(String.format("%06d", number));
        Files.move(unfinished, finished, StandardCopyOption.ATOMIC_MOVE);
    }

    private static void copy(final WSS4JAttachment attachment, final OutputStream target) throws IOException {
        try (InputStream source = attachment.getSourceStream()) {
            source.transferTo(target);
        }
    }

    private static JsonObject describe(final Ebms3UserMessage message, final List<Ebms3PartInfo> parts) {
        final Ebms3From from = message.getPartyInfo().getFrom();
        final Ebms3To to = message.getPartyInfo().getTo();
        final Ebms3CollaborationInfo about = message.getCollaborationInfo();
        final JsonArray described = new JsonArray();
        for (final Ebms3PartInfo part : parts) {
            described.add(object(part.getPartProperties() == null ? null : part.getPartProperties().getProperty()));
        }
        final JsonObject json = new JsonObject();
        json.add("message_id", message.getMessageInfo().getMessageId());
        json.add("from", from.getPartyIdAtIndex(0).getValue());
        json.add("to", to.getPartyIdAtIndex(0).getValue());
        json.add("service", about.getService().getValue());
        json.add("action", about.getAction());
        json.add("conversation_id", about.getConversationId());
        final var properties = message.getMessageProperties();
        json.add("properties", object(properties == null ? null : properties.getProperty()));
        json.add("parts", described);
        return json;
    }

    private static JsonObject object(final List<Ebms3Property> properties) {
        final JsonObject json = new JsonObject();
        if (properties != null) {
            properties.forEach(property -> json.add(property.getName(), property.getValue()));
        }
        return json;
    }
}
