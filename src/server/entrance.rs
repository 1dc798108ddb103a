//! What happens to a connection between its accepting and the first byte of HTTP: it takes a place, a
//! proxy says whose it is, and it becomes an encrypted one. Knows nothing of what is said over it
//! afterwards.

use std::rc::Rc;
use std::time::Duration;

use crate::domain::peer::{Address, Peer, Scheme, TrustedProxies};
use crate::server::capacity::Place;
use crate::server::crew::LiveGuard;
use crate::server::proxy_protocol::Told;
use crate::server::state::{Registration, State};

/// How long a connection may still take to come about when the process ends: some round trips of a
/// phone. One that says nothing must not hold up the end.
const LATE: Duration = Duration::from_secs(2);

/// A connection that has its place, before anything has been said on it. It gives all up when it is
/// dropped.
#[derive(Debug)]
pub(in crate::server) struct Entry {
    pub(in crate::server) state: Rc<State>,
    pub(in crate::server) registration: Registration,
    pub(in crate::server) held: (Place, LiveGuard),
}

impl Entry {
    /// Does something before HTTP; `None` when the connection has to make room for another one
    /// meanwhile, or the process ends and it takes long.
    pub(in crate::server) async fn unless_asked_to_go<T>(
        &self,
        doing: impl Future<Output = T>,
    ) -> Option<T> {
        // That the end is asked for is not used up by hearing it here: who speaks HTTP hears it too.
        tokio::select! {
            biased;
            done = doing => Some(done),
            () = self.asked_to_go() => None,
        }
    }

    async fn asked_to_go(&self) {
        self.state.retired().await;
        if self.state.is_draining() {
            tokio::time::sleep(LATE).await;
        }
    }
}

/// Between whom a connection is, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Ends {
    pub(in crate::server) from: Address,
    /// The port that was connected to; none on a unix socket.
    pub(in crate::server) local_port: Option<u16>,
    /// Whether somebody else may be behind the address, who must not be taken for its owner.
    hidden: bool,
}

impl Ends {
    /// As the connection shows them.
    pub(in crate::server) fn new(from: Address, local_port: Option<u16>) -> Self {
        Self {
            from,
            local_port,
            hidden: false,
        }
    }

    /// As the proxy says that the connection is from.
    pub(in crate::server) fn told(self, told: Told) -> Self {
        match told {
            Told::Client { from, local_port } => Self::new(Address::from(from), Some(local_port)),
            // The proxy's own address stays, without the trust: a client of which it knows no
            // address could claim any in X-Forwarded-For.
            Told::Nothing => Self {
                hidden: true,
                ..self
            },
        }
    }

    /// The peer of all requests.
    pub(in crate::server) fn peer(&self, scheme: Scheme, trusted: &TrustedProxies) -> Peer {
        if self.hidden {
            let nobody = TrustedProxies::default();
            return Peer::new(self.from, scheme, self.local_port, &nobody);
        }
        Peer::new(self.from, scheme, self.local_port, trusted)
    }
}
