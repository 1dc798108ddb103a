"""Who a request is from, by the header of [identity.jwt]. Needs PyJWT and cryptography."""
import jwt  # pip install "PyJWT[crypto]"

# keys: jwt.PyJWKClient("http://127.0.0.1:4180/jwks.json"), made once: it keeps what it fetches, and
# asks again when it meets a key that it does not know.


def user_of(keys, token, audience=None):
    """The claims, of which `sub` is the openid; raises jwt.PyJWTError for anything but the gate's word."""
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key.key,
        algorithms=[key.algorithm_name],  # as the key says, never as the token says
        issuer="wxgate",
        audience=audience,
        leeway=5,
        options={"require": ["iss", "iat", "exp", "appid"], "verify_aud": audience is not None},
    )
