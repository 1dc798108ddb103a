<?php
// Says what PHP front controllers make of a target. Usage: php -S 127.0.0.1:PORT front.php
$uri = $_SERVER['REQUEST_URI'];
$plain = strtok($uri, '?');
$base = rtrim(dirname($_SERVER['SCRIPT_NAME']), '/');
$info = isset($_SERVER['PATH_INFO']) ? $base . $_SERVER['PATH_INFO'] : null;
$views = [$plain, $_SERVER['SCRIPT_NAME'], $_SERVER['PHP_SELF'], $info, parse_url($uri, PHP_URL_PATH)];
foreach ($views as $view) {
    if (!is_string($view)) {
        continue;
    }
    // Laravel, Slim, ThinkPHP and many a script of one's own: decoded, and without slashes at the ends.
    foreach ([$view, rawurldecode($view), '/' . trim($view, '/'), '/' . trim(rawurldecode($view), '/')] as $read) {
        echo 'path ', bin2hex($read), "\n";
    }
}
