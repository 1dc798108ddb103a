//! Ids of requests and traces. Not secrets: nothing is guarded by their being hard to guess.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::trace::{RequestId, TraceParent};

/// Where one worker's ids come from.
#[derive(Debug)]
pub(in crate::gateway) struct Ids(SmallRng);

impl Ids {
    pub(in crate::gateway) fn seeded() -> Self {
        Self(SmallRng::from_seed(random::bytes()))
    }

    /// A UUID version 7 (RFC 9562 §5.7): sorts by time.
    pub(in crate::gateway) fn request_id(&mut self, now: Timestamp) -> RequestId {
        let id = uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &self.0.random());
        RequestId::made(id.into_uuid())
    }

    /// A trace that begins here.
    pub(in crate::gateway) fn traceparent(&mut self) -> TraceParent {
        TraceParent::begin(self.0.random(), self.0.random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_have_one_id_and_it_is_a_uuid_of_version_7() {
        let mut ids = Ids::seeded();
        let mut id = || ids.request_id(Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(id().as_str().len(), 36);
        assert_eq!(id().as_bytes()[14], b'7');
        assert_ne!(id().as_str(), id().as_str());
    }
}
