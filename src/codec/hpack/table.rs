//! The tables of HPACK (RFC 7541 §2.3): the fixed one, and the one that grows with what was said.
//! An entry is kept as the line that it will be written as.

use std::collections::VecDeque;

use crate::codec::hpack::kind::Kind;

/// What an entry counts for beside its bytes (RFC 7541 §4.1).
const ENTRY_BYTES: usize = 32;

/// RFC 7541 appendix A, in its order.
pub(in crate::codec::hpack) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// An entry of the growing table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its line begins.
    from: usize,
    name: usize,
    value: usize,
    /// What it counts for.
    size: usize,
    kind: Kind,
}

/// A field of a table.
#[derive(Clone, Copy, Debug)]
pub(in crate::codec::hpack) struct Known<'a> {
    /// Name, colon, space, value, line end.
    pub(in crate::codec::hpack) line: &'a [u8],
    pub(in crate::codec::hpack) name: usize,
    pub(in crate::codec::hpack) value: usize,
    pub(in crate::codec::hpack) kind: Kind,
}

/// The table that grows with what was said. Has no memory before something is put there.
#[derive(Debug)]
pub(in crate::codec::hpack) struct Table {
    /// The lines of the entries, the oldest first; before them those of some that are gone.
    lines: Vec<u8>,
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
}

impl Table {
    pub(in crate::codec::hpack) fn new(max_size: usize) -> Self {
        Self {
            lines: Vec::new(),
            entries: VecDeque::new(),
            size: 0,
            max_size,
        }
    }

    /// The entry of this number, the youngest being 0.
    pub(in crate::codec::hpack) fn get(&self, number: usize) -> Option<Known<'_>> {
        let from_oldest = self.entries.len().checked_sub(number)?.checked_sub(1)?;
        let entry = self.entries.get(from_oldest)?;
        let length = entry.name + entry.value + super::LINE_BYTES;
        Some(Known {
            line: self.lines.get(entry.from..entry.from + length)?,
            name: entry.name,
            value: entry.value,
            kind: entry.kind,
        })
    }

    /// Puts a field there, and whatever has to go for it goes; one that is too large leaves nothing
    /// (RFC 7541 §4.4). Name and value were `said` in so many bytes, white space included.
    pub(in crate::codec::hpack) fn insert(&mut self, known: Known<'_>, said: usize) {
        let size = said + ENTRY_BYTES;
        self.shrink_to(self.max_size.saturating_sub(size));
        if size > self.max_size {
            return;
        }
        if self.lines.len() + known.line.len() > 2 * self.max_size {
            self.forget_lines();
        }
        self.entries.push_back(Entry {
            from: self.lines.len(),
            name: known.name,
            value: known.value,
            size,
            kind: known.kind,
        });
        self.lines.extend_from_slice(known.line);
        self.size += size;
    }

    /// RFC 7541 §4.3.
    pub(in crate::codec::hpack) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.shrink_to(max_size);
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size
            && let Some(gone) = self.entries.pop_front()
        {
            self.size -= gone.size;
        }
        if self.entries.is_empty() {
            self.lines.clear();
        }
    }

    /// Lets go of the lines of entries that are gone.
    fn forget_lines(&mut self) {
        let first = self
            .entries
            .front()
            .map_or(self.lines.len(), |entry| entry.from);
        self.lines.drain(..first);
        for entry in &mut self.entries {
            entry.from -= first;
        }
    }

    #[cfg(test)]
    pub(in crate::codec::hpack) fn size(&self) -> usize {
        self.size
    }

    #[cfg(test)]
    pub(in crate::codec::hpack) fn memory(&self) -> usize {
        self.lines.len()
    }
}
