//! Frames (RFC 9113 §4, §6): from bytes to what they say. Pure; looks at one frame alone. What may
//! not be in any such frame, wherever it comes, is a fault here.

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of the head of a frame.
pub const HEAD_BYTES: usize = 9;

/// Largest payload of a frame, in bytes, in both directions: the size that everybody takes
/// (RFC 9113 §6.5.2). The gate asks for no other, and makes no use of one that a client allows.
pub const MAX_PAYLOAD_BYTES: usize = 16_384;

/// A flag: the frame answers one.
pub const ACK: u8 = 1;

/// A flag: nothing comes after the frame on its stream.
pub const END_STREAM: u8 = 1;

/// A flag: the header block is whole.
pub const END_HEADERS: u8 = 4;

/// Bytes that say a priority (RFC 9113 §6.3).
const PRIORITY_BYTES: usize = 5;

const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

/// Kinds of frames (RFC 9113 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// §6.1.
    Data,
    /// §6.2.
    Headers,
    /// §6.3.
    Priority,
    /// §6.4.
    RstStream,
    /// §6.5.
    Settings,
    /// §6.6.
    PushPromise,
    /// §6.7.
    Ping,
    /// §6.8.
    GoAway,
    /// §6.9.
    WindowUpdate,
    /// §6.10.
    Continuation,
    /// Of no meaning to anybody here.
    Unknown,
}

impl Kind {
    const KNOWN: [Self; 10] = [
        Self::Data,
        Self::Headers,
        Self::Priority,
        Self::RstStream,
        Self::Settings,
        Self::PushPromise,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
    ];

    fn of(number: u8) -> Self {
        let known = Self::KNOWN.get(usize::from(number));
        known.copied().unwrap_or(Self::Unknown)
    }

    /// Its number on the wire.
    pub fn number(self) -> u8 {
        let at = Self::KNOWN.iter().position(|kind| *kind == self);
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }
}

/// Why a stream or a connection is given up (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Nothing is wrong.
    NoError,
    /// The rules were broken.
    Protocol,
    /// Something went wrong behind the gate.
    Internal,
    /// More came than its window takes.
    FlowControl,
    /// Something came on a stream that is over.
    StreamClosed,
    /// A frame has the wrong size.
    FrameSize,
    /// Nothing was done with the request.
    RefusedStream,
    /// A header block cannot be read.
    Compression,
    /// Too much of something.
    EnhanceYourCalm,
}

impl Code {
    /// Its number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::NoError => 0,
            Self::Protocol => 1,
            Self::Internal => 2,
            Self::FlowControl => 3,
            Self::StreamClosed => 5,
            Self::FrameSize => 6,
            Self::RefusedStream => 7,
            Self::Compression => 9,
            Self::EnhanceYourCalm => 11,
        }
    }
}

/// What a client did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ConnectionError {
    /// What the client is told.
    pub code: Code,
    /// What the log says.
    pub what: &'static str,
}

impl ConnectionError {
    /// The rules were broken.
    pub fn protocol(what: &'static str) -> Self {
        let code = Code::Protocol;
        Self { code, what }
    }

    /// A frame has the wrong size.
    pub fn size(what: &'static str) -> Self {
        let code = Code::FrameSize;
        Self { code, what }
    }

    /// A window was opened further than any may be (RFC 9113 §6.9.1).
    pub fn window_too_large() -> Self {
        Self::flow_control("a window is larger than any may be")
    }

    /// More came than its window takes.
    pub fn flow_control(what: &'static str) -> Self {
        let code = Code::FlowControl;
        Self { code, what }
    }

    /// Something came on a stream that is over.
    pub fn closed(what: &'static str) -> Self {
        let code = Code::StreamClosed;
        Self { code, what }
    }

    /// Too much of something.
    pub fn too_much(what: &'static str) -> Self {
        let code = Code::EnhanceYourCalm;
        Self { code, what }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Bytes that follow.
    pub length: usize,
    flags: u8,
    stream: u32,
}

/// The client's half of a stream, after a frame (RFC 9113 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// More may come.
    Open,
    /// Nothing more comes.
    Closed,
}

/// A part of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// What has come of the block.
    pub bytes: &'a [u8],
    /// Whether the block is whole with it.
    pub is_last: bool,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A part of a body.
    Data {
        /// Of which stream.
        stream: u32,
        /// Without padding.
        data: &'a [u8],
        /// What it takes of the windows: padding too.
        flow: u32,
        /// Whether more comes.
        half: Half,
    },
    /// The begin of a header block.
    Headers {
        /// Of which stream.
        stream: u32,
        /// Its first part.
        fragment: Fragment<'a>,
        /// Whether more comes after the block.
        half: Half,
    },
    /// More of a header block.
    Continuation {
        /// Of which stream.
        stream: u32,
        /// Its next part.
        fragment: Fragment<'a>,
    },
    /// A stream is given up.
    Reset {
        /// Which.
        stream: u32,
    },
    /// The values, six bytes each.
    Settings(&'a [u8]),
    /// The gate's settings have been heard.
    SettingsAck,
    /// To be sent back.
    Ping([u8; 8]),
    /// What was sent back.
    Pong([u8; 8]),
    /// The client begins no more streams.
    GoAway,
    /// More may be sent.
    WindowUpdate {
        /// 0: of the connection.
        stream: u32,
        /// By so many bytes.
        by: u32,
    },
    /// A PRIORITY of the wrong size, which is the fault of its stream alone (RFC 9113 §6.3).
    WrongPriority {
        /// Of which stream.
        stream: u32,
    },
    /// Says nothing that anybody here wants to know.
    Ignored,
}

