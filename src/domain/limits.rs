//! Fixed limits that more than one module or a client depends on, each with its reason. One that a
//! single file needs stands in that file; one that the operator may change is in the `Settings` of
//! the module it bounds.

use std::time::Duration;

/// Longest appid, openid or unionid, in bytes. Today's have 18 and 28; WeChat promises no length.
pub const MAX_ID_BYTES: usize = 128;

/// Longest `wx.login` code, in bytes. Today's have 32; WeChat promises no length.
pub const MAX_CODE_BYTES: usize = 128;

/// Longest Token of a message push, in bytes. WeChat's console takes up to 32.
pub const MAX_PUSH_TOKEN_BYTES: usize = 128;

/// Largest body of a login request, in bytes: a code and an appid.
pub const MAX_LOGIN_BODY_BYTES: usize = 16 * 1024;

/// Largest body of a phone request, in bytes: a code.
pub const MAX_PHONE_BODY_BYTES: usize = 16 * 1024;

/// Largest body of a request for a ticket, in bytes: a path.
pub const MAX_TICKET_BODY_BYTES: usize = 4 * 1024;

/// Largest body of a decrypt request, in bytes: a month of WeRun data in base64 is under 4 KiB.
pub const MAX_DECRYPT_BODY_BYTES: usize = 256 * 1024;

/// Longest access_token, in bytes. WeChat asks to have room for 512.
pub const MAX_ACCESS_TOKEN_BYTES: usize = 1024;

/// Largest body of a push, in bytes. WeChat promises no size; real messages have a few kilobytes.
pub const MAX_PUSH_BODY_BYTES: usize = 256 * 1024;

/// How old the stamp of a push may be. WeChat names no bound, and does not say that a repeat has a new
/// stamp: three tries in fifteen seconds, and minutes for clocks that differ.
pub const MAX_PUSH_AGE: Duration = Duration::from_mins(5);

/// How soon a repeated push may be taken for a new one, at the earliest: WeChat tries three times,
/// five seconds apart.
pub const MIN_PUSH_DEDUPE_WINDOW: Duration = Duration::from_mins(1);

/// The same at the latest.
pub const MAX_PUSH_DEDUPE_WINDOW: Duration = Duration::from_hours(1);

/// Largest answer taken from WeChat, in bytes, where the gate reads it itself. Real ones are under 300.
pub const MAX_WECHAT_ANSWER_BYTES: usize = 64 * 1024;

/// Longest request id of WeChat (rid) that is kept for the log, in bytes. Today's have 26.
pub const MAX_RID_BYTES: usize = 64;

/// How long to wait before a call to WeChat is made a second time: long enough for a busy server
/// to get over it, short enough for a person who waits.
pub const WECHAT_RETRY_PAUSE: Duration = Duration::from_millis(200);

/// For how long an idle connection to WeChat is kept. Short, so that the gate gives it up before
/// WeChat does: a call sent into a connection that is being closed may have used up its code.
pub const WECHAT_IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// Login codes that WeChat refused and that are remembered, per gate.
pub const MAX_REFUSED_CODES: u64 = 65_536;

/// How long a login code lives (`wx.login`). For as long a refused code is remembered, and at most
/// as long an answer is kept for a repeat of the code.
pub const LOGIN_CODE_LIFE: Duration = Duration::from_mins(5);

/// Login answers kept for a repeat of the same code, per gate. Each lives `login.retry_window`.
pub const MAX_KEPT_LOGINS: u64 = 65_536;

/// What kept login answers may take in all, in bytes; each counts for at least [`KEPT_LOGIN_BYTES`].
/// Data of a login hook can make one large.
pub const MAX_KEPT_LOGIN_BYTES: u64 = MAX_KEPT_LOGINS * KEPT_LOGIN_BYTES;

/// What a kept login answer counts for at least, in bytes: without data of a hook it has fewer.
pub const KEPT_LOGIN_BYTES: u64 = 1024;

/// Largest answer of an app server to its login hook, in bytes. All of it goes to the mini program
/// and is kept for a while for a repeat.
pub const MAX_HOOK_ANSWER_BYTES: usize = 64 * 1024;

/// Logins and questions to WeChat at once on the control thread. More answer `overloaded`.
pub const MAX_TASKS_IN_FLIGHT: usize = 1024;

/// Session keys kept per user: the current one and the last two replaced ones.
pub const MAX_SESSION_KEYS: usize = 3;

/// How long the token of a session that a new login replaced still works: requests that are
/// already on their way carry it.
pub const REPLACED_SESSION_GRACE: Duration = Duration::from_mins(1);

/// How far a watermark may lie in the future: the clocks of WeChat and this machine differ.
pub const WATERMARK_SKEW: Duration = Duration::from_mins(1);

/// How much of a refused upload is still read, in bytes, so that the client sees the answer
/// instead of a reset connection.
pub const MAX_DRAINED_BYTES: u64 = 1024 * 1024;

/// For how long a refused upload is still read.
pub const DRAIN_REFUSED_FOR: Duration = Duration::from_secs(5);

/// Readings of one path that are compared with the rules. A path with more is refused: no honest
/// client needs one.
pub const MAX_PATH_READINGS: usize = 64;

/// All readings of one path together, in bytes: what comparing them may cost before anybody is known.
pub const MAX_READING_BYTES: usize = 64 * 1024;

/// Access log records waiting for the log thread, per worker. More are dropped and counted.
pub const MAX_ACCESS_RECORDS: usize = 8192;

/// Log events waiting for the log thread. More are dropped and counted.
pub const MAX_LOG_EVENTS: usize = 1024;

/// Longest value taken over from a trusted proxy (`X-Request-Id`, `X-Forwarded-Host` and its kin), in
/// bytes.
pub const MAX_FORWARDED_VALUE_BYTES: usize = 128;
