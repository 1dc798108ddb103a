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
{processes}
{modules}
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
  {users}
  server {{
    {listen}
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    set $openid "";
    location / {{
      {session}
      proxy_pass http://app;
      proxy_set_header Host $host;
      proxy_set_header Connection "";
    }}
    location /ws {{
      {session}
      proxy_pass http://app;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
    }}
  }}
}}
"""

LUA_MODULES = [
    Path("/usr/lib/nginx/modules/ndk_http_module.so"),
    Path("/usr/lib/nginx/modules/ngx_http_lua_module.so"),
]

LUA_USERS = """
  lua_shared_dict users {mebibytes}m;
  init_by_lua_block {{
    local users = ngx.shared.users
    for line in io.lines("{map}") do
      local token, openid = string.match(line, "(%S+) (%S+)")
      users:set(token, openid)
    end
  }}
"""

LUA_SESSION = """
      access_by_lua_block {{
        local field = ngx.var.http_authorization
        local openid = field and ngx.shared.users:get(string.sub(field, 8))
        if not openid then return ngx.exit(401) end
        ngx.var.openid = openid
      }}
      proxy_set_header Authorization "";
      proxy_set_header X-WX-OPENID $openid;
      proxy_set_header X-WX-APPID {appid};
      proxy_set_header X-WX-SOURCE wx_client;
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
  {listen}
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
    file = Path(folder) / f"tokens-{secrets.token_hex(4)}"
    file.write_text("".join(f"wxg_{secrets.token_urlsafe(32)}\n" for _ in range(count)))
    return file


def missing(proxy):
    """What is not installed that this proxy needs; None when all is there."""
    program = "nginx" if proxy.startswith("nginx") else "haproxy"
    needs = [Path(program)] if find(program) is None else []
    needs += [module for module in LUA_MODULES if proxy == "nginx-lua" and not module.exists()]
    return ", ".join(map(str, needs)) or None


class Site:
    """What the proxies are told: an app server, users whose tokens are known, how many workers
    there are, and the certificate. No workers is nginx without a master above its worker."""

    def __init__(self, folder, upstream, tokens, workers=1, certificate=None):
        self.folder = Path(folder)
        self.upstream = upstream
        self.tokens = Path(tokens)
        self.workers = workers
        self.certificate = certificate

    def command(self, proxy, ports):
        """Writes the configuration, and gives the command line. `ports` has one for "http", and may
        have one for "h2c" (HTTP/2 in clear text) and one for "tls" (both by ALPN)."""
        return {
            "nginx": self.nginx,
            "nginx-lua": self.nginx_lua,
            "haproxy": self.haproxy,
            "haproxy-map": self.haproxy_map,
        }[proxy](ports)

    def nginx(self, ports, modules="", users="", session=""):
        listen = [f"listen 127.0.0.1:{ports['http']} backlog=4096;"]
        if "h2c" in ports:
            listen.append(f"listen 127.0.0.1:{ports['h2c']} http2 backlog=4096;")
        if "tls" in ports:
            certificate, key, _both = self.certificate
            listen.append(f"listen 127.0.0.1:{ports['tls']} ssl http2 backlog=4096;")
            listen.append(f"ssl_certificate {certificate}; ssl_certificate_key {key};")
            listen.append("ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m;")
        single = "master_process off;"
        name = f"nginx-{ports['http']}"
        file = self.write(f"{name}.conf", NGINX.format(
            folder=self.folder,
            name=name,
            processes=f"worker_processes {self.workers};" if self.workers else single,
            modules=modules,
            upstream=self.upstream,
            users=users,
            listen="\n    ".join(listen),
            session=session,
        ))
        return [find("nginx"), "-p", self.folder, "-e", "stderr", "-c", file]

    def nginx_lua(self, ports):
        known = self.known_users()
        # A token and an openid take some 200 bytes there.
        mebibytes = 16 + known.stat().st_size * 4 // 2**20
        return self.nginx(
            ports,
            modules="\n".join(f"load_module {module};" for module in LUA_MODULES),
            users=LUA_USERS.format(map=known, mebibytes=mebibytes),
            session=LUA_SESSION.format(appid=APPID),
        )

    def haproxy(self, ports, session=""):
        # On the port for clear text it finds out by itself whether a client speaks HTTP/2.
        listen = [f"bind 127.0.0.1:{ports[kind]}" for kind in ("http", "h2c") if kind in ports]
        if "tls" in ports:
            _certificate, _key, both = self.certificate
            listen.append(f"bind 127.0.0.1:{ports['tls']} ssl crt {both} alpn h2,http/1.1")
        file = self.write(f"haproxy-{ports['http']}.cfg", HAPROXY.format(
            workers=max(self.workers, 1),
            listen="\n  ".join(listen),
            upstream=self.upstream,
            session=session,
        ))
        return [find("haproxy"), "-db", "-f", file]

    def haproxy_map(self, ports):
        known = self.known_users()
        return self.haproxy(ports, HAPROXY_SESSION.format(map=known, appid=APPID))

    def known_users(self):
        tokens = self.tokens.read_text().split()
        users = (f"{token} o{number:027}\n" for number, token in enumerate(tokens))
        return self.write(f"{self.tokens.name}-users", "".join(users))

    def write(self, name, text):
        file = self.folder / name
        file.write_text(text)
        return file
