<?php
// Puts cases before the PHP verifier under docs/verify: a JSON list on stdin, a list of verdicts out.
require __DIR__ . '/../../docs/verify/wxgate_proof.php';

// A character of a case stands for a byte; one that is no byte stays as it is in UTF-8.
function bytes(string $text): string
{
    return preg_replace_callback('/[\x{80}-\x{ff}]/u', fn($c) => chr((ord($c[0][0]) & 3) << 6 | ord($c[0][1]) & 63), $text);
}

function judge(array $case): bool
{
    $server = ['REQUEST_METHOD' => $case['method'], 'REQUEST_URI' => bytes($case['target'])];
    foreach ($case['headers'] as $name => $value) {
        $server['HTTP_' . strtoupper(strtr($name, '-', '_'))] = bytes($value);
    }
    return is_from_gate($case['keys'], $server, $case['now']);
}

echo json_encode(array_map('judge', json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR)));
