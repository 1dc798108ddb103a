//! Pipes, each of them either empty and on the shelf, or in the hands of whoever is to write out what
//! it holds. Bytes are moved into empty ones only, and out of one until it is empty. So there is
//! never a doubt about who made wait: a pipe that bytes are moved into is not full, and one that they
//! are moved out of is not empty. It was the socket.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use tokio::io::Interest;

use crate::splice::{ClearSocket, Filling};

/// What a pipe is to hold, in bytes. With 64 KiB it saves a sixth of what an upload costs by copying,
/// with this six tenths, with more no more. The system counts in pages, and a packet from the network
/// may take one however short it is.
const PIPE_BYTES: usize = 256 * 1024;

/// What it must hold, in bytes. The system refuses size to a user who has many pipes, and gives him
/// tiny ones in the end.
const MIN_PIPE_BYTES: usize = 64 * 1024;

/// Pipes of one worker. One is held only while an app server does not take what it holds, and each
/// costs two descriptors.
const MAX_PIPES: usize = 16;

/// Empty pipes that are kept.
const MAX_SPARE_PIPES: usize = 4;

/// Without waiting, and with the pages themselves.
const HOW: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// The pipes of one worker. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Pipes(Rc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    empty: RefCell<Vec<Pipe>>,
    /// Pipes that there are, on the shelf or not.
    made: Cell<usize>,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// Bytes in a pipe, which wait to be written. The pipe goes back when it is empty. One that holds
/// bytes nobody wants any more is closed.
#[derive(Debug)]
pub struct Piped {
    /// There until it is dropped.
    pipe: Option<Pipe>,
    bytes: usize,
    shelf: Rc<Shelf>,
}

impl Pipes {
    /// Moves up to `most` bytes out of a socket, as soon as some have come.
    pub fn poll_fill(
        &self,
        from: ClearSocket<'_>,
        most: u64,
        context: &mut Context<'_>,
    ) -> Poll<Filling> {
        loop {
            if ready!(from.poll_read_ready(context)).is_err() {
                return Poll::Ready(Filling::Refused);
            }
            let Some(mut piped) = self.take() else {
                return Poll::Ready(Filling::Refused);
            };
            match piped.fill(from, most) {
                Ok(0) => return Poll::Ready(Filling::Closed),
                Ok(_some) => return Poll::Ready(Filling::Moved(piped)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Whoever reads now learns what is the matter.
                Err(_error) => return Poll::Ready(Filling::Refused),
            }
        }
    }

    /// An empty pipe, if there is or can be one.
    fn take(&self) -> Option<Piped> {
        let spare = self.0.empty.borrow_mut().pop();
        Some(Piped {
            pipe: Some(spare.or_else(|| self.0.make())?),
            bytes: 0,
            shelf: Rc::clone(&self.0),
        })
    }
}

impl Shelf {
    fn make(&self) -> Option<Pipe> {
        if self.made.get() >= MAX_PIPES {
            return None;
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // It is the size that counts, and not whether somebody changed it.
        let _refused = fcntl_setpipe_size(&writer, PIPE_BYTES);
        let size = fcntl_getpipe_size(&writer).ok()?;
        if size < MIN_PIPE_BYTES {
            return None;
        }
        self.made.set(self.made.get() + 1);
        Some(Pipe { reader, writer })
    }

    fn put_back(&self, pipe: Pipe, is_empty: bool) {
        let mut empty = self.empty.borrow_mut();
        if is_empty && empty.len() < MAX_SPARE_PIPES {
            empty.push(pipe);
        } else {
            self.made.set(self.made.get() - 1);
        }
    }
}

impl Piped {
    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves them into a socket, as it takes them; ready when all are.
    pub fn poll_drain(
        &mut self,
        into: ClearSocket<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            ready!(into.poll_write_ready(context))?;
            match self.drain(into) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(moved) => self.bytes = self.bytes.saturating_sub(moved),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fill(&mut self, from: ClearSocket<'_>, most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE_BYTES);
        let into = &self.pipe()?.writer;
        let moved = from.try_io(Interest::READABLE, |socket| {
            splice(socket, into.as_fd(), most)
        })?;
        self.bytes = moved;
        Ok(moved)
    }

    fn drain(&self, into: ClearSocket<'_>) -> io::Result<usize> {
        let from = &self.pipe()?.reader;
        into.try_io(Interest::WRITABLE, |socket| {
            splice(from.as_fd(), socket, self.bytes)
        })
    }

    fn pipe(&self) -> io::Result<&Pipe> {
        let pipe = self.pipe.as_ref();
        pipe.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.shelf.put_back(pipe, self.bytes == 0);
        }
    }
}

fn splice(from: BorrowedFd<'_>, into: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    Ok(rustix::pipe::splice(from, None, into, None, most, HOW)?)
}

impl ClearSocket<'_> {
    fn poll_read_ready(self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(context),
            Self::Unix(socket) => socket.poll_read_ready(context),
        }
    }

