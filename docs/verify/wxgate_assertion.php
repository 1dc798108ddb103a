<?php
// Who a request is from, by the header of [identity.jwt]. Needs firebase/php-jwt 6 or later, and for
// Ed25519 the sodium extension, which PHP brings along.
use Firebase\JWT\JWK;
use Firebase\JWT\JWT;

// The claims, of which `sub` is the openid; throws for anything but the gate's word.
// $jwks: what `paths.jwks` answers, as an array; keep it, and fetch it again when a `kid` is not in it.
function user_of(array $jwks, string $token, ?string $audience = null): object
{
    JWT::$leeway = 5;
    // Which algorithm is looked up in the key, never in the token.
    $claims = JWT::decode($token, JWK::parseKeySet($jwks));
    if ($claims->iss !== 'wxgate' || !isset($claims->exp, $claims->appid)) {
        throw new UnexpectedValueException('not said by the gate');
    }
    if ($audience !== null && ($claims->aud ?? null) !== $audience) {
        throw new UnexpectedValueException('said to somebody else');
    }
    return $claims;
}
