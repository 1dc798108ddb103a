//! The text of every log event, in one place. Constant and lower case; what varies is in fields.

/// The admin listener is up.
pub const ADMIN_LISTENING: &str = "admin listener is up";
/// A connection could not be accepted: out of file descriptors, most likely.
pub const ACCEPT_FAILED: &str = "cannot accept connections";
/// Another certificate, key or client authority is in use for new connections.
pub const CERTIFICATE_RELOADED: &str = "certificate reloaded";
/// The files have changed and cannot be used; what was in use goes on.
pub const CERTIFICATE_NOT_RELOADED: &str = "changed certificate files cannot be used";
/// The certificate has expired, or is not valid yet.
pub const CERTIFICATE_OUT_OF_DATE: &str = "certificate is out of date";
/// A connection ended with a fault of the protocol; the client's doing, as a rule.
pub const CONNECTION_FAILED: &str = "connection ended with an error";
/// The order to stop came.
pub const DRAINING: &str = "draining";
/// Connections were still open when the time to drain was over.
pub const DRAIN_INCOMPLETE: &str = "connections were still open after drain_timeout";
/// A call of the app server to WeChat has no answer.
pub const EGRESS_FAILED: &str = "a call of the app server to wechat failed";
/// The listener for calls of the app server to WeChat is up.
pub const EGRESS_LISTENING: &str = "egress listener is up";
/// A call of the app server is not passed on to WeChat.
pub const EGRESS_REFUSED: &str = "a call of the app server was refused";
/// Access records or events did not fit into their queue.
pub const LOG_LINES_DROPPED: &str = "log lines were dropped";
/// A bug of the gate's own.
pub const INTERNAL: &str = "internal error";
/// Logins from a private network are not limited by address: it may be a proxy for everybody.
pub const NEARBY_NOT_LIMITED: &str = "logins through this private address are not limited; if a proxy is there, add it to server.trusted_proxies, and let it send X-Forwarded-For";
/// The system had no randomness for a signature, so that the app server takes the user for nobody.
pub const NOT_SIGNED: &str = "cannot sign an identity";
/// The service manager asked to be told how far the gate is, and cannot be.
pub const MANAGER_NOT_TOLD: &str = "cannot tell the service manager";
/// The gate is up.
pub const LISTENING: &str = "listening";
/// A decryption did not succeed; says why, which no client is told.
pub const DECRYPT_FAILED: &str = "decryption failed";
/// After a failed decryption WeChat was asked whether the key is still the user's.
pub const SESSION_KEY_CHECKED: &str = "session key checked after a failed decryption";
/// WeChat did not accept a login code.
pub const LOGIN_REFUSED: &str = "login refused by wechat";
/// The app server did not agree to a login that WeChat accepted, or could not be asked.
pub const LOGIN_HOOK_REFUSED: &str = "login refused by login.hook";
/// The configuration has something odd that is not a fault.
pub const CONFIG_WARNING: &str = "configuration warning";
/// What came over a connection was no HTTP; it was answered with a bare status and closed.
pub const NOT_HTTP: &str = "not http";
/// A trusted proxy did not say whose connection it passes on, as it must; it was closed.
pub const NO_PROXY_HEADER: &str = "no proxy protocol header";
/// Somebody connected who is no trusted proxy, to addresses for those alone; it was closed.
pub const NO_TRUSTED_PROXY: &str = "closed a connection from outside trusted_proxies";
/// What came over a connection that should be encrypted was no TLS; it was closed.
pub const NOT_TLS: &str = "not tls";
/// A connection did not become an encrypted one.
pub const TLS_HANDSHAKE_FAILED: &str = "tls handshake failed";
/// A code of the phone button came to nothing; says why, which no client is told.
pub const PHONE_CODE_REFUSED: &str = "phone code refused";
/// A push came that nothing shows to be from WeChat; says why, which its sender is not told.
pub const PUSH_REFUSED: &str = "push refused";
/// The app server did not take a push; says why. WeChat will repeat it.
pub const PUSH_NOT_TAKEN: &str = "app server did not take a push";
/// A push that WeChat was told of as taken did not reach the app server; says why.
pub const PUSH_LOST: &str = "push lost";
/// The process stops, and pushes that WeChat was told of as taken still wait for the app server.
pub const PUSHES_LEFT: &str = "pushes were still waiting for the app server after drain_timeout";
/// There is no connection to Redis; says why. Sessions that are known go on for `store.redis.outage_grace`.
pub const REDIS_AWAY: &str = "redis is away; known sessions go on for store.redis.outage_grace";
/// There is a connection to Redis.
pub const REDIS_CONNECTED: &str = "connected to redis";
/// Redis came back without what it had, or is another one.
pub const REDIS_EMPTIED: &str = "redis has lost what it had; all sessions have ended";
/// Redis lets go of keys when its memory is short; says by which policy.
pub const REDIS_EVICTS: &str =
    "redis may let go of sessions when memory is short; set maxmemory-policy noeviction";
