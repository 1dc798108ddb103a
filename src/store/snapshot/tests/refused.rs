//! Files that are not believed: the gate has no sessions then, and the files are kept.

use super::*;

/// Whether the next life has no sessions, with these files, and keeps the snapshot aside.
#[track_caller]
fn refused(place: &Place, what: &str) {
    let snapshot = fs::read(place.file()).unwrap();
    let life = place.open();
    assert_eq!(life.store.len(), 0, "{what}");
    assert!(!place.file().exists(), "{what}");
    assert!(
        fs::read(place.beside(REFUSED)).unwrap() == snapshot,
        "{what}"
    );
    // And goes on.
    life.login("z", 99);
    life.stop();
    assert_eq!(place.found([99]), [99].into(), "{what}");
    fs::remove_file(place.file()).unwrap();
}

/// Whether the files are not believed; without what comes of it.
fn is_refused(place: &Place) -> bool {
    let store = MemoryStore::new(ROOM);
    let sealer = Sealer::new(&place.keys);
    load(&place.file(), &sealer, &store, (NOW, &LIFETIMES)).is_err()
}

/// Puts files there as they were.
fn put(place: &Place, snapshot: &[u8], endings: &[u8]) {
    for (path, bytes) in [(place.file(), snapshot), (place.beside(ENDED), endings)] {
        let mut file = Real.create(&path).unwrap();
        file.write_all(bytes).unwrap();
    }
}

fn files(place: &Place) -> (Vec<u8>, Vec<u8>) {
    let read = |path| fs::read(path).unwrap();
    (read(place.file()), read(place.beside(ENDED)))
}

/// A snapshot of session 1 to 3, of which 1 and 2 have ended since.
async fn prepared(place: &Place) -> (Vec<u8>, Vec<u8>) {
    place.prepare(&[("a", 1), ("b", 2), ("c", 3)]);
    let life = place.open();
    for number in [1, 2] {
        assert_eq!(life.end(number).landed().await, Ended::Everywhere);
    }
    drop(life);
    files(place)
}

#[tokio::test]
async fn a_snapshot_that_was_changed_or_cut_short_anywhere_is_refused() {
    let place = Place::new();
    let (snapshot, endings) = prepared(&place).await;
    for position in 0..snapshot.len() {
        let mut changed = snapshot.clone();
        changed[position] ^= 0x10;
        put(&place, &changed, &endings);
        assert!(is_refused(&place), "changed at {position}");
        put(&place, &snapshot[..position], &endings);
        assert!(is_refused(&place), "cut at {position}");
    }
    refused(&place, "the last of them");
    put(&place, &[&snapshot[..], b"x"].concat(), &endings);
    refused(&place, "longer");
    put(&place, &snapshot, &endings);
    assert_eq!(place.found([1, 2, 3]), [3].into());
}

#[tokio::test]
async fn endings_that_were_changed_anywhere_have_the_snapshot_refused() {
    let place = Place::new();
    let (snapshot, endings) = prepared(&place).await;
    for position in 0..endings.len() {
        let mut changed = endings.clone();
        changed[position] ^= 0x10;
        put(&place, &snapshot, &changed);
        assert!(is_refused(&place), "changed at {position}");
    }
    refused(&place, "the last of them");
    let entry = endings::ENTRY_BYTES;
    let first = endings.len() - 2 * entry;
    for position in 0..first {
        put(&place, &snapshot, &endings[..position]);
        assert!(is_refused(&place), "cut at {position}");
    }
    // Without the first of two.
    put(
        &place,
        &snapshot,
        &[&endings[..first], &endings[first + entry..]].concat(),
    );
    refused(&place, "one left out");
}

#[tokio::test]
async fn an_ending_that_was_being_written_is_left_out_and_those_before_it_hold() {
    let place = Place::new();
    let (snapshot, endings) = prepared(&place).await;
    let entry = endings::ENTRY_BYTES;
    for missing in 1..=entry {
        put(&place, &snapshot, &endings[..endings.len() - missing]);
        assert_eq!(place.found([1, 2, 3]), [2, 3].into(), "{missing}");
        assert!(!place.beside(REFUSED).exists(), "{missing}");
    }
}

#[tokio::test]
async fn an_ending_that_did_not_come_to_the_disk_is_left_out_and_zeros_hide_nothing_else() {
    let place = Place::new();
    let (snapshot, endings) = prepared(&place).await;
    let entry = endings::ENTRY_BYTES;
    let zeros = |from: usize, length: usize| {
        let mut zeroed = endings.clone();
        zeroed.resize(endings.len().max(from + length), 0);
        zeroed[from..from + length].fill(0);
        zeroed
    };
    // Behind what is there, and in the place of the last one or a part of it.
    for length in [1, entry - 1, entry, entry + 1, 100 * entry] {
        put(&place, &snapshot, &zeros(endings.len(), length));
        assert_eq!(place.found([1, 2, 3]), [3].into(), "{length}");
    }
    for missing in [16, 17, entry] {
        let from = endings.len() - missing;
        put(&place, &snapshot, &zeros(from, missing + entry));
        assert_eq!(place.found([1, 2, 3]), [2, 3].into(), "{missing}");
    }
    // An ending behind them was told.
    put(&place, &snapshot, &zeros(endings.len() - 2 * entry, entry));
    refused(&place, "the first of two");
    put(&place, &snapshot, &zeros(endings.len() - 15, 15));
    refused(&place, "a part of a tag");
    put(
        &place,
        &snapshot,
        &[&zeros(endings.len(), entry)[..], &[1; 200]].concat(),
    );
    refused(&place, "something behind zeros");
}

