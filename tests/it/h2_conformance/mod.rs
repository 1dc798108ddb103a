//! HTTP/2 as RFC 9113 and RFC 7541 have it: for everything that a client must not send, what comes of
//! it. The sections are those of the RFCs. What only RFC 7540 had, the dependencies of streams, may
//! be a fault or nothing.

mod floods;
mod framing;
mod hpack;
mod kinds;
mod messages;
mod preface;
mod streams;
mod windows;

use crate::support::frames::{FRAME_SIZE_ERROR, Frames, Reaction, STREAM_CLOSED, get};
use crate::support::{Setup, World};

const WRONG_SIZE: &[u32] = &[FRAME_SIZE_ERROR];
const OVER: &[u32] = &[STREAM_CLOSED];

/// What must come of it.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// Everything goes on: the next request is answered.
    Fine,
    /// The connection ends with one of these codes.
    Ended(&'static [u32]),
    /// This stream ends with one of these codes, and the connection goes on.
    Reset(u32, &'static [u32]),
    /// This stream or the connection ends with one of these codes.
    Either(u32, &'static [u32]),
}

/// A step of a client.
enum Step {
    Say(Vec<u8>),
    /// Waits until this stream has been answered to its end.
    Hear(u32),
}

/// Something that a client does.
struct Case {
    what: &'static str,
    steps: Vec<Step>,
    expect: Expect,
}

/// Says these frames in one go.
fn case(what: &'static str, frames: impl IntoIterator<Item = Vec<u8>>, expect: Expect) -> Case {
    let frames: Vec<_> = frames.into_iter().collect();
    Case {
        what,
        steps: vec![Step::Say(frames.concat())],
        expect,
    }
}

/// The stream that is used to see whether a connection goes on.
const NEXT: u32 = 1001;

impl Case {
    /// Does it on a connection of its own; gives what is wrong with what came of it.
    async fn fault(self, world: &World) -> Option<String> {
        let mut frames = Frames::open(world.address()).await;
        for step in &self.steps {
            match step {
                Step::Say(bytes) => frames.write(bytes).await,
                Step::Hear(stream) => drop(frames.answer(*stream).await),
            }
        }
        let stream = match self.expect {
            Expect::Fine => {
                frames.write(&get(NEXT, "/next")).await;
                NEXT
            }
            Expect::Ended(_) => 0,
            Expect::Reset(stream, _) | Expect::Either(stream, _) => stream,
        };
        let reaction = frames.reaction(stream).await;
        let right = match (self.expect, reaction) {
            (Expect::Fine, Reaction::Answered) => true,
            (Expect::Ended(codes) | Expect::Either(_, codes), Reaction::GoneAway(code))
            | (Expect::Either(_, codes), Reaction::Reset(code)) => codes.contains(&code),
            (Expect::Reset(_, codes), Reaction::Reset(code)) => {
                frames.write(&get(NEXT, "/next")).await;
                let next = frames.reaction(NEXT).await;
                codes.contains(&code) && next == Reaction::Answered
            }
            _ => false,
        };
        (!right).then(|| format!("{}: {reaction:?}, not {:?}", self.what, self.expect))
    }
}

async fn open_to_all() -> World {
    Setup::with("[access]\ndefault = \"public\"").start().await
}

/// Does all of them, and shows everything that is wrong at once.
async fn check(cases: impl IntoIterator<Item = Case>) -> World {
    let world = open_to_all().await;
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(case.fault(&world).await);
    }
    assert_eq!(wrong, [""; 0]);
    world
}
