"""Who a request is from, by the header of [identity.jwt]. Needs PyJWT 2.9 or later, and cryptography."""
import threading
import time

import jwt  # pip install "PyJWT[crypto]>=2.9"


class GateKeys(jwt.PyJWKClient):
    """What `paths.jwks` answers; made once, as GateKeys("http://127.0.0.1:4180/.well-known/jwks.json").

    Kept for five minutes. For a `kid` that is not in it, it asks before that, but at most once in 30 s:
    anybody can make one up.
    """

    def __init__(self, url):
        super().__init__(url, cache_jwk_set=False, timeout=3)
        self.lock, self.keys, self.asked = threading.Lock(), None, None

    def get_jwk_set(self, refresh=False):
        with self.lock:
            now = time.monotonic()
            if self.asked is None or now - self.asked >= (30 if refresh or not self.keys else 300):
                self.asked = now
                try:
                    self.keys = super().get_jwk_set()
                except Exception:  # whatever it is, those from before are still good
                    pass
            if not self.keys:
                raise jwt.PyJWKClientError("the gate has told no keys yet")
            return self.keys


def user_of(keys, token, audience=None):
    """The claims; keys: one GateKeys. Raises jwt.PyJWTError for anything but the gate's word.

    Who it is stands in `sub` (the openid) and `appid`. Never read an X-WX-* header: an assertion says
    nothing of them.
    """
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key.key,
        algorithms=[key.algorithm_name],  # as the key says, never as the token says
        issuer="wxgate",  # as identity.jwt.issuer says
        audience=audience,
        leeway=5,
        options={"require": ["iss", "iat", "exp", "appid"], "verify_aud": audience is not None},
    )
