//! What both sides set for a connection (RFC 9113 §6.5). Pure.

use crate::server::Limits;
use crate::server::http2::frame::ConnectionError;

/// Streams of one connection at once. Mini programs have ten requests under way at most.
pub(in crate::server::http2) const MAX_STREAMS: usize = 128;

/// How much a client may send of one body, and of all on a connection together, before any of it is
/// read, in bytes: enough for a fast line with a long way.
pub(in crate::server::http2) const WINDOW_BYTES: u32 = 1024 * 1024;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// What the gate sets.
pub(in crate::server::http2) fn own(limits: &Limits) -> [u8; 18] {
    let streams = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    let bytes = u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX);
    let mut payload = [0; 18];
    let values = [
        (MAX_CONCURRENT_STREAMS, streams),
        (INITIAL_WINDOW_SIZE, WINDOW_BYTES),
        (MAX_HEADER_LIST_SIZE, bytes),
    ];
    for (six, (name, value)) in payload.chunks_exact_mut(6).zip(values) {
        let (of_name, of_value) = six.split_at_mut(2);
        of_name.copy_from_slice(&name.to_be_bytes());
        of_value.copy_from_slice(&value.to_be_bytes());
    }
    payload
}

/// A setting of the client that matters to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) enum Setting {
    TableSize(u32),
    InitialWindow(u32),
}

/// Reads the settings of a client, in their order. What nobody knows is ignored.
pub(in crate::server::http2) fn read(
    payload: &[u8],
) -> impl Iterator<Item = Result<Setting, ConnectionError>> {
    payload.chunks_exact(6).filter_map(|six| {
        let (name, value) = six.split_first_chunk()?;
        let value = u32::from_be_bytes(*value.first_chunk()?);
        match (u16::from_be_bytes(*name), value) {
            (HEADER_TABLE_SIZE, size) => Some(Ok(Setting::TableSize(size))),
            (INITIAL_WINDOW_SIZE, size @ ..=0x7fff_ffff) => Some(Ok(Setting::InitialWindow(size))),
            (INITIAL_WINDOW_SIZE, _) => Some(Err(ConnectionError::window_too_large())),
            (ENABLE_PUSH, 2..) => Some(Err(ConnectionError::protocol(
                "a setting is neither yes nor no",
            ))),
            (MAX_FRAME_SIZE, ..=16_383 | 16_777_216..) => Some(Err(ConnectionError::protocol(
                "a size of frames is none that may be",
            ))),
            _ => None,
        }
    })
}
