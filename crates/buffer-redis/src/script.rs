//! The scripts: a common beginning, the layout's storage, and one step.

use std::sync::LazyLock;

use redis::Cmd;

use crate::options::Layout;

const KEYS: &str = include_str!("scripts/keys.lua");
const LIST: &str = include_str!("scripts/list.lua");
const STREAM: &str = include_str!("scripts/stream.lua");
const LEASES: &str = include_str!("scripts/leases.lua");
const PUSH: &str = include_str!("scripts/push.lua");
const ROUTE: &str = include_str!("scripts/route.lua");

/// What lies under the name, as what the buffer was made, whose replica this is, and how many it
/// has. It writes nothing, so that a replica answers too; what an ACL forbids is empty.
pub(crate) const STANDING: &str = include_str!("scripts/standing.lua");

static LISTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::new(&Layout::List));
static STREAMS: LazyLock<Scripts> =
    LazyLock::new(|| Scripts::new(&Layout::Stream { group: String::new(), field: None }));

/// One step as Redis runs it: it is sent by its hash, and whole when Redis does not know it.
pub(crate) struct Script {
    code: String,
    hash: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let code = parts.join("\n");
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    /// The call without arguments, by hash or with the whole code.
    pub(crate) fn call(&self, whole: bool, source: &str, group: &str) -> Cmd {
        let mut cmd = if whole { redis::cmd("EVAL") } else { redis::cmd("EVALSHA") };
        cmd.arg(if whole { &self.code } else { &self.hash }).arg(1).arg(source).arg(group);
        cmd
    }
}

/// The scripts of one layout.
pub(crate) struct Scripts {
    pub(crate) open: Script,
    /// Lists: it follows the push of what is offered. Streams: it pushes itself.
    pub(crate) offer: Script,
    pub(crate) claim: Script,
    pub(crate) ack: Script,
    pub(crate) release: Script,
    pub(crate) extend: Script,
    pub(crate) bury: Script,
    pub(crate) replay: Script,
    pub(crate) beat: Script,
    pub(crate) depth: Script,
    pub(crate) memory: Script,
    pub(crate) process: Script,
    pub(crate) erase: Script,
    pub(crate) purge: Script,
    pub(crate) peek: Script,
    pub(crate) distribution: Script,
    /// Streams only.
    pub(crate) sweep: Script,
}

impl Scripts {
    /// The code of each that this layout runs.
    pub(crate) fn codes(&self, layout: &Layout) -> impl Iterator<Item = &str> {
        let sweep = matches!(layout, Layout::Stream { .. }).then_some(&self.sweep);
        let all = [
            &self.open,
            &self.offer,
            &self.claim,
            &self.ack,
            &self.release,
            &self.extend,
            &self.bury,
            &self.replay,
            &self.beat,
            &self.depth,
            &self.memory,
            &self.process,
            &self.erase,
            &self.peek,
            &self.distribution,
        ];
        all.into_iter().chain(sweep).map(|script| script.code.as_str())
    }

    /// Those of this layout: the same for every buffer.
    pub(crate) fn of(layout: &Layout) -> &'static Self {
        match layout {
            Layout::List => &LISTS,
            Layout::Stream { .. } => &STREAMS,
        }
    }

    fn new(layout: &Layout) -> Self {
        let (store, offer) = match layout {
            Layout::List => (LIST, include_str!("scripts/offer_list.lua")),
            Layout::Stream { .. } => (STREAM, include_str!("scripts/offer_stream.lua")),
        };
        let leasing = |body| Script::new(&[KEYS, store, LEASES, body]);
        let routing = |body| Script::new(&[KEYS, store, LEASES, PUSH, ROUTE, body]);
        let pushing = |body| Script::new(&[KEYS, store, PUSH, body]);
        Self {
            open: leasing(include_str!("scripts/open.lua")),
            offer: pushing(offer),
            claim: routing(include_str!("scripts/claim.lua")),
            ack: leasing(include_str!("scripts/ack.lua")),
            release: leasing(include_str!("scripts/release.lua")),
            extend: leasing(include_str!("scripts/extend.lua")),
            bury: leasing(include_str!("scripts/bury.lua")),
            replay: pushing(include_str!("scripts/replay.lua")),
            beat: leasing(include_str!("scripts/beat.lua")),
            depth: routing(include_str!("scripts/depth.lua")),
            memory: Script::new(&[KEYS, include_str!("scripts/memory.lua")]),
            process: Script::new(&[KEYS, include_str!("scripts/process.lua")]),
            erase: Script::new(&[KEYS, include_str!("scripts/erase.lua")]),
            purge: Script::new(&[KEYS, include_str!("scripts/purge.lua")]),
            peek: routing(include_str!("scripts/peek.lua")),
            distribution: routing(include_str!("scripts/distribution.lua")),
            sweep: leasing(include_str!("scripts/sweep.lua")),
        }
    }
}
