<?php
// Who a request is from, by the header of [identity.jwt]. Needs firebase/php-jwt 6.7 or later, and for
// Ed25519 the sodium extension, which PHP brings along.
use Firebase\JWT\JWK;
use Firebase\JWT\JWT;

// The claims; throws for anything but the gate's word. Who it is stands in `sub` (the openid) and `appid`.
// Never read an X-WX-* header: an assertion says nothing of them.
// $jwks: what `paths.jwks` answers, as an array; keep it for five minutes, and fetch it before that when
// a `kid` is not in it, but at most once in 30 s: anybody can make one up.
function user_of(array $jwks, string $token, ?string $audience = null): object
{
    JWT::$leeway = 5;
    // Which algorithm is looked up in the key, never in the token.
    $claims = JWT::decode($token, JWK::parseKeySet($jwks));
    // `iss` is identity.jwt.issuer, by default this.
    if (($claims->iss ?? null) !== 'wxgate' || !isset($claims->exp, $claims->appid)) {
        throw new UnexpectedValueException('not said by the gate');
    }
    if ($audience !== null && ($claims->aud ?? null) !== $audience) {
        throw new UnexpectedValueException('said to somebody else');
    }
    return $claims;
}
