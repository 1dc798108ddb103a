"""Makes ../vectors/signed-identity.json, by an implementation that has nothing of the gate's: Python's
hmac, and `cryptography` for keys and signatures. Run it again only when what is signed changes."""
import base64
import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

NOW = 1795391212
APPID, OPENID, UNIONID = "wx0123456789abcdef", "oVfC75dVVmLwTvJ4-example-001", "oK_union-example-0000000001"
ID = "019391f0-7c00-7abc-8def-0123456789ab"
KEY, PREVIOUS, STRANGE = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
SHORT = "s" * 31


def proof(key, method, target, request_id=ID, appid=APPID, openid=OPENID, unionid=UNIONID, now=NOW):
    lines = ["v1", str(now), request_id, method, target, appid, openid, unionid]
    message = "\n".join(lines)
    signature = hmac.new(key.encode(), message.encode("latin-1"), hashlib.sha256).hexdigest()
    headers = {"x-request-id": request_id, "x-wx-appid": appid, "x-wx-proof": f"v1;t={now};s={signature}"}
    headers.update({name: value for name, value in (("x-wx-openid", openid), ("x-wx-unionid", unionid)) if value})
    return {"method": method, "target": target, "headers": headers}, message


def proofs():
    cases = []

    def case(name, valid, request, now=NOW, message=None):
        cases.append({"name": name, "valid": valid, "now": now, **request, **({"message": message} if message else {})})

    def good(name, *args, now=NOW, **kwargs):
        request, message = proof(*args, **kwargs)
        case(name, True, request, now, message)

    good("a plain request", KEY, "GET", "/me")
    good("without a unionid", KEY, "POST", "/orders?next=%2Fa&x=1", unionid="")
    good("a push from nobody", KEY, "POST", "/pushed", openid="", unionid="")
    good("an empty query is not no query", KEY, "GET", "/me?")
    good("nothing is decoded or put in order", KEY, "GET", "/a//b/../%61;p=1?b=2&a=1&a=%20+")
    good("bytes beyond ASCII, each a character here", KEY, "GET", "/\u00e5\u00bc\u00a0")
    good("an id that a proxy told", KEY, "DELETE", "/a", request_id='7f-"<x>')
    good("by the key before that", PREVIOUS, "GET", "/me")
    good("at the begin of the window", KEY, "GET", "/me", now=NOW - 60)
    good("at the end of the window", KEY, "GET", "/me", now=NOW + 60)

    request, _ = proof(KEY, "GET", "/me?a=1")
    spoilt = lambda **kwargs: {**request, "headers": {**request["headers"], **kwargs.pop("headers", {})}, **kwargs}
    value = request["headers"]["x-wx-proof"]
    case("another method", False, spoilt(method="POST"))
    case("another path", False, spoilt(target="/you?a=1"))
    case("another query", False, spoilt(target="/me?a=2"))
    case("no query", False, spoilt(target="/me"))
    case("another spelling of the path", False, spoilt(target="/%6de?a=1"))
    for target, way in (("/a?b", "replaced"), ("/a-b", "cut")):
        case(f"a character that is no byte, as if it were {way}", False, {**proof(KEY, "GET", target)[0], "target": "/a\u4e2db"})
    case("another request id", False, spoilt(headers={"x-request-id": ID.replace("9", "8")}))
    case("another appid", False, spoilt(headers={"x-wx-appid": "wxfedcba9876543210"}))
    case("another openid", False, spoilt(headers={"x-wx-openid": OPENID + "x"}))
    case("another unionid", False, spoilt(headers={"x-wx-unionid": UNIONID + "x"}))
    swapped = {"x-wx-openid": UNIONID, "x-wx-unionid": OPENID}
    case("openid and unionid in each other's place", False, spoilt(headers=swapped))
    without = {name: value for name, value in request["headers"].items() if name != "x-wx-unionid"}
    case("the unionid taken away", False, {**request, "headers": without})
    case("another time", False, spoilt(headers={"x-wx-proof": value.replace(str(NOW), str(NOW + 1))}))
    case("too old", False, request, NOW + 61)
    case("from the future", False, request, NOW - 61)
    case("by a strange key", False, proof(STRANGE, "GET", "/me")[0])
    case("by a key that is not set", False, proof("", "GET", "/me")[0])
    case("by a key that is too short", False, proof(SHORT, "GET", "/me")[0])
    case("no proof at all", False, {**request, "headers": {n: v for n, v in request["headers"].items() if n != "x-wx-proof"}})
    for name, other in (
        ("an empty proof", ""),
        ("another version", value.replace("v1;", "v2;")),
        ("digits in upper case", value[:20] + value[20:].upper()),
        ("a line break behind it", value + "\n"),
        ("another proof beside it", value + ", " + value),
        ("a signature cut short", value[:-1]),
        ("no signature", value[: value.index("s=") + 2]),
        ("a time that is none", value.replace(str(NOW), "0x" + str(NOW))),
        ("a negative time", value.replace(str(NOW), "-" + str(NOW))),
        ("a time beyond all numbers", value.replace(str(NOW), "9" * 5000)),
        ("letters that look like digits", value.replace(str(NOW), "".join(chr(0x660 + int(d)) for d in str(NOW)))),
        ("beyond ASCII", value[:-1] + "\u00e5"),
    ):
        case(name, False, spoilt(headers={"x-wx-proof": other}))
    return {"keys": {"current": KEY, "previous": PREVIOUS, "unset": "", "short": SHORT}, "window": 60, "cases": cases}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value):
    return b64(json.dumps(value, separators=(",", ":")).encode())


