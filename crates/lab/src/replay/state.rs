//! How far a replay came, in a small file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use super::Rejects;
use super::file::{Seen, hex};

/// How far a replay came.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct State {
    /// The file replayed, for people who find this one.
    pub(super) file: PathBuf,
    /// Its size, in bytes.
    pub(super) file_bytes: u64,
    /// What was read of it for the records done: another content is another file.
    pub(super) seen: Seen,
    /// SHA-256 of the map, in hex: with another map the records are others.
    pub(super) map_sha256: String,
    /// Where the events went.
    pub(super) target: String,
    /// Records done, accepted or rejected.
    pub(super) records: u64,
    pub(super) accepted: u64,
    pub(super) rejects: Rejects,
    pub(super) finished: bool,
}

/// Where states are kept.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

impl Place {
    /// `{data}/replay/{hash of the file's path}.json`.
    pub(super) fn new(data: &Path, file: &Path) -> Self {
        let hash = Sha256::digest(file.as_os_str().as_encoded_bytes());
        Self(data.join("replay").join(format!("{}.json", hex(&hash[..16]))))
    }

    /// The state, or `None` when there is none that can be read: starting over is always right,
    /// because effects are deduped.
    pub(super) fn load(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    /// Replaces the state in one step. Not synced: after a power failure an older one may be found,
    /// and the batches in between are offered once more.
    pub(super) fn save(&self, state: &State) -> anyhow::Result<()> {
        let cant =
            || format!("{} can't be written; make room or mend its rights", self.0.display());
        let directory = self.0.parent().expect("a place lies in the replay directory");
        fs::create_dir_all(directory).with_context(cant)?;
        let draft = self.0.with_extension("json.new");
        let json = serde_json::to_vec(state).expect("a state is numbers and text");
        fs::write(&draft, json).and_then(|()| fs::rename(&draft, &self.0)).with_context(cant)
    }
}
