"""Says what WSGI, and what of the standard library serves files, make of a target. Usage: wsgi.py PORT"""

import http.server
import os
import socketserver
import sys
import wsgiref.simple_server


def say(*views):
    return "".join(f"{kind} {path.encode('utf-8', 'surrogateescape').hex()}\n" for kind, path in views).encode()


class Files(http.server.SimpleHTTPRequestHandler):
    """Only maps a target to a file; nothing is served."""

    def __init__(self, path):
        self.path = path
        self.directory = "/srv"


def application(environ, start_response):
    # WSGI has the bytes of the path as Latin-1 (PEP 3333).
    info = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
    file = os.path.relpath(Files(environ["RAW"]).translate_path(environ["RAW"]), "/srv")
    file = "/" + ("" if file == "." else file)
    body = say(("path", info), ("path", file))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), "RAW": self.path}

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.set_app(application)
    server.serve_forever()
