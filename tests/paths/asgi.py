"""Says what ASGI, and what of the standard library reads URLs, make of a target. Usage: asgi.py PORT"""

import sys
import urllib.parse

import uvicorn


def say(*views):
    return "".join(f"{kind} {path.encode('utf-8', 'surrogateescape').hex()}\n" for kind, path in views).encode()


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    raw = scope["raw_path"].decode("latin-1")
    split = urllib.parse.urlsplit(raw).path
    parse = urllib.parse.urlparse(raw).path
    body = say(
        ("path", scope["path"]),
        ("path", raw),
        ("path", split),
        ("path", parse),
        ("path", urllib.parse.unquote(split)),
        ("path", urllib.parse.unquote(parse)),
        # Starlette's redirect_slashes.
        ("path", scope["path"].rstrip("/") or "/"),
    )
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", log_level="critical")
