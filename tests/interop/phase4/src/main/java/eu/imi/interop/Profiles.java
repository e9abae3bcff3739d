package eu.imi.interop;

import com.helger.base.state.ETriState;
import com.helger.diagnostics.error.SingleError;
import com.helger.diagnostics.error.list.ErrorList;
import com.helger.phase4.CAS4;
import com.helger.phase4.ebms3header.Ebms3MessageProperties;
import com.helger.phase4.ebms3header.Ebms3Property;
import com.helger.phase4.ebms3header.Ebms3UserMessage;
import com.helger.phase4.model.EMEP;
import com.helger.phase4.model.EMEPBinding;
import com.helger.phase4.model.pmode.IPModeIDProvider;
import com.helger.phase4.model.pmode.PMode;
import com.helger.phase4.model.pmode.PModeParty;
import com.helger.phase4.model.pmode.PModeReceptionAwareness;
import com.helger.phase4.model.pmode.leg.PModeLeg;
import com.helger.phase4.model.pmode.leg.PModeLegBusinessInformation;
import com.helger.phase4.model.pmode.leg.PModeLegErrorHandling;
import com.helger.phase4.model.pmode.leg.PModeLegProtocol;
import com.helger.phase4.profile.AS4Profile;
import com.helger.phase4.profile.IAS4ProfileRegistrar;
import com.helger.phase4.profile.IAS4ProfileRegistrarSPI;
import com.helger.phase4.profile.IAS4ProfileValidator;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/** One eDelivery profile for each suite, four-corner, found by phase4 through its service loader. */
public final class Profiles implements IAS4ProfileRegistrarSPI {
    static final String SERVICE = "urn:imi:service:case";
    static final String ACTION = "events";

    @Override
    public void registerAS4Profile(final IAS4ProfileRegistrar registrar) {
        for (final Suite suite : Suite.values()) {
            registrar.registerProfile(new AS4Profile(
                    suite.id,
                    "eDelivery AS4, " + suite.id,
                    FourCorner::new,
                    (initiator, responder, address) -> agreement(suite, initiator, responder, address),
                    IPModeIDProvider.DEFAULT_DYNAMIC,
                    false,
                    true));
        }
    }

    /** One-way push; duplicates are detected; errors and receipts are the answer to the message. */
    private static PMode agreement(
            final Suite suite, final String initiator, final String responder, final String address) {
        final PModeLeg leg = new PModeLeg(
                PModeLegProtocol.createForDefaultSoapVersion(address),
                PModeLegBusinessInformation.create(SERVICE, ACTION, null, CAS4.DEFAULT_MPC_ID),
                new PModeLegErrorHandling(
                        null, null, ETriState.TRUE, ETriState.TRUE, ETriState.TRUE, ETriState.TRUE),
                null,
                suite.security());
        return new PMode(
                initiator + "-" + responder,
                PModeParty.createSimple(initiator, CAS4.DEFAULT_INITIATOR_URL),
                PModeParty.createSimple(responder, CAS4.DEFAULT_RESPONDER_URL),
                "urn:as4:agreement",
                EMEP.ONE_WAY,
                EMEPBinding.PUSH,
                leg,
                null,
                null,
                new PModeReceptionAwareness(ETriState.TRUE, ETriState.TRUE, 1, 10_000, ETriState.TRUE));
    }

    /** The two message properties the four-corner profiles ask for. */
    private static final class FourCorner implements IAS4ProfileValidator {
        @Override
        public void validateUserMessage(final Ebms3UserMessage message, final ErrorList errors) {
            final Ebms3MessageProperties properties = message.getMessageProperties();
            final Set<String> present = (properties == null ? List.<Ebms3Property>of() : properties.getProperty())
                    .stream()
                            .filter(property -> property.getValue() != null && !property.getValue().isEmpty())
                            .map(Ebms3Property::getName)
                            .collect(Collectors.toSet());
            for (final String name : List.of(CAS4.ORIGINAL_SENDER, CAS4.FINAL_RECIPIENT)) {
                if (!present.contains(name)) {
                    errors.add(SingleError.builderError().errorText(name + " is missing").build());
                }
            }
        }
    }
}