/// Redis is as it was some time ago: it was started from an old snapshot, or its replica was behind.
pub const REDIS_SET_BACK: &str =
    "redis has lost its last writes; sessions that had ended may be live again";
/// There were more endings during an outage than are kept.
pub const REDIS_ENDING_LOST: &str =
    "a logout could not be told to redis and is not kept; the session may be live again";
/// Redis did not do as it was asked; says why.
pub const REDIS_FAILED: &str = "redis refused";
/// What stands under a key is not what this gate, with its seal keys, wrote there.
pub const REDIS_RECORD: &str = "a record in redis cannot be used; the session counts as unknown";
/// Redis writes again.
pub const REDIS_WRITES: &str = "redis takes writes";
/// Redis can be read, and writes nothing: it is full, most likely.
pub const REDIS_WRITES_NOTHING: &str = "redis takes no writes; nobody can log in";
/// The process has stopped in order.
pub const STOPPED: &str = "stopped";
/// A client sends the session key, as old tutorials do: it should not have one.
pub const CLIENT_HOLDS_SESSION_KEY: &str =
    "a client sent a sessionKey field; it was ignored, and the client should not hold one";
/// The app server could not be used.
pub const UPSTREAM_FAILED: &str = "app server failed";
/// WeChat could not be used.
pub const WECHAT_FAILED: &str = "wechat call failed";
/// WeChat says that the app's configuration is wrong.
pub const WECHAT_MISCONFIGURED: &str = "wechat refuses this app's configuration";
/// No access token could be had; what is kept is used until its end.
pub const ACCESS_TOKEN_FAILED: &str = "cannot get an access token";
/// WeChat refused an access token long before its end.
pub const ACCESS_TOKEN_REFUSED_EARLY: &str = "wechat refuses an access token before its end; another \
     system probably refreshes it with force_refresh, or the AppSecret was reset";
/// WeChat takes the previous AppSecret of an app and not the new one.
pub const PREVIOUS_SECRET_WORKS: &str =
    "wechat takes previous_secret and not secret; was the AppSecret reset already?";
/// WeChat takes the new AppSecret of an app, which still has a previous one.
pub const NEW_SECRET_WORKS: &str = "wechat takes the new secret; previous_secret may be removed";
/// WeChat did not answer several times in a row; it is not asked about this app for a moment.
pub const WECHAT_PAUSED: &str = "wechat does not answer; calls are paused";
/// After a pause, WeChat answers again.
pub const WECHAT_RESUMED: &str = "wechat answers again";
/// This machine's clock and WeChat's differ by more than watermarks may.
pub const CLOCK_SKEW: &str =
    "this machine's clock differs from wechat's; fresh data may count as old";
/// Endings of sessions could not be written down; says why. They hold here, but not after a crash.
pub const ENDINGS_NOT_SAVED: &str = "endings of sessions cannot be saved; they hold, unless the gate crashes before the next snapshot";
/// After that, they could be again.
pub const ENDINGS_SAVED_AGAIN: &str = "endings of sessions are saved again";
/// The sessions could not be written to the snapshot file; says why. The one before is still there.
pub const SNAPSHOT_FAILED: &str = "sessions cannot be saved to store.snapshot_file";
/// At the start, sessions were read.
pub const SNAPSHOT_READ: &str = "sessions read from store.snapshot_file";
/// The snapshot file or the one of endings beside it is not believed; says why. The gate has no
/// sessions.
pub const SNAPSHOT_REFUSED: &str =
    "store.snapshot_file is refused and kept aside; the gate starts without sessions";
/// The sessions were written to the snapshot file.
pub const SNAPSHOT_WRITTEN: &str = "sessions saved to store.snapshot_file";
/// The process stops; the next one finds these.
pub const SNAPSHOT_LEFT: &str = "sessions left in store.snapshot_file for the next start";
