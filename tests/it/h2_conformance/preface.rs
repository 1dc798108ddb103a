//! §3.4: the first frame of a client.

use crate::support::World;
use crate::support::frames::{
    ACK, Frames, PING, PREFACE, PROTOCOL_ERROR, Reaction, SETTINGS, frame, get,
};

#[tokio::test]
async fn the_first_frame_must_be_settings() {
    let world = World::start().await;
    let firsts = [
        get(1, "/a"),
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, ACK, 0, &[]),
    ];
    for first in firsts.map(|first| [PREFACE, &first].concat()) {
        let mut frames = Frames::silent(world.address()).await;
        frames.write(&first).await;
        let reaction = frames.reaction(1).await;
        let ended = [Reaction::Closed, Reaction::GoneAway(PROTOCOL_ERROR)];
        assert!(ended.contains(&reaction), "{reaction:?}: {first:?}");
    }
}
