//! The scripts that Redis runs: each happens as a whole or not at all. They are beside this file.

use redis::Script;

/// All of them, known to Redis by their hashes.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) begin: Script,
    pub(super) claim: Script,
    pub(super) end: Script,
    pub(super) end_all: Script,
    pub(super) look: Script,
    pub(super) settle: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            begin: Script::new(include_str!("scripts/begin.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            end: Script::new(include_str!("scripts/end.lua")),
            end_all: Script::new(include_str!("scripts/end_all.lua")),
            look: Script::new(include_str!("scripts/look.lua")),
            settle: Script::new(include_str!("scripts/settle.lua")),
        }
    }
}
