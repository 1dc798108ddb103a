//! A worker that is handed its connections instead of accepting them: by a simulation, which has no
//! sockets to listen on. What is said over them is served as ever.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::domain::peer::Address;
use crate::played::Connection;
use crate::server::connection::Handler;
use crate::server::crew::Seat;
use crate::server::entrance::Ends;
use crate::server::socket::Socket;
use crate::server::worker::{Context, Worker};

/// A worker that is handed its connections.
pub struct Stage<H>(Rc<Worker<H>>);

impl<H: Handler> Stage<H> {
    /// Of this worker. Must be made inside a local task set.
    pub fn new(context: Context, seat: &Seat, handler: Rc<H>) -> Self {
        let worker = Worker::new(context, seat, handler);
        tokio::task::spawn_local(Rc::clone(&worker).tend());
        Self(worker)
    }

    /// Takes a connection from this address, as soon as there is a place for it.
    pub async fn take<C: Connection>(&self, connection: C, from: SocketAddr) {
        let ends = Ends::new(Address::from(from.ip()), None);
        let entry = self.0.enter().await;
        self.0.speak_clear(connection, ends, entry);
    }
}

impl<C: Connection> Socket for C {
    const CLOSE_IS_GOODBYE: bool = true;

    fn break_off(&self) {
        Connection::break_off(self);
    }
}

impl<H> fmt::Debug for Stage<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage(..)")
    }
}
