"""The other proxies, configured to do as little as they can: no log, no timeouts that matter, as
many connections kept to the app server as they use. Two look up the token of each request, as a
gate must: HAProxy in a map, and nginx by Lua in a shared dictionary.
"""

import secrets
from pathlib import Path

from harness.programs import APPID, find

NGINX = """
daemon off;
pid {folder}/{name}.pid;
error_log stderr warn;
{main}
events {{ worker_connections 20000; }}
http {{
  access_log off;
  server_tokens off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {folder}/{name}.1;
  proxy_temp_path {folder}/{name}.2;
  fastcgi_temp_path {folder}/{name}.3;
  uwsgi_temp_path {folder}/{name}.4;
  scgi_temp_path {folder}/{name}.5;
  upstream app {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  {http}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {server}
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    location / {{
      {location}
      proxy_pass http://app;
      proxy_set_header Host $host;
      proxy_set_header Connection "";
      {headers}
    }}
    location /ws {{
      {location}
      proxy_pass http://app;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      {headers}
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread {workers}
  maxconn 15000
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  timeout http-keep-alive 1h
  http-reuse always
frontend clients
  bind 127.0.0.1:{port}
{session}
  default_backend app
backend app
  server app 127.0.0.1:{upstream} pool-max-conn 512
"""

HAPROXY_SESSION = """
  http-request set-var(txn.openid) http_auth_bearer,map_str({map})
  http-request return status 401 unless {{ var(txn.openid) -m found }}
  http-request del-header x-wx- -m beg
  http-request del-header authorization
  http-request set-header X-WX-OPENID %[var(txn.openid)]
  http-request set-header X-WX-APPID {appid}
  http-request set-header X-WX-SOURCE wx_client
"""


def invent_tokens(folder, count):
    """A file of tokens that look like the gate's."""
    file = Path(folder) / "tokens"
    file.write_text("".join(f"wxg_{secrets.token_urlsafe(32)}\n" for _ in range(count)))
    return file


class Site:
    """An app server, and users whose tokens are known."""

    def __init__(self, folder, upstream, tokens, workers=1, single_process=False):
        self.folder = Path(folder)
        self.upstream = upstream
        self.tokens = tokens
        self.workers = workers
        # nginx without a master above its worker, to be counted.
        self.single_process = single_process

    def command(self, proxy, port):
        """Writes the configuration, and gives the command line."""
        return {
            "nginx": self.nginx,
            "haproxy": self.haproxy,
            "haproxy-map": self.haproxy_map,
        }[proxy](port)

    def nginx(self, port):
        main = "master_process off;" if self.single_process else f"worker_processes {self.workers};"
        file = self.write(f"nginx-{port}.conf", NGINX.format(
            folder=self.folder, name=f"nginx-{port}", main=main, upstream=self.upstream,
            http="", port=port, server="", location="", headers="",
        ))
        return [find("nginx"), "-p", self.folder, "-e", "stderr", "-c", file]

    def haproxy(self, port, session=""):
        file = self.write(f"haproxy-{port}.cfg", HAPROXY.format(
            workers=self.workers, port=port, upstream=self.upstream, session=session,
        ))
        return [find("haproxy"), "-db", "-f", file]

    def haproxy_map(self, port):
        users = (f"{token} o{number:027}\n" for number, token in
                 enumerate(Path(self.tokens).read_text().split()))
        known = self.write("users.map", "".join(users))
        return self.haproxy(port, HAPROXY_SESSION.format(map=known, appid=APPID))

    def write(self, name, text):
        file = self.folder / name
        file.write_text(text)
        return file