impl Head {
    /// The head at the front of these bytes, if it is whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, ConnectionError> {
        let Some((&[high, middle, low, kind, flags], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let Some(stream) = rest.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD_BYTES {
            return Err(ConnectionError::size("a frame is larger than allowed"));
        }
        Ok(Some(Self {
            kind: Kind::of(kind),
            length,
            flags,
            // The highest bit is reserved, and ignored.
            stream: u32::from_be_bytes(*stream) & 0x7fff_ffff,
        }))
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn half(self) -> Half {
        if self.has(END_STREAM) {
            Half::Closed
        } else {
            Half::Open
        }
    }

    fn fragment(self, bytes: &[u8]) -> Fragment<'_> {
        let is_last = self.has(END_HEADERS);
        Fragment { bytes, is_last }
    }

    /// The frame of which this is the head.
    pub fn frame(self, payload: &[u8]) -> Result<Frame<'_>, ConnectionError> {
        self.check_stream()?;
        let stream = self.stream;
        Ok(match self.kind {
            Kind::Data => Frame::Data {
                stream,
                data: self.without_padding(payload)?,
                flow: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                half: self.half(),
            },
            Kind::Headers => Frame::Headers {
                stream,
                fragment: self.fragment(self.without_priority(self.without_padding(payload)?)?),
                half: self.half(),
            },
            Kind::Continuation => Frame::Continuation {
                stream,
                fragment: self.fragment(payload),
            },
            Kind::Priority if payload.len() != PRIORITY_BYTES => Frame::WrongPriority { stream },
            Kind::RstStream => {
                sized::<4>(payload)?;
                Frame::Reset { stream }
            }
            Kind::Settings => self.settings(payload)?,
            Kind::PushPromise => {
                return Err(ConnectionError::protocol("a client promises something"));
            }
            Kind::Ping if self.has(ACK) => Frame::Pong(sized(payload)?),
            Kind::Ping => Frame::Ping(sized(payload)?),
            Kind::GoAway if payload.len() < 8 => return Err(WRONG_SIZE),
            Kind::GoAway => Frame::GoAway,
            Kind::WindowUpdate => Frame::WindowUpdate {
                stream,
                by: u32::from_be_bytes(sized(payload)?) & 0x7fff_ffff,
            },
            Kind::Priority | Kind::Unknown => Frame::Ignored,
        })
    }

    /// Some kinds are of a stream, some of the connection.
    fn check_stream(self) -> Result<(), ConnectionError> {
        match (self.kind, self.stream) {
            (
                Kind::Data
                | Kind::Headers
                | Kind::Priority
                | Kind::RstStream
                | Kind::PushPromise
                | Kind::Continuation,
                0,
            ) => Err(ConnectionError::protocol("a frame of a stream has none")),
            (Kind::Settings | Kind::Ping | Kind::GoAway, 1..) => Err(ConnectionError::protocol(
                "a frame of the connection has a stream",
            )),
            _ => Ok(()),
        }
    }

    fn settings(self, payload: &[u8]) -> Result<Frame<'_>, ConnectionError> {
        match (self.has(ACK), payload.len()) {
            (true, 0) => Ok(Frame::SettingsAck),
            (false, length) if length % 6 == 0 => Ok(Frame::Settings(payload)),
            _ => Err(WRONG_SIZE),
        }
    }

    fn without_padding(self, payload: &[u8]) -> Result<&[u8], ConnectionError> {
        if !self.has(PADDED) {
            return Ok(payload);
        }
        let (&padding, rest) = payload.split_first().ok_or(WRONG_SIZE)?;
        let length = rest.len().checked_sub(padding.into());
        let inner = length.and_then(|length| rest.get(..length));
        inner.ok_or_else(|| ConnectionError::protocol("a frame has more padding than it has bytes"))
    }

    /// What a client says of priorities is ignored (RFC 9113 §5.3.2).
    fn without_priority(self, payload: &[u8]) -> Result<&[u8], ConnectionError> {
        if !self.has(WITH_PRIORITY) {
            return Ok(payload);
        }
        payload.get(PRIORITY_BYTES..).ok_or(WRONG_SIZE)
    }
}

pub(in crate::server::http2) const WRONG_SIZE: ConnectionError = ConnectionError {
    code: Code::FrameSize,
    what: "a frame does not have the size of its kind",
};

fn sized<const LENGTH: usize>(payload: &[u8]) -> Result<[u8; LENGTH], ConnectionError> {
    payload.try_into().map_err(|_other| WRONG_SIZE)
}
