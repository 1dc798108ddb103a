"""Whether a request came through the gate, by the header of [identity.hmac]. Standard library only.

Headers have their default names here: write those of your [identity] where they are others.
"""
import hashlib
import hmac
import re
import time


def is_from_gate(keys, method, target, headers, now=None, window=60):
    """Only when this is true are the identity headers the gate's.

    keys: the key, and during a change-over the previous one, as bytes; one below 32 bytes is none, as
    when a variable is not set. target: path and query as they
    arrived, not decoded. headers: a mapping with `get`, names in any case or all in lower case.
    """
    proof = re.fullmatch(r"v1;t=([0-9]{1,12});s=([0-9a-f]{64})", headers.get("x-wx-proof") or "")
    if not proof or abs((time.time() if now is None else now) - int(proof[1])) > window:
        return False
    of = lambda name: headers.get(name) or ""
    lines = ["v1", proof[1], of("x-request-id"), method, target]
    lines += [of("x-wx-appid"), of("x-wx-openid"), of("x-wx-unionid")]
    try:
        message = "\n".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        return False  # no text of bytes, so something has decoded it
    signed = [hmac.new(key, message, hashlib.sha256).hexdigest() for key in keys if key and len(key) >= 32]
    return any([hmac.compare_digest(mine, proof[2]) for mine in signed])
