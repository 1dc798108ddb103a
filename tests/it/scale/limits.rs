//! What many gates and many sessions come to, worked out from what was measured and simulated, and how
//! keys spread over the nodes of a Cluster.

use crate::scale::page::{Table, number, rounded};
use crate::scale::simulation::{Activity, Outcome, Routing, Scenario};

/// Bytes in Redis of a user with one session and a unionid: a test compares it with what is measured.
pub(super) const SESSION_BYTES: f64 = 1000.0;
/// Bytes of a message about one ending, to one gate.
pub(super) const MESSAGE_BYTES: f64 = 89.0;

/// Processor time of Redis in microseconds: about what `tests/scale` found on a busy machine.
const LOOK_US: f64 = 12.0;
const LOGIN_US: f64 = 200.0;
const END_US: f64 = 50.0;
const MESSAGE_US: f64 = 3.0;

/// What a gate at rest asks each second.
const LOOKS_AT_REST: f64 = 3.0;

/// How much more comes in the busiest hour than on the average.
const PEAK: f64 = 3.0;
/// Seconds from a login to the next: a session's life.
const LIFE: f64 = 7.0 * 86_400.0;

/// What one node should have at most: half a core, so that there is room for a burst; and what can be
/// copied for a snapshot, or to another node, in a minute or so.
const NODE_CORES: f64 = 0.5;
const NODE_GIB: f64 = 16.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Hash tags of keys: `src/store/redis/names.rs` says why.
const TAGS: u8 = u8::MAX;
const SLOTS: usize = 16_384;

pub(super) fn limits() -> Table {
    let mut table = Table::new(&[
        "sessions",
        "gates",
        "requests a second",
        "GETs a second",
        "messages a second",
        "cores of Redis",
        "memory of Redis",
        "nodes",
    ]);
    for (millions, gates) in [
        (1, 10),
        (10, 10),
        (10, 100),
        (100, 10),
        (100, 100),
        (100, 1000),
    ] {
        table.row(&row(f64::from(millions), gates));
    }
    table
}

fn row(millions: f64, gates: u32) -> Vec<String> {
    let outcome = |routing| Scenario::usual(gates, routing, Activity::Zipf, 10.0).run();
    let (any, one) = (outcome(Routing::Request), outcome(Routing::User));
    let requests = any.requests_of_a_million() * millions * PEAK;
    let looks = |outcome: &Outcome| requests * outcome.looks();
    let logins = millions * 1e6 / LIFE * PEAK;
    let messages = logins * f64::from(gates);
    let cores = |outcome: &Outcome| {
        let at_rest = f64::from(gates) * LOOKS_AT_REST;
        let asked = (looks(outcome) + at_rest) * LOOK_US;
        (asked + logins * (LOGIN_US + END_US) + messages * MESSAGE_US) / 1e6
    };
    let gib = millions * 1e6 * SESSION_BYTES / GIB;
    let nodes = |outcome: &Outcome| (cores(outcome) / NODE_CORES).max(gib / NODE_GIB).ceil();
    let mb = messages * MESSAGE_BYTES / 1e6;
    vec![
        format!("{millions} M"),
        gates.to_string(),
        rounded(requests),
        format!("{} / {}", rounded(looks(&any)), rounded(looks(&one))),
        format!("{} ({mb:.1} MB)", rounded(messages)),
        format!("{:.2} / {:.2}", cores(&any), cores(&one)),
        format!("{gib:.0} GiB"),
        nodes(&any).max(nodes(&one)).to_string(),
    ]
}

/// How much fuller the fullest node is than it would be if keys spread evenly.
pub(super) fn spread() -> Table {
    let mut table = Table::new(&[
        "nodes",
        "tags in the emptiest",
        "in the fullest",
        "by an even share",
    ]);
    for nodes in [3, 6, 12, 24, 48, 96] {
        let tags = tags_of(nodes);
        let (least, most) = (tags.iter().min().unwrap(), tags.iter().max().unwrap());
        let even = f64::from(u16::from(TAGS) + 1) / number(nodes);
        let by_even = f64::from(*most) / even;
        let row = [nodes.to_string(), least.to_string(), most.to_string()];
        table.row(&[&row[..], &[format!("{by_even:.2}")]].concat());
    }
    table
}

/// How many tags each node has when slots are dealt out as `redis-cli --cluster create` does.
fn tags_of(nodes: usize) -> Vec<u32> {
    let mut tags = vec![0; nodes];
    for tag in 0..=TAGS {
        let slot = usize::from(crc16(format!("{tag:02x}").as_bytes())) % SLOTS;
        tags[slot * nodes / SLOTS] += 1;
    }
    tags
}

/// CRC-16/XMODEM, by which a Cluster finds the slot of a key.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[test]
fn a_slot_is_found_as_redis_finds_it() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
}
