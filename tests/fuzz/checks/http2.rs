//! Whatever a client sends over HTTP/2: frames, the header blocks in them, and the requests in those.
//! Nothing may panic, and what is taken for a request has a form that HTTP/1 could say as well.
//!
//! Input: frames, without the preface.

use wxgate::codec::hpack::{Block, BlockLimits, Decoder};
use wxgate::server::http2::frame::{Frame, HEAD_BYTES, Head};
use wxgate::server::http2::head;

const LIMITS: BlockLimits = BlockLimits {
    bytes: 4096,
    fields: 64,
};

pub(crate) fn check(input: &[u8]) {
    let mut rest = input;
    let mut decoder = Decoder::default();
    let mut block = Block::default();
    while let Ok(Some(head)) = Head::read(rest) {
        let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.length) else {
            return;
        };
        rest = &rest[HEAD_BYTES + head.length..];
        let Ok(frame) = head.frame(payload) else {
            return;
        };
        let (Frame::Headers { fragment, .. } | Frame::Continuation { fragment, .. }) = frame else {
            continue;
        };
        block.clear();
        if decoder.decode(fragment.bytes, &mut block, LIMITS).is_err() {
            return;
        }
        assert!(block.lines.len() <= LIMITS.bytes && block.fields.len() <= LIMITS.fields);
        drop(head::read_trailers(&block));
        let Ok(received) = head::read(&mut block) else {
            continue;
        };
        let target = received.head.uri.path_and_query();
        assert!(target.is_none_or(|target| !target.as_str().contains(['#', ' ', '\r', '\n'])));
        let mut lines = Vec::new();
        received.head.fields.write(&mut lines, |_| false);
        for field in received.head.fields.iter() {
            assert!(!field.name().is_empty() && !field.name().contains(&b':'));
            assert!(
                !field
                    .value()
                    .iter()
                    .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
            );
        }
        let ends = lines.windows(2).filter(|two| two == b"\r\n").count();
        assert_eq!(ends, received.head.fields.len());
    }
}
