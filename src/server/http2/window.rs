//! Windows (RFC 9113 §5.2, §6.9): how much may still be sent, in either direction. Pure.

use crate::server::http2::frame::MAX_PAYLOAD_BYTES;

/// What every window begins with, until somebody says otherwise (RFC 9113 §6.9.2).
pub(in crate::server::http2) const INITIAL: u32 = 65_535;

/// The largest window.
const LARGEST: i64 = (1 << 31) - 1;

/// A window beyond all bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) struct Overflow;

/// How much may be sent to the client. Below zero after a setting took away more than was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) struct Window(i64);

impl Window {
    pub(in crate::server::http2) fn new(bytes: u32) -> Self {
        Self(bytes.into())
    }

    /// Moves by so many bytes, either way.
    pub(in crate::server::http2) fn moved(self, by: i64) -> Result<Self, Overflow> {
        let moved = self.0.saturating_add(by);
        (-LARGEST..=LARGEST)
            .contains(&moved)
            .then_some(Self(moved))
            .ok_or(Overflow)
    }

    /// How much of so many bytes may be sent.
    pub(in crate::server::http2) fn admits(self, bytes: usize) -> usize {
        usize::try_from(self.0).unwrap_or_default().min(bytes)
    }

    /// So many bytes of what it admits were sent.
    #[must_use]
    pub(in crate::server::http2) fn taken(self, bytes: usize) -> Self {
        Self(self.0 - i64::try_from(bytes).unwrap_or(self.0))
    }
}

/// How much the client may send, and what of it is to be given back.
#[derive(Clone, Copy, Debug)]
pub(in crate::server::http2) struct Credit {
    size: u32,
    /// What the client may still send.
    left: u32,
    /// What has been read of it and was not given back.
    read: u32,
}

impl Credit {
    pub(in crate::server::http2) fn new(size: u32) -> Self {
        Self {
            size,
            left: size,
            read: 0,
        }
    }

    /// So many bytes have come.
    pub(in crate::server::http2) fn come(&mut self, bytes: u32) -> Result<(), Overflow> {
        self.left = self.left.checked_sub(bytes).ok_or(Overflow)?;
        Ok(())
    }

    /// So many bytes that had come were read. Gives by how much the client's window is to be
    /// opened, when that is worth a frame.
    pub(in crate::server::http2) fn read(&mut self, bytes: usize) -> Option<u32> {
        let outstanding = self.size - self.left;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.read = self.read.saturating_add(bytes).min(outstanding);
        if self.read < self.size / 2 {
            return None;
        }
        let given = std::mem::take(&mut self.read);
        self.left += given;
        Some(given)
    }
}

/// The same for the length of a piece, which is no larger than a frame.
pub(in crate::server::http2) fn piece(bytes: usize) -> usize {
    bytes.min(MAX_PAYLOAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_up_to_the_largest_and_no_further() {
        let window = Window::new(INITIAL);
        let most = LARGEST - i64::from(INITIAL);
        assert!(window.moved(most).is_ok());
        assert_eq!(window.moved(most + 1), Err(Overflow));
    }

    #[test]
    fn a_window_below_nothing_admits_nothing_until_that_is_paid_back() {
        let window = Window::new(10).taken(10).moved(-5).unwrap();
        assert_eq!(window.admits(100), 0);
        assert_eq!(window.moved(5).unwrap().admits(100), 0);
        assert_eq!(window.moved(7).unwrap().admits(100), 2);
    }

    #[test]
    fn credit_is_given_back_by_halves_and_never_beyond_its_size() {
        let mut credit = Credit::new(100);
        assert_eq!(credit.come(101), Err(Overflow));
        assert_eq!(credit.come(100), Ok(()));
        assert_eq!(credit.come(1), Err(Overflow));
        assert_eq!(credit.read(49), None);
        assert_eq!(credit.read(1000), Some(100));
        assert_eq!(credit.come(101), Err(Overflow));
        assert_eq!(credit.read(50), None);
        assert_eq!(credit.come(100), Ok(()));
    }
}
