//! What the workers know of each other: how many connections each has, and a way to hand a new one
//! on to a worker that has far fewer. The kernel spreads connections by chance, and chance is not
//! even.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Connections handed on that a worker has not taken yet.
const MAX_HANDED_ON: usize = 64;

/// Connections that a worker may have over twice the mean before it hands new ones on.
const SLACK: usize = 8;

/// A connection on its way to another worker.
#[derive(Debug)]
pub(in crate::server) struct HandedOn {
    pub(in crate::server) socket: std::net::TcpStream,
    pub(in crate::server) from: SocketAddr,
    pub(in crate::server) local_port: Option<u16>,
}

/// What the workers know of each other.
#[derive(Clone, Debug)]
pub struct Crew(Arc<[Member]>);

/// One worker, as the others see it.
#[derive(Debug)]
pub(in crate::server) struct Member {
    connections: Arc<AtomicUsize>,
    pub(in crate::server) inbox: mpsc::Sender<HandedOn>,
}

/// What one worker alone has of the crew.
#[derive(Debug)]
pub struct Seat {
    pub(in crate::server) index: usize,
    pub(in crate::server) inbox: mpsc::Receiver<HandedOn>,
}

impl Crew {
    /// A crew of this many workers, and the seat of each.
    pub fn new(workers: usize) -> (Self, Vec<Seat>) {
        let (members, seats) = (0..workers)
            .map(|index| {
                let (sender, inbox) = mpsc::channel(MAX_HANDED_ON);
                let member = Member {
                    connections: Arc::default(),
                    inbox: sender,
                };
                (member, Seat { index, inbox })
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        (Self(members.into()), seats)
    }

    /// Connections that are open, over all workers, tunnels included.
    pub fn connections(&self) -> usize {
        self.0.iter().map(Member::count).sum()
    }

    fn connections_of(&self, index: usize) -> usize {
        self.0.get(index).map_or(0, Member::count)
    }

    /// Counts a connection of this worker, until the guard is dropped.
    pub(in crate::server) fn enter(&self, index: usize) -> LiveGuard {
        let count = self
            .0
            .get(index)
            .map(|member| Arc::clone(&member.connections));
        let count = count.unwrap_or_default();
        count.fetch_add(1, Ordering::Relaxed);
        LiveGuard(count)
    }

    /// Who should take a new connection instead of this worker, if anybody should.
    pub(in crate::server) fn relief(&self, index: usize) -> Option<&Member> {
        let mine = self.connections_of(index);
        let mean = self.connections() / self.0.len().max(1);
        if mine <= 2 * mean + SLACK {
            return None;
        }
        self.0.iter().min_by_key(|member| member.count())
    }
}

impl Member {
    fn count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// One open connection in the count of its worker.
#[derive(Debug)]
pub(in crate::server) struct LiveGuard(Arc<AtomicUsize>);

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
