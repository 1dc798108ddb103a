"""A legacy app server, in place of yours: it knows users by X-WX-OPENID and WeChat not at all."""

import http.server
import json
import os


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        openid = self.headers.get("X-WX-OPENID")
        status, answer = (200, {"openid": openid}) if openid else (401, {"error": "who are you?"})
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host, port = os.environ["APP_LISTEN"].rsplit(":", 1)
http.server.ThreadingHTTPServer((host, int(port)), App).serve_forever()
