"""An app server for the tests of proxies: tells what reached it, and when."""

import base64
import hashlib
import http.server
import json
import os
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# For one piece, so that nothing hangs for good.
WAIT_SECONDS_MAX = 20
arrived, go_on = [0], threading.Event()


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = WAIT_SECONDS_MAX

    def say(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"data: one\n\n")
            self.wfile.flush()
            go_on.wait(WAIT_SECONDS_MAX)
            self.wfile.write(b"data: two\n\n")
            self.close_connection = True
        elif self.path == "/go-on":
            go_on.set()
            self.say({})
        elif self.path == "/arrived":
            self.say(arrived[0])
        elif self.path == "/socket" and self.headers.get("Upgrade") == "websocket":
            key = self.headers["Sec-WebSocket-Key"].encode()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + GUID).digest()).decode())
            self.end_headers()
            # One frame of less than 126 bytes, masked, comes back as it was.
            length = self.rfile.read(2)[1] & 0x7F
            mask, data = self.rfile.read(4), self.rfile.read(length)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            self.wfile.write(bytes([0x81, length]) + data)
            self.close_connection = True
        else:
            self.say([[name, value] for name, value in self.headers.items()])

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        arrived[0] = 0
        while left:
            piece = self.rfile.read1(min(left, 65536))
            if not piece:
                return
            left -= len(piece)
            arrived[0] += len(piece)
        self.say(arrived[0])


host, port = os.environ["APP_LISTEN"].rsplit(":", 1)
http.server.ThreadingHTTPServer((host, int(port)), App).serve_forever()
