//! The end of a connection that is put off until what is under way is over (RFC 9113 §6.8). A client
//! is told twice: that it should leave, and, once it has surely heard that, which of its requests
//! still count.

use crate::server::http2::frame::{Code, Kind};
use crate::server::http2::out::Out;

/// What the client sends back once it has heard the first word.
const HEARD: [u8; 8] = *b"farewell";

/// The highest number of a stream.
const ANY_STREAM: u32 = 0x7fff_ffff;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server::http2) enum Farewell {
    #[default]
    NotYet,
    /// The client was told to leave. What is on its way still counts.
    Told,
    /// Up to this stream.
    Final(u32),
    /// The client leaves by itself.
    ByClient,
}

impl Farewell {
    /// Tells the client to leave.
    pub(in crate::server::http2) fn begin(&mut self, out: &mut Out) {
        if matches!(self, Self::NotYet | Self::ByClient) {
            *self = Self::Told;
            out.add_goaway(ANY_STREAM, Code::NoError);
            out.add(Kind::Ping, 0, 0, &HEARD);
        }
    }

    /// The client has answered a ping. `last` is the highest stream that it has begun.
    pub(in crate::server::http2) fn heard(&mut self, data: [u8; 8], last: u32, out: &mut Out) {
        if *self == Self::Told && data == HEARD {
            *self = Self::Final(last);
            out.add_goaway(last, Code::NoError);
        }
    }

    /// The client says that it begins no more streams.
    pub(in crate::server::http2) fn client_leaves(&mut self) {
        if *self == Self::NotYet {
            *self = Self::ByClient;
        }
    }

    /// Whether everything is said, and the connection ends with its last stream.
    pub(in crate::server::http2) fn is_said(self) -> bool {
        matches!(self, Self::Final(_) | Self::ByClient)
    }

    /// The highest stream that counts of those up to `begun`. What was said of that does not grow.
    pub(in crate::server::http2) fn last_that_counts(self, begun: u32) -> u32 {
        match self {
            Self::Final(last) => last.min(begun),
            Self::NotYet | Self::Told | Self::ByClient => begun,
        }
    }

    /// Whether a stream was begun too late to count.
    pub(in crate::server::http2) fn is_too_late(self, stream: u32) -> bool {
        matches!(self, Self::Final(last) if stream > last)
    }
}
