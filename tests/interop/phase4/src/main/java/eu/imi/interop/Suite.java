package eu.imi.interop;

import com.helger.phase4.client.AS4ClientUserMessage;
import com.helger.phase4.crypto.AS4CryptParams;
import com.helger.phase4.crypto.AS4SigningParams;
import com.helger.phase4.crypto.ECryptoAlgorithmCrypt;
import com.helger.phase4.crypto.ECryptoAlgorithmSign;
import com.helger.phase4.crypto.ECryptoAlgorithmSignDigest;
import com.helger.phase4.crypto.ECryptoKeyEncryptionAlgorithm;
import com.helger.phase4.model.pmode.leg.EPModeSendReceiptReplyPattern;
import com.helger.phase4.model.pmode.leg.PModeLegSecurity;
import com.helger.phase4.wss.EWSSVersion;
import java.util.Arrays;
import java.util.function.Consumer;

/** The algorithms two parties agreed on, under the names our own side has for them. */
enum Suite {
    /** eDelivery AS4 2.0, Common Usage Profile. */
    EDDSA(
            "as4-2.0-ed25519-x25519",
            ECryptoAlgorithmSign.EDDSA_ED25519,
            AS4CryptParams::setEDelivery2KeyAgreementX25519),
    /** eDelivery AS4 2.0, Alternative Elliptic Curve Profile, on P-256. */
    ECDSA("as4-2.0-ecc", ECryptoAlgorithmSign.ECDSA_SHA_256, AS4CryptParams::setEDelivery2KeyAgreementECDHES),
    /** eDelivery AS4 1.15. */
    RSA(
            "as4-1.15-rsa",
            ECryptoAlgorithmSign.RSA_SHA_256,
            params -> params.setKeyEncAlgorithm(ECryptoKeyEncryptionAlgorithm.RSA_OAEP_XENC11));

    final String id;
    final ECryptoAlgorithmSign signature;
    private final Consumer<AS4CryptParams> keyTransport;

    Suite(final String id, final ECryptoAlgorithmSign signature, final Consumer<AS4CryptParams> keyTransport) {
        this.id = id;
        this.signature = signature;
        this.keyTransport = keyTransport;
    }

    static Suite of(final String id) {
        return Arrays.stream(values())
                .filter(suite -> suite.id.equals(id))
                .findAny()
                .orElseThrow(() -> new IllegalArgumentException("no such suite: " + id));
    }

    /** Make `message` sign and encrypt as agreed. */
    void applyTo(final AS4ClientUserMessage message) {
        applyTo(message.signingParams());
        keyTransport.accept(message.cryptParams().setAlgorithmCrypt(ECryptoAlgorithmCrypt.AES_128_GCM));
    }

    private void applyTo(final AS4SigningParams params) {
        params.setAlgorithmSign(signature).setAlgorithmSignDigest(ECryptoAlgorithmSignDigest.DIGEST_SHA_256);
    }

    /** The security part of the P-Mode: what is refused when it differs, and how receipts are signed. */
    PModeLegSecurity security() {
        final PModeLegSecurity security = new PModeLegSecurity();
        security.setWSSVersion(EWSSVersion.WSS_111);
        security.setX509SignatureAlgorithm(signature);
        security.setX509SignatureHashFunction(ECryptoAlgorithmSignDigest.DIGEST_SHA_256);
        security.setX509EncryptionAlgorithm(ECryptoAlgorithmCrypt.AES_128_GCM);
        security.setX509EncryptionMinimumStrength(128);
        security.setPModeAuthorize(false);
        security.setSendReceipt(true);
        security.setSendReceiptNonRepudiation(true);
        security.setSendReceiptReplyPattern(EPModeSendReceiptReplyPattern.RESPONSE);
        return security;
    }
}
