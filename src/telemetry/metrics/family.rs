//! The names of all series, in one place. `docs/metrics.md` says what to do about them.

use crate::telemetry::metrics::exposition::{Family, Kind};

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        help,
    }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Histogram,
        help,
    }
}

pub(super) const SERVED: Family = histogram(
    "http_server_request_duration_seconds",
    "Requests of clients, from the head of the request to the end of the answer or tunnel.",
);

pub(super) const ASKED: Family = histogram(
    "http_client_request_duration_seconds",
    "Requests of the gate to app servers, until the head of the answer, and to WeChat.",
);

pub(super) const LOGINS: Family = counter(
    "wxgate_logins_total",
    "Logins by mini program and by what the client was told.",
);

pub(super) const WECHAT: Family = counter(
    "wxgate_wechat_requests_total",
    "Requests to WeChat by API and errcode, those of the app server through egress included; 0 is success.",
);

pub(super) const DECRYPTS: Family = counter(
    "wxgate_decrypts_total",
    "Decryptions of encryptedData by result, and by which of the user's session keys opened it.",
);

pub(super) const SESSIONS: Family = gauge(
    "wxgate_sessions",
    "Sessions that are kept here: with Redis, copies of them.",
);

pub(super) const SESSIONS_EVICTED: Family = counter(
    "wxgate_sessions_evicted_total",
    "Sessions that went before their time because there was no room: store.max_sessions.",
);

pub(super) const SNAPSHOT_LAST: Family = gauge(
    "wxgate_snapshot_last_success_timestamp_seconds",
    "When the sessions were last saved to store.snapshot_file.",
);

pub(super) const SNAPSHOT_FAILURES: Family = counter(
    "wxgate_snapshot_failures_total",
    "Times that the sessions could not be saved to store.snapshot_file.",
);

pub(super) const ENDINGS_NOT_SAVED: Family = counter(
    "wxgate_endings_not_saved_total",
    "Endings of sessions that hold here and could not be saved beside store.snapshot_file.",
);

pub(super) const NOT_HTTP: Family = counter(
    "wxgate_not_http_total",
    "What came over HTTP/1 and was no request.",
);

pub(super) const SESSIONS_UNKNOWN: Family = counter(
    "wxgate_sessions_unknown_total",
    "Tokens of the right form of which no live session is kept. Some have ended or expired. When \
     clients that have just logged in are among them, the usual cause is two replicas, each with \
     a memory store: run one.",
);

pub(super) const REDIS_REQUESTS: Family = counter(
    "wxgate_redis_requests_total",
    "What Redis was asked for, and what came of it.",
);

pub(super) const REDIS_CONNECTED: Family = gauge(
    "wxgate_redis_connected",
    "Whether there is a connection to Redis: 1, or 0.",
);

pub(super) const REDIS_EMPTIED: Family = counter(
    "wxgate_redis_emptied_total",
    "How often Redis was found to have lost what it had, or to be another: all sessions have ended.",
);

pub(super) const REDIS_UNCONFIRMED_ENDINGS: Family = gauge(
    "wxgate_redis_unconfirmed_endings",
    "Logouts that hold at this gate and that Redis has not confirmed.",
);

pub(super) const HEADERS_STRIPPED: Family = counter(
    "wxgate_headers_stripped_total",
    "Identity headers that clients sent, and that the gate took out.",
);

pub(super) const ACCESS_TOKEN_AGE: Family = gauge(
    "wxgate_access_token_age_seconds",
    "How long ago the access token that is kept was asked for.",
);

pub(super) const KEY_CHECKS: Family = counter(
    "wxgate_session_key_checks_total",
    "Looks at the session_key of a user whose data could not be decrypted, by what WeChat said of it.",
);

pub(super) const PUSHES: Family = counter(
    "wxgate_push_messages_total",
    "Messages that WeChat pushed, by what became of them. lost: acknowledged to WeChat, and never \
     taken by the app server.",
);

pub(super) const CLOCK_SKEW: Family = gauge(
    "wxgate_wechat_clock_skew_seconds",
    "By how much this machine's clock is ahead of WeChat's.",
);

pub(super) const CERTIFICATE_EXPIRY: Family = gauge(
    "wxgate_tls_certificate_expiry_timestamp_seconds",
    "When the certificate in use ends.",
);

pub(super) const BUILD_INFO: Family = gauge("wxgate_build_info", "Always 1, for its labels.");

pub(super) const PROCESS_CPU: Family = counter(
    "process_cpu_seconds_total",
    "Time on processors, of the user and of the system.",
);

pub(super) const PROCESS_RESIDENT_MEMORY: Family = gauge(
    "process_resident_memory_bytes",
    "Memory that the process has.",
);

pub(super) const PROCESS_OPEN_FDS: Family =
    gauge("process_open_fds", "File descriptors that are open.");

pub(super) const PROCESS_MAX_FDS: Family = gauge(
    "process_max_fds",
    "File descriptors that may be open, by the soft limit.",
);

pub(super) const PROCESS_START: Family = gauge(
    "process_start_time_seconds",
    "When the process started, in seconds since 1970.",
);
