// Who a request is from, by the header of [identity.jwt]. The JDK (15 or later for Ed25519), and Jackson to read JSON.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;

public final class WxgateAssertion {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Base64.Decoder BASE64 = Base64.getUrlDecoder();

    /**
     * The claims; throws for anything but the gate's word. Who it is stands in "sub" (the openid) and "appid": never
     * read an X-WX-* header, as an assertion says nothing of them. jwks: what paths.jwks answers; keep it for five
     * minutes, and fetch it before that when a "kid" is not in it, but at most once in 30 s: anybody can make one up.
     * audience: null where none is configured.
     */
    public static JsonNode userOf(JsonNode jwks, String token, String audience, long now) throws Exception {
        String[] parts = token.split("\\.", -1);
        if (parts.length != 3) throw new SecurityException("not a JWT");
        JsonNode header = JSON.readTree(BASE64.decode(parts[0]));
        for (JsonNode jwk : jwks.path("keys")) {
            // Which algorithm is as the key says, never as the token says.
            if (!jwk.path("kid").equals(header.path("kid")) || !jwk.path("alg").equals(header.path("alg"))) continue;
            boolean ed25519 = jwk.path("alg").asText().equals("EdDSA");
            var signature = Signature.getInstance(ed25519 ? "Ed25519" : "SHA256withECDSAinP1363Format");
            signature.initVerify(ed25519 ? ed25519(jwk) : p256(jwk));
            signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
            if (!signature.verify(BASE64.decode(parts[2]))) break;
            JsonNode claims = JSON.readTree(BASE64.decode(parts[1]));
            // "iss" is identity.jwt.issuer, by default this.
            if (claims.path("iss").asText().equals("wxgate") && now < claims.path("exp").asLong() + 5
                    && claims.path("iat").asLong(Long.MAX_VALUE) - 5 <= now
                    && (audience == null || claims.path("aud").asText().equals(audience))) return claims;
        }
        throw new SecurityException("not said by the gate");
    }

    private static PublicKey ed25519(JsonNode jwk) throws Exception {
        String der = "302a300506032b6570032100" + HexFormat.of().formatHex(BASE64.decode(jwk.path("x").asText()));
        return KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(HexFormat.of().parseHex(der)));
    }

    private static PublicKey p256(JsonNode jwk) throws Exception {
        var curve = AlgorithmParameters.getInstance("EC");
        curve.init(new ECGenParameterSpec("secp256r1"));
        var x = new BigInteger(1, BASE64.decode(jwk.path("x").asText()));
        var y = new BigInteger(1, BASE64.decode(jwk.path("y").asText()));
        var spec = new ECPublicKeySpec(new ECPoint(x, y), curve.getParameterSpec(ECParameterSpec.class));
        return KeyFactory.getInstance("EC").generatePublic(spec);
    }
}
