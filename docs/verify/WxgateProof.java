// Whether a request came through the gate, by the header of [identity.hmac]. The JDK only.
// Headers have their default names here: write those of your [identity] where they are others.
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class WxgateProof {
    private static final Pattern PROOF = Pattern.compile("v1;t=([0-9]{1,12});s=([0-9a-f]{64})");

    /**
     * Only when this is true are the identity headers the gate's. keys: the key, and during a change-over the
     * previous one; one below 32 bytes is none, as when a variable is not set. target:
     * {@code request.getRequestURI()}, and {@code "?" + request.getQueryString()} unless that is null. header:
     * {@code request::getHeader}.
     */
    public static boolean isFromGate(List<byte[]> keys, String method, String target, UnaryOperator<String> header,
            long now, long window) throws GeneralSecurityException {
        UnaryOperator<String> of = name -> header.apply(name) == null ? "" : header.apply(name);
        var proof = PROOF.matcher(of.apply("X-WX-Proof"));
        if (!proof.matches() || Math.abs(now - Long.parseLong(proof.group(1))) > window) return false;
        var message = String.join("\n", "v1", proof.group(1), of.apply("X-Request-Id"), method, target,
                of.apply("X-WX-APPID"), of.apply("X-WX-OPENID"), of.apply("X-WX-UNIONID"));
        // What is no text of bytes has been decoded by something.
        if (!StandardCharsets.ISO_8859_1.newEncoder().canEncode(message)) return false;
        boolean good = false;
        for (byte[] key : keys) {
            if (key == null || key.length < 32) continue;
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            byte[] mine = mac.doFinal(message.getBytes(StandardCharsets.ISO_8859_1));
            good |= MessageDigest.isEqual(mine, HexFormat.of().parseHex(proof.group(2)));
        }
        return good;
    }
}
