<?php
// Whether a request came through the gate, by the header of [identity.hmac].
// Headers have their default names here: write those of your [identity] where they are others.

// Only when this is true are the identity headers the gate's.
// $keys: the key, and during a change-over the previous one; one below 32 bytes is none, as when a
// variable is not set. $server: $_SERVER.
function is_from_gate(array $keys, array $server, ?int $now = null, int $window = 60): bool
{
    $found = preg_match('/^v1;t=([0-9]{1,12});s=([0-9a-f]{64})\z/', $server['HTTP_X_WX_PROOF'] ?? '', $proof);
    if (!$found || abs(($now ?? time()) - (int) $proof[1]) > $window) {
        return false;
    }
    $of = fn(string $name): string => $server[$name] ?? '';
    $lines = ['v1', $proof[1], $of('HTTP_X_REQUEST_ID'), $of('REQUEST_METHOD'), $of('REQUEST_URI')];
    array_push($lines, $of('HTTP_X_WX_APPID'), $of('HTTP_X_WX_OPENID'), $of('HTTP_X_WX_UNIONID'));
    $good = false;
    foreach ($keys as $key) {
        $mine = hash_hmac('sha256', implode("\n", $lines), (string) $key);
        $good = (strlen((string) $key) >= 32 && hash_equals($mine, $proof[2])) || $good;
    }
    return $good;
}