#[tokio::test]
async fn a_snapshot_without_its_endings_is_refused() {
    let place = Place::new();
    let (snapshot, endings) = prepared(&place).await;
    fs::remove_file(place.beside(ENDED)).unwrap();
    refused(&place, "none");

    let other = Place::new();
    let (_, others) = prepared(&other).await;
    put(&place, &snapshot, &others);
    refused(&place, "of another gate");

    put(&place, &snapshot, &endings);
    place.prepare(&[("d", 4)]);
    let (_, later) = files(&place);
    put(&place, &snapshot, &later);
    refused(&place, "since a later snapshot");
}

#[tokio::test]
async fn endings_from_before_the_last_snapshot_alone_are_refused() {
    let place = Place::new();
    let (_, old) = prepared(&place).await;
    for number in [4, 5] {
        place.prepare(&[("d", number)]);
        let life = place.open();
        assert_eq!(life.end(number).landed().await, Ended::Everywhere);
        drop(life);
    }
    let (snapshot, _) = files(&place);
    put(&place, &snapshot, &old);
    refused(&place, "two snapshots old");
}

#[tokio::test]
async fn of_two_snapshots_made_of_one_neither_takes_the_others_endings() {
    let place = Place::new();
    place.prepare(&[("a", 1), ("b", 2)]);
    let (snapshot, endings) = files(&place);
    place.prepare(&[("c", 3)]);
    let (one, _) = files(&place);
    put(&place, &snapshot, &endings);
    let life = place.open();
    assert_eq!(life.end(2).landed().await, Ended::Everywhere);
    life.stop();
    let (_, others) = files(&place);
    put(&place, &one, &others);
    refused(&place, "of another branch");
}

#[tokio::test]
async fn pieces_that_were_moved_or_left_out_are_found_out() {
    let place = Place::new();
    let names: Vec<_> = (0..2000)
        .map(|number| (number.to_string(), number))
        .collect();
    let life = place.open();
    for (name, number) in &names {
        life.login(name, *number);
    }
    life.stop();
    let (snapshot, endings) = files(&place);
    let mut rest = snapshot.as_slice();
    let mut pieces = Vec::new();
    // Behind the line and the format.
    let begin = b"wxgate sessions\n".len() + 1;
    rest = &rest[begin..];
    while let Some((length, _)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let (piece, left) = rest.split_at(4 + length);
        pieces.push(piece);
        rest = left;
    }
    // The head, several pieces, the mark of the end, the end.
    assert!(pieces.len() > 5, "{}", pieces.len());
    let with = |pieces: &[&[u8]]| [&snapshot[..begin], &pieces.concat()].concat();
    let mut swapped = pieces.clone();
    swapped.swap(1, 2);
    put(&place, &with(&swapped), &endings);
    refused(&place, "swapped");
    for index in 1..pieces.len() {
        let mut fewer = pieces.clone();
        fewer.remove(index);
        put(&place, &with(&fewer), &endings);
        refused(&place, "left out");
        let mut more = pieces.clone();
        more.insert(index, pieces[index]);
        put(&place, &with(&more), &endings);
        refused(&place, "twice");
    }
    put(&place, &snapshot, &endings);
    assert_eq!(place.open().store.len(), 2000);
}

#[tokio::test]
async fn a_snapshot_under_an_unknown_key_is_refused_and_so_says_the_reason() {
    let mut place = Place::new();
    prepared(&place).await;
    place.keys = keys(2, Some(3));
    let sealer = Sealer::new(&place.keys);
    let store = MemoryStore::new(ROOM);
    let why = load(&place.file(), &sealer, &store, (NOW, &LIFETIMES)).err();
    assert!(matches!(why.unwrap().why, Refused::UnknownKey));
    refused(&place, "key");
}

#[cfg(unix)]
#[tokio::test]
async fn files_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let (snapshot, endings) = prepared(&place).await;
    for file in [place.file(), place.beside(ENDED)] {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            put(&place, &snapshot, &endings);
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            refused(&place, &format!("{mode:o}"));
        }
    }
}

#[test]
fn another_format_and_what_is_no_snapshot_are_told_apart() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let (mut snapshot, endings) = files(&place);
    let sealer = Sealer::new(&place.keys);
    let store = MemoryStore::new(ROOM);
    let why = || {
        let why = load(&place.file(), &sealer, &store, (NOW, &LIFETIMES)).err();
        why.unwrap().why.to_string()
    };
    snapshot[16] = 2;
    put(&place, &snapshot, &endings);
    assert_eq!(why(), "it is of format 2, and this version knows 1 only");
    put(&place, b"something else altogether", &endings);
    assert_eq!(why(), "it is no file of this gate");
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    assert_eq!(why(), "it is not a file");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_keeps_the_gate_from_starting_and_is_not_touched() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let target = place.folder.path().join("target");
    for file in [place.file(), place.beside(ENDED), place.beside(LOCK)] {
        fs::rename(&file, &target).unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        let refused = place.try_open().unwrap_err();
        assert!(
            refused.to_string().contains("is no regular file"),
            "{refused}"
        );
        assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
        fs::rename(&target, &file).unwrap();
    }
    assert_eq!(place.found([1]), [1].into());
}

#[test]
fn what_cannot_be_read_keeps_the_gate_from_starting_and_is_not_renamed() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let unreadable = RefusedFile {
        path: place.beside(ENDED),
        why: Refused::Read(io::ErrorKind::PermissionDenied.into()),
    };
    let refused = set_aside(&place.file(), unreadable).unwrap_err();
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
    assert_eq!(place.found([1]), [1].into());
}