class SigningKey:
    def __init__(self, private):
        self.private, public = private, private.public_key()
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            self.alg, jwk = "EdDSA", {"crv": "Ed25519", "kty": "OKP", "x": b64(raw)}
        else:
            point = public.public_numbers()
            x, y = (b64(number.to_bytes(32, "big")) for number in (point.x, point.y))
            self.alg, jwk = "ES256", {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        text = json.dumps(jwk, separators=(",", ":"), sort_keys=True)
        self.kid = b64(hashlib.sha256(text.encode()).digest())
        self.jwk = {"kid": self.kid, "kty": jwk["kty"], "crv": jwk["crv"], "use": "sig", "alg": self.alg, "x": jwk["x"]}
        self.jwk.update({"y": jwk["y"]} if "y" in jwk else {})

    def pem(self):
        none = serialization.NoEncryption()
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none).decode()

    def sign(self, claims, **header):
        header = {"alg": self.alg, "kid": self.kid, "typ": "JWT", **header}
        text = compact(header) + "." + compact(claims)
        if self.alg == "EdDSA":
            return text + "." + b64(self.private.sign(text.encode()))
        der = self.private.sign(text.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return text + "." + b64(b"".join(number.to_bytes(32, "big") for number in utils.decode_dss_signature(der)))


def assertions():
    current = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    previous = SigningKey(ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1()))
    strange = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
    digest = bytes(range(100, 132))
    sid = b64(hashlib.sha256(b"wxgate session id v1" + digest).digest()[:16])
    claims = {"iss": "wxgate", "aud": "shop", "sub": OPENID, "appid": APPID, "unionid": UNIONID, "sid": sid, "iat": NOW, "exp": NOW + 60}
    token = current.sign(claims)
    head, body, signature = token.split(".")
    changed = lambda **others: compact({**claims, **others})
    shared = hmac.new(base64.urlsafe_b64decode(current.jwk["x"] + "="), f"{compact({'alg': 'HS256', 'kid': current.kid})}.{body}".encode(), hashlib.sha256)
    cases = [
        {"name": "by the key that signs", "valid": True, "token": token},
        {"name": "by the key before that", "valid": True, "token": previous.sign(claims)},
        {"name": "just before its end", "valid": True, "token": token, "now": NOW + 59},
        {"name": "of a push from nobody", "valid": True, "token": current.sign({k: claims[k] for k in ("iss", "aud", "appid", "iat", "exp")})},
        {"name": "another user", "valid": False, "token": f"{head}.{changed(sub='oVictim')}.{signature}"},
        {"name": "another end", "valid": False, "token": f"{head}.{changed(exp=NOW + 6000)}.{signature}"},
        {"name": "after its end", "valid": False, "token": token, "now": NOW + 66},
        {"name": "before its begin", "valid": False, "token": token, "now": NOW - 66},
        {"name": "for somebody else", "valid": False, "token": current.sign({**claims, "aud": "other"})},
        {"name": "by somebody else", "valid": False, "token": current.sign({**claims, "iss": "other"})},
        {"name": "by a strange key", "valid": False, "token": strange.sign(claims)},
        {"name": "by a strange key under a known name", "valid": False, "token": strange.sign(claims, kid=current.kid)},
        {"name": "signed by nobody", "valid": False, "token": f"{compact({'alg': 'none', 'kid': current.kid})}.{body}."},
        {"name": "by the public key as a secret", "valid": False, "token": f"{compact({'alg': 'HS256', 'kid': current.kid})}.{body}.{b64(shared.digest())}"},
        {"name": "without its signature", "valid": False, "token": f"{head}.{body}"},
        {"name": "with one part more", "valid": False, "token": token + ".e30"},
        {"name": "nothing", "valid": False, "token": ""},
    ]
    return {
        "issuer": "wxgate",
        "audience": "shop",
        "keys": {"current": current.pem(), "previous": previous.pem()},
        "jwks": {"keys": [current.jwk, previous.jwk]},
        "session_digest": digest.hex(),
        "claims": claims,
        "cases": [{"now": NOW, **case} for case in cases],
    }


path = pathlib.Path(__file__).parent.parent / "vectors" / "signed-identity.json"
text = json.dumps({"proof": proofs(), "assertion": assertions()}, indent=1, ensure_ascii=True)
path.write_text(text + "\n")
