//! Sessions that went for want of room: the snapshot has them, and the store knows them no longer.

use super::crash::StuckAtEndings;
use super::*;

/// A store with room for two, with two sessions of a user in the snapshot, of which one has gone since.
fn crowded(place: &mut Place) -> Life<'_> {
    place.room = 2;
    place.prepare(&[("a", 1)]);
    place.prepare(&[("a", 2)]);
    let life = place.open();
    assert!(life.lives(2));
    life.login("c", 3);
    assert!(!life.lives(1));
    life
}

#[tokio::test]
async fn logout_everywhere_ends_a_session_that_went_for_want_of_room() {
    let mut place = Place::new();
    let life = crowded(&mut place);
    let (ended, ending) = life.store.end_all(&user("a"));
    assert_eq!(ended, 1);
    assert_eq!(ending.landed().await, Ended::Everywhere);
    drop(life);
    assert_eq!(place.found([1, 2, 3]), [].into());
}

#[tokio::test]
async fn logout_everywhere_is_written_down_though_no_session_is_left() {
    let mut place = Place::new();
    let life = crowded(&mut place);
    life.login("d", 4);
    assert!(!life.lives(2));
    let (ended, ending) = life.store.end_all(&user("a"));
    assert_eq!(ended, 0);
    assert_eq!(ending.landed().await, Ended::Everywhere);
    drop(life);
    assert_eq!(place.found([1, 2]), [].into());
}

#[tokio::test]
async fn logout_everywhere_ends_nobody_else_and_nothing_that_begins_later() {
    let place = Place::new();
    place.prepare(&[("a", 1), ("b", 2)]);
    let life = place.open();
    let (_, ending) = life.store.end_all(&user("b"));
    assert_eq!(ending.landed().await, Ended::Everywhere);
    drop(life);
    // The endings are still those since the snapshot before, until the next one is there.
    let disk = StuckAtEndings::default();
    let life = place.on(Arc::new(disk.clone()));
    life.login("b", 3);
    disk.stick();
    assert!(!life.save());
    drop(life);
    assert_eq!(place.found([1, 2, 3]), [1, 3].into());
}
