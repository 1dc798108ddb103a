//! How both files begin and are put together: a line that says what the file is, then sealed pieces.
//! Each piece is sealed for its place, so that none can be left out, moved, or taken from another file.
//! Knows nothing of what the pieces say.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use crate::crypto::random;
use crate::crypto::seal::{OpenError, Place, Sealer};

/// The format of both files. Another is refused.
const FORMAT: u8 = 1;

/// Longest piece, sealed. What says that it is longer is not of this gate.
const MAX_PIECE_BYTES: u32 = 1024 * 1024;

const IDENTITY_BYTES: usize = 16;

/// Which snapshot something belongs to. Drawn at random for each, whatever comes of it: two that were
/// made of one have nothing in common, as little as those of two gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity([u8; IDENTITY_BYTES]);

impl Identity {
    pub(super) fn draw() -> Self {
        Self(random::bytes())
    }
}

/// What one of the files is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The line that it begins with.
    pub(super) magic: &'static [u8],
    /// What its head is, for the seal.
    pub(super) head: &'static str,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Endings are missing that came before this snapshot, or after it.
    #[error(
        "the file of endings beside it does not belong to it: one of them is missing, or was put back \
         from a copy"
    )]
    Apart,
    /// It was changed, cut short or put together of several.
    #[error("it is damaged")]
    Damaged,
    /// It is something else.
    #[error("it is no file of this gate")]
    Foreign,
    /// Another version of the gate wrote it.
    #[error("it is of format {0}, and this version knows {FORMAT} only")]
    Format(u8),
    /// Everybody could have had it, or put it there.
    #[error("others may read or write it (mode {0:o}, expected 600)")]
    Mode(u32),
    /// A directory or the like.
    #[error("it is not a file")]
    NotAFile,
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// Neither `seal_key` nor `previous_seal_key` is the key.
    #[error("it was encrypted under another key than store.seal_key and store.previous_seal_key")]
    UnknownKey,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Whoever reads knows how much there must be.
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Read(error),
        }
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        match error {
            // The format of the file says which seal there is.
            OpenError::Damaged | OpenError::Foreign => Self::Damaged,
            OpenError::UnknownKey => Self::UnknownKey,
        }
    }
}

/// Writes the beginning of a file.
pub(super) fn write_head(
    file: &mut (impl Write + ?Sized),
    kind: Kind,
    sealer: &Sealer,
    identities: &[Identity],
) -> io::Result<()> {
    file.write_all(kind.magic)?;
    file.write_all(&[FORMAT])?;
    let place = Place {
        what: kind.head,
        whereabouts: &[],
    };
    let text: Vec<_> = identities.iter().flat_map(|one| one.0).collect();
    write_piece(file, &sealer.seal(place, &text))
}

/// Reads the beginning of a file.
pub(super) fn read_head<const N: usize>(
    file: &mut impl Read,
    kind: Kind,
    sealer: &Sealer,
) -> Result<[Identity; N], Refused> {
    let mut magic = vec![0; kind.magic.len()];
    let began = file.read_exact(&mut magic);
    if began.is_err() || magic != kind.magic {
        return Err(Refused::Foreign);
    }
    let mut format = [0];
    file.read_exact(&mut format)?;
    let [format] = format;
    if format != FORMAT {
        return Err(Refused::Format(format));
    }
    let place = Place {
        what: kind.head,
        whereabouts: &[],
    };
    let head = sealer.open(place, &read_piece(file)?)?;
    let (identities, rest) = head.as_chunks();
    let identities: Vec<_> = identities.iter().map(|bytes| Identity(*bytes)).collect();
    match <[Identity; N]>::try_from(identities) {
        Ok(identities) if rest.is_empty() => Ok(identities),
        _ => Err(Refused::Damaged),
    }
}

/// Writes a piece behind its length.
pub(super) fn write_piece(file: &mut (impl Write + ?Sized), sealed: &[u8]) -> io::Result<()> {
    let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(sealed)
}

/// Reads a piece.
pub(super) fn read_piece(file: &mut impl Read) -> Result<Vec<u8>, Refused> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_PIECE_BYTES {
        return Err(Refused::Damaged);
    }
    let mut sealed = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact(&mut sealed)?;
    Ok(sealed)
}

/// Seals the piece of this number.
pub(super) fn seal(
    sealer: &Sealer,
    what: &'static str,
    (identity, number): (Identity, u64),
    text: &[u8],
) -> Vec<u8> {
    let whereabouts: &[&[u8]] = &[&identity.0, &number.to_be_bytes()];
    sealer.seal(Place { what, whereabouts }, text)
}

/// Opens the piece of this number.
pub(super) fn open(
    sealer: &Sealer,
    what: &'static str,
    (identity, number): (Identity, u64),
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let whereabouts: &[&[u8]] = &[&identity.0, &number.to_be_bytes()];
    Ok(sealer.open(Place { what, whereabouts }, sealed)?)
}