    fn poll_write_ready(self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_write_ready(context),
            Self::Unix(socket) => socket.poll_write_ready(context),
        }
    }

    fn try_io(
        self,
        interest: Interest,
        act: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_io(interest, || act(socket.as_fd())),
            Self::Unix(socket) => socket.try_io(interest, || act(socket.as_fd())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    async fn fill(pipes: &Pipes, from: &UnixStream, most: u64) -> Filling {
        poll_fn(|context| pipes.poll_fill(ClearSocket::Unix(from), most, context)).await
    }

    /// What is moved of this to one who has it to say.
    async fn moved(pipes: &Pipes, said: &[u8], most: u64) -> Piped {
        let (mut client, gate) = UnixStream::pair().unwrap();
        client.write_all(said).await.unwrap();
        match fill(pipes, &gate, most).await {
            Filling::Moved(piped) => piped,
            other => panic!("{other:?}"),
        }
    }

    fn counts(pipes: &Pipes) -> (usize, usize) {
        (pipes.0.made.get(), pipes.0.empty.borrow().len())
    }

    #[tokio::test]
    async fn no_more_is_moved_than_was_asked_for() {
        let pipes = Pipes::default();
        let (mut client, mut gate) = UnixStream::pair().unwrap();
        client
            .write_all(b"body, and what comes next")
            .await
            .unwrap();
        let Filling::Moved(piped) = fill(&pipes, &gate, 4).await else {
            panic!("nothing was moved");
        };
        assert_eq!(piped.bytes(), 4);
        drop(client);
        let mut rest = String::new();
        gate.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, ", and what comes next");
    }

    #[tokio::test]
    async fn a_pipe_in_which_something_is_left_is_closed_and_an_empty_one_used_again() {
        let pipes = Pipes::default();
        drop(moved(&pipes, b"unwanted", 100).await);
        assert_eq!(counts(&pipes), (0, 0));

        let mut piped = moved(&pipes, b"wanted", 100).await;
        let (gate, mut app) = UnixStream::pair().unwrap();
        let drained = poll_fn(|context| piped.poll_drain(ClearSocket::Unix(&gate), context));
        drained.await.unwrap();
        assert_eq!(piped.bytes(), 0);
        drop((piped, gate));
        let mut arrived = String::new();
        app.read_to_string(&mut arrived).await.unwrap();
        assert_eq!(arrived, "wanted");
        assert_eq!(counts(&pipes), (1, 1));
        let _another = moved(&pipes, b"more", 100).await;
        assert_eq!(counts(&pipes), (1, 0));
    }

    #[tokio::test]
    async fn one_who_has_closed_and_one_who_says_nothing_are_told_apart_and_take_no_pipe() {
        let pipes = Pipes::default();
        let (mut client, gate) = UnixStream::pair().unwrap();
        // What is read to its last byte still counts as readable, so that a pipe is taken for nothing.
        client.write_all(b"x").await.unwrap();
        gate.readable().await.unwrap();
        assert_eq!(gate.try_read(&mut [0]).unwrap(), 1);
        let mut silent = std::pin::pin!(fill(&pipes, &gate, 100));
        let looked = poll_fn(|context| Poll::Ready(silent.as_mut().poll(context).is_pending()));
        assert!(looked.await);
        assert_eq!(counts(&pipes), (1, 1));
        drop(client);
        assert!(matches!(silent.await, Filling::Closed));
        assert_eq!(counts(&pipes), (1, 1));
    }

    #[tokio::test]
    async fn there_are_so_many_pipes_and_then_bytes_are_read() {
        let pipes = Pipes::default();
        let mut full = Vec::new();
        for _ in 0..MAX_PIPES {
            full.push(moved(&pipes, b"held", 100).await);
        }
        let (mut client, mut gate) = UnixStream::pair().unwrap();
        client.write_all(b"read").await.unwrap();
        assert!(matches!(fill(&pipes, &gate, 4).await, Filling::Refused));
        let mut read = [0; 4];
        gate.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"read");
        full.pop();
        drop(moved(&pipes, b"moved", 100).await);
    }
}
