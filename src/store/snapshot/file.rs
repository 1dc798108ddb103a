//! The snapshot itself: all sessions that live, in sealed pieces of bounded size, and at the end how
//! many there are. Knows nothing of when it is written, or of the endings beside it.

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::crypto::seal::Sealer;
use crate::domain::clock::Timestamp;
use crate::domain::session::Lifetimes;
use crate::store::snapshot::disk::Writing;
use crate::store::snapshot::frame::{self, Identity, Kind, Refused};
use crate::store::snapshot::record::{self, MAX_RECORD_BYTES, Records};
use crate::store::users::{User, Users};

const KIND: Kind = Kind {
    magic: b"wxgate sessions\n",
    head: "wxgate snapshot head v1",
};

const PIECE: &str = "wxgate snapshot piece v1";
const END: &str = "wxgate snapshot end v1";

/// A piece is written when it has become so long: large beside what sealing and writing cost, small
/// beside the memory of the sessions.
const PIECE_BYTES: usize = 64 * 1024;

/// Which snapshot it is, and what may lie beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) identity: Identity,
    /// The snapshot since which the file of endings had all of them when this one was written. Until
    /// that file is written anew, it is the one beside this.
    pub(super) beside: Identity,
}

/// Writes all users with the sessions that live. Gives the number of sessions.
///
/// The index is copied a part at a time, so nobody waits for more than one part, and no more than one
/// part is kept twice.
pub(super) fn write(
    file: &mut dyn Writing,
    (sealer, head): (&Sealer, Head),
    users: &Users,
    (now, lifetimes): (Timestamp, &Lifetimes),
) -> io::Result<u64> {
    frame::write_head(file, KIND, sealer, &[head.identity, head.beside])?;
    let mut pieces = Pieces {
        file,
        sealer,
        identity: head.identity,
        number: 0,
        // It never grows: what is left behind by growing would not be wiped.
        text: Zeroizing::new(Vec::with_capacity(PIECE_BYTES + MAX_RECORD_BYTES)),
    };
    let mut sessions = 0;
    for part in users.parts() {
        for mut user in part {
            user.sessions
                .retain(|session| session.is_live(now, lifetimes));
            sessions += u64::try_from(user.sessions.len()).unwrap_or_default();
            pieces.put(&user)?;
        }
    }
    pieces.end(sessions)?;
    Ok(sessions)
}

struct Pieces<'a> {
    file: &'a mut dyn Writing,
    sealer: &'a Sealer,
    identity: Identity,
    number: u64,
    text: Zeroizing<Vec<u8>>,
}

impl Pieces<'_> {
    fn put(&mut self, user: &User) -> io::Result<()> {
        for part in record::parts(user) {
            record::put(&mut self.text, &part);
            if self.text.len() >= PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let place = (self.identity, self.number);
        let sealed = frame::seal(self.sealer, PIECE, place, &self.text);
        self.text.clear();
        self.number += 1;
        frame::write_piece(self.file, &sealed)
    }

    /// The last piece has the number after the others', and says how many sessions they have.
    fn end(mut self, sessions: u64) -> io::Result<()> {
        self.flush()?;
        let place = (self.identity, self.number);
        let sealed = frame::seal(self.sealer, END, place, &sessions.to_be_bytes());
        // Nothing has no length: it tells the last piece.
        frame::write_piece(self.file, &[])?;
        frame::write_piece(self.file, &sealed)
    }
}

/// Reads whose snapshot it is.
pub(super) fn read_head(file: &mut impl Read, sealer: &Sealer) -> Result<Head, Refused> {
    let [identity, beside] = frame::read_head(file, KIND, sealer)?;
    Ok(Head { identity, beside })
}

/// Reads what comes after the head, and hands users over. When it gives an error, what it handed
/// over is worth nothing. Gives the number of sessions in the file.
pub(super) fn read(
    file: &mut impl Read,
    (sealer, identity): (&Sealer, Identity),
    mut take: impl FnMut(User),
) -> Result<u64, Refused> {
    let mut records = Records::default();
    let mut sessions = 0;
    let mut number = 0;
    loop {
        let sealed = frame::read_piece(file)?;
        if sealed.is_empty() {
            break;
        }
        let text = frame::open(sealer, PIECE, (identity, number), &sealed)?;
        let mut text = text.as_slice();
        while !text.is_empty() {
            let user = records.take(&mut text).ok_or(Refused::Damaged)?;
            sessions += u64::try_from(user.sessions.len()).unwrap_or_default();
            take(user);
        }
        number += 1;
    }
    let sealed = frame::read_piece(file)?;
    let end = frame::open(sealer, END, (identity, number), &sealed)?;
    let is_all = end.as_slice() == sessions.to_be_bytes() && file.read(&mut [0])? == 0;
    is_all.then_some(sessions).ok_or(Refused::Damaged)
}
