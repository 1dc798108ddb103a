//! A gate on the thread that starts it, between neighbours who are played: no socket, no thread, no
//! machine's clock. What it is made of is what runs in earnest. For simulations, in which time stands
//! still until everybody waits.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, StartError, context, counted, share, store};
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::gateway::{Gateway, Shared};
use crate::played::Connection;
use crate::server::crew::Crew;
use crate::server::stage::Stage;
use crate::wechat::access_token::Keepers;
use crate::wechat::played::Played;

/// A gate without a machine around it.
pub struct Rehearsal {
    stages: Vec<Stage<Gateway>>,
    shared: Arc<Shared>,
    crew: Crew,
    drain: CancellationToken,
}

impl Rehearsal {
    /// A gate with this many workers, which take turns on this thread. Must be started inside a local
    /// task set.
    pub fn start(
        config: &Config,
        workers: usize,
        clock: &Clock,
        wechat: Played,
    ) -> Result<Self, StartError> {
        let (client, metrics, routes) = counted(config, clock)?;
        let client = client.with_played(wechat);
        let credentials = config.gateway.apps.iter().map(App::credential);
        let keepers = Keepers::new(&client, credentials);
        let store = store::open(config, clock)?;
        let (shared, _attempted) = share(
            config,
            (workers, store),
            (client, metrics, routes),
            (keepers, Handle::current(), clock),
        );
        let (crew, seats) = Crew::new(workers);
        let drain = CancellationToken::new();
        let context = context(&config.server, (crew.clone(), None), drain.clone());
        let stage = |seat| {
            let gateway = Gateway::new(Arc::clone(&shared), None);
            Stage::new(context.clone(), seat, Rc::new(gateway))
        };
        Ok(Self {
            stages: seats.iter().map(stage).collect(),
            shared,
            crew,
            drain,
        })
    }

    /// Has one of the workers take a connection from this address, as soon as there is a place.
    pub async fn take<C: Connection>(&self, worker: usize, connection: C, from: SocketAddr) {
        if let Some(stage) = self.stages.get(worker % self.stages.len().max(1)) {
            stage.take(connection, from).await;
        }
    }

    /// Clears a part of the store of what has run out.
    pub fn sweep(&self) {
        let lifetimes = self.shared.settings.load().session.lifetimes;
        self.shared.store.sweep(self.shared.clock.now(), &lifetimes);
    }

    /// Asks every connection to end when what is under way is over.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Connections of clients that are open.
    pub fn connections(&self) -> usize {
        self.crew.connections()
    }

    /// Sessions that are kept, such as have run out among them.
    pub fn sessions(&self) -> u64 {
        let census = self.shared.store.census();
        census.into_iter().map(|(_app, sessions)| sessions).sum()
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rehearsal(..)")
    }
}
