//! Where the system moves nothing, there are no pipes, and nothing is ever in one.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use crate::splice::{ClearSocket, Filling};

/// No pipes.
#[derive(Clone, Debug, Default)]
pub struct Pipes(());

/// Bytes in a pipe: there are none.
#[derive(Debug)]
pub struct Piped(Infallible);

impl Pipes {
    /// Moves nothing.
    pub fn poll_fill(
        &self,
        _from: ClearSocket<'_>,
        _most: u64,
        _context: &mut Context<'_>,
    ) -> Poll<Filling> {
        Poll::Ready(Filling::Refused)
    }
}

impl Piped {
    /// How many there are.
    pub fn bytes(&self) -> usize {
        match self.0 {}
    }

    /// Moves them into a socket.
    pub fn poll_drain(
        &mut self,
        _into: ClearSocket<'_>,
        _context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}
