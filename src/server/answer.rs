//! What an answer is, whichever version of HTTP it goes out by: how long its body is, and why it may
//! not come to its end. Knows nothing of how either is written.

use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use http_body::Body;

use crate::domain::response::Response;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Wanted {
    Whole,
    /// The head alone.
    Head,
}

impl Wanted {
    pub(in crate::server) fn by(method: &Method) -> Self {
        if method == Method::HEAD {
            Self::Head
        } else {
            Self::Whole
        }
    }
}

/// How long the body of an answer is, as the gate itself says, from what it will send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Length {
    Exactly(u64),
    /// No body; the length of the one that is not sent, where that is known and may be said.
    Nothing(Option<u64>),
    Unknown,
}

impl Length {
    /// RFC 9110 §6.4.1.
    pub(in crate::server) fn of<B: Body>(response: &Response<B>, wanted: Wanted) -> Self {
        let status = response.status;
        let exact = response.body.size_hint().exact();
        if wanted == Wanted::Head || status == StatusCode::NOT_MODIFIED {
            // The length of the body that is not sent, as the head says it already; an empty one is
            // as a rule just not there.
            let said = response.says(&CONTENT_LENGTH);
            return Self::Nothing(exact.filter(|&length| !said && length > 0));
        }
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            return Self::Nothing(None);
        }
        exact.map_or(Self::Unknown, Self::Exactly)
    }

    /// Whether the head of the answer may say a length that did not come from here.
    pub(in crate::server) fn keeps_said(self) -> bool {
        matches!(self, Self::Nothing(_))
    }

    /// Bytes that are still to come.
    pub(in crate::server) fn left(self) -> Left {
        match self {
            Self::Exactly(length) => Left(Some(length)),
            Self::Nothing(_) | Self::Unknown => Left(None),
        }
    }
}

/// Bytes that are still to come of a body, when that is known.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Left(Option<u64>);

/// The body of an answer was longer or shorter than it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not as long as announced")]
pub(in crate::server) struct WrongLength;

impl Left {
    /// So many have come.
    pub(in crate::server) fn take(&mut self, bytes: usize) -> Result<(), WrongLength> {
        if let Some(left) = &mut self.0 {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            *left = left.checked_sub(bytes).ok_or(WrongLength)?;
        }
        Ok(())
    }

    /// Whether as many have come as were announced.
    pub(in crate::server) fn is_used_up(self) -> bool {
        self.0 == Some(0)
    }

    /// The body ends here.
    pub(in crate::server) fn end(self) -> Result<(), WrongLength> {
        match self.0 {
            Some(1..) => Err(WrongLength),
            Some(0) | None => Ok(()),
        }
    }
}
