//! Tells what came of every request to WeChat, for it to be counted: also of one that nobody waits
//! for any more.

use http::Method;
use tokio::time::Instant;

use crate::telemetry::metrics::{ApiId, Calls, Failure, Said};
use crate::wechat::errcode::Errcode;
use crate::wechat::error::{ApiError, CallError};

/// A call of one API: one request at a time.
pub(super) struct Asking {
    calls: Calls,
    api: ApiId,
    /// The request under way.
    open: Option<(Method, Instant)>,
}

impl Asking {
    pub(super) fn new(calls: &Calls, path: &str) -> Self {
        Self {
            calls: calls.clone(),
            api: calls.api(path),
            open: None,
        }
    }

    /// A request is about to be sent.
    pub(super) fn begin(&mut self, method: &Method) {
        self.open = Some((method.clone(), Instant::now()));
    }

    /// It has an answer of this status, which says this.
    pub(super) fn answered(&mut self, status: u16, said: Said) {
        self.end(Some(status), said);
    }

    /// It has none.
    pub(super) fn failed(&mut self, error: &CallError) {
        self.end(None, Said::Failure(failure(error)));
    }

    /// The time for the call is over.
    pub(super) fn timed_out(&mut self) {
        self.end(None, Said::Failure(Failure::Timeout));
    }

    fn end(&mut self, status: Option<u16>, said: Said) {
        if let Some((method, begun)) = self.open.take() {
            let request = (self.api, (&method).into());
            self.calls.answered(request, status, said, begun.elapsed());
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.end(None, Said::Failure(Failure::Cancelled));
    }
}

/// What an answer says.
pub(super) fn of_answer<T>(outcome: &Result<T, ApiError>) -> Said {
    match outcome {
        Ok(_) => Said::Errcode(0),
        Err(ApiError::Call(error)) => Said::Failure(failure(error)),
        Err(ApiError::Refused(refused)) => of_number(refused.errcode.number()),
    }
}

/// An errcode, if the gate knows it: WeChat has hundreds.
pub(super) fn of_number(number: i64) -> Said {
    let errcode = Errcode::from_number(number);
    let is_known = number == 0 || errcode.is_known();
    if is_known {
        Said::Errcode(number)
    } else {
        Said::Other
    }
}

fn failure(error: &CallError) -> Failure {
    match error {
        CallError::HttpStatus { .. } => Failure::HttpStatus,
        CallError::Interrupted { .. } => Failure::Interrupted,
        CallError::Malformed(_) => Failure::Malformed,
        // Nothing is sent then.
        CallError::Paused { .. } | CallError::TooManyCalls => Failure::Overloaded,
        CallError::TimedOut => Failure::Timeout,
        CallError::Unreachable { .. } => Failure::Unreachable,
    }
}
