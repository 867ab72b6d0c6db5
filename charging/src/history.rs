//! What has left memory, and comes back for the command that means it.
//!
//! Memory keeps what goes on and what was last; the store keeps everything. Before a command is carried out,
//! the rows it means that are not in memory are read from the store, *recalled*. When the entry has been
//! applied and its rows are taken, they leave again.
//!
//! **Invariants**
//! * What a command does follows from the log alone: what is recalled are the rows after the entries before
//!   this one, and what this entry has changed of them since is in memory.
//! * What is in memory between two entries follows from the rows alone, so it is the same on a replica that was
//!   restored. Nothing stays that was recalled.
//! * Commands of the main path recall nothing, or rows of ids that are said for the first time, of which there are
//!   none.

use crate::accounts::Purpose;
use crate::command::{Command, PeerCommand};
use crate::document::{DOCUMENT_SESSIONS_MAX, IssueDocument};
use crate::payment::{ProviderEntry, ProviderEntryKind};
use crate::rows::{self, DirectoryKind, DirectoryRow, Keyspace, PayerSessionRow, SessionRow};
use crate::state::State;
use novax_ledger::KeyRow;
use novax_model::{SessionId, TransferKey};
use std::collections::BTreeMap;

/// A row's key and its value.
pub type StoredRow = (Vec<u8>, Vec<u8>);

/// The rows of the store as all entries before have left them.
pub trait History {
    /// A row.
    fn get(&mut self, keyspace: Keyspace, key: &[u8]) -> Option<Vec<u8>>;

    /// All rows whose keys begin so, in order of key.
    fn under(&mut self, keyspace: Keyspace, prefix: &[u8]) -> Vec<StoredRow>;
}

impl History for BTreeMap<(Keyspace, Vec<u8>), Vec<u8>> {
    fn get(&mut self, keyspace: Keyspace, key: &[u8]) -> Option<Vec<u8>> {
        BTreeMap::get(self, &(keyspace, key.to_vec())).cloned()
    }

    fn under(&mut self, keyspace: Keyspace, prefix: &[u8]) -> Vec<StoredRow> {
        self.range((keyspace, prefix.to_vec())..)
            .take_while(|((of, key), _)| *of == keyspace && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// A stored row, read.
///
/// # Panics
/// When it is no archive of its type: this replica must not go on with another state than the others'.
pub(crate) fn stored<T>(history: &mut dyn History, keyspace: Keyspace, key: &[u8]) -> Option<T>
where
    T: rkyv::Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rkyv::rancor::Error>>
        + rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
{
    let bytes = history.get(keyspace, key)?;
    match rows::read(&bytes) {
        Ok(row) => Some(row),
        Err(error) => panic!("a row of {keyspace:?} that apply wrote: {error}"),
    }
}

impl State {
    /// Has in memory what a command means.
    pub(crate) fn recall(&mut self, command: &Command, history: &mut dyn History) {
        match command {
            Command::PutDirectory { kind, id, .. } | Command::RemoveDirectory { kind, id, .. } => {
                self.recall_directory(*kind, id, history);
            }
            Command::Deposit { key, .. }
            | Command::WriteOff { key, .. }
            | Command::ParkMoney { key, .. }
            | Command::PayOut { key, .. } => self.recall_set(*key, history),
            Command::ProviderBooked(entry) => self.recall_entries(entry, history),
            Command::RequestStart(ask) => self.recall_session(ask.session, history),
            Command::RequestStop { session } => self.recall_session(*session, history),
            Command::StartTransaction(start) if self.is_new(start) => {}
            Command::StartTransaction(start) => self.recall_session(start.session, history),
            Command::Refund(ask) => {
                self.recall_set(Purpose::Settle.key(ask.session, 0), history);
                self.recall_set(Purpose::Refund.key(ask.session, ask.sequence), history);
            }
            Command::IssueDocument(ask) => self.recall_for_document(ask, history),
            Command::Peer { command, .. } => self.recall_for_peer(command, history),
            _ => {}
        }
    }

    /// Lets go what was recalled. To be called when the entry's rows are taken.
    pub(crate) fn forget_recalled(&mut self) {
        self.directory[DirectoryKind::RequestKey as usize].clear();
        self.finished.forget_recalled();
        for session in std::mem::take(&mut self.payers_recalled) {
            if self.is_only_recalled(session) {
                self.payers.remove(&session);
            }
        }
        self.forget_resolved();
        self.documents.forget_recalled();
        self.ledger.trim_keys(self.config.keys_max);
    }

    /// Request keys are kept for ever, and none in memory.
    fn recall_directory(&mut self, kind: DirectoryKind, id: &str, history: &mut dyn History) {
        let rows = &mut self.directory[kind as usize];
        if kind != DirectoryKind::RequestKey || rows.contains_key(id) {
            return;
        }
        let key = rows::directory_key(kind, id);
        if let Some(row) = stored::<DirectoryRow>(history, Keyspace::Directory, &key) {
            rows.insert(row.id.clone(), row);
        }
    }

    /// What the ledger knows of a set.
    fn recall_set(&mut self, key: TransferKey, history: &mut dyn History) {
        if self.ledger.set(key).is_none()
            && let Some(row) = stored::<KeyRow>(history, Keyspace::Keys, &key.0.to_be_bytes())
        {
            self.ledger.recall_key(key, &row);
        }
    }

    /// What a provider calls by one reference, whatever became of it.
    fn recall_entries(&mut self, entry: &ProviderEntry, history: &mut dyn History) {
        for kind in [
            ProviderEntryKind::Fee,
            ProviderEntryKind::DisputeOpened,
            ProviderEntryKind::DisputeWon,
            ProviderEntryKind::DisputeLost,
        ] {
            let key = ProviderEntry::key_of(&entry.provider, &entry.reference, kind);
            self.recall_set(key, history);
        }
    }

    /// A session that is over: repeats get its first answer.
    fn recall_session(&mut self, session: SessionId, history: &mut dyn History) {
        if self.sessions.contains_key(&session) || self.finished.get(session).is_some() {
            return;
        }
        let key = session.0.to_be_bytes();
        if let Some(row) = stored::<SessionRow>(history, Keyspace::Sessions, &key) {
            self.finished.recall(&row);
        }
    }

    /// What was done for a session of another partition.
    fn recall_payer(&mut self, session: SessionId, history: &mut dyn History) {
        if self.payers.contains_key(&session) {
            return;
        }
        let key = session.0.to_be_bytes();
        if let Some(row) = stored::<PayerSessionRow>(history, Keyspace::PayerSessions, &key) {
            assert!(!row.is_open(), "what is open is in memory");
            self.payers.insert(session, row);
            self.payers_recalled.push(session);
        }
    }

    /// Whether nothing but this entry keeps a payer row in memory.
    fn is_only_recalled(&self, session: SessionId) -> bool {
        self.payers.get(&session).is_some_and(|row| {
            !row.is_open() && !self.payers_resolved.contains(&(row.ask_at, session))
        })
    }

    /// Holds that stand for sessions of other partitions.
    pub(crate) fn open_payers(&self) -> usize {
        let recalled = &self.payers_recalled;
        let recalled = recalled.iter().filter(|session| self.is_only_recalled(**session)).count();
        self.payers.len() - self.payers_resolved.len() - recalled
    }

    fn recall_for_peer(&mut self, command: &PeerCommand, history: &mut dyn History) {
        match command {
            PeerCommand::PlaceHold(place) => {
                self.recall_payer(place.session, history);
                self.recall_attempts(place.session, history);
            }
            PeerCommand::ReleaseHold { session, .. } | PeerCommand::Capture { session, .. } => {
                self.recall_payer(*session, history);
            }
            PeerCommand::Adjust { session, sequence, .. } => {
                self.recall_payer(*session, history);
                self.recall_set(Purpose::PeerAdjust.key(*session, *sequence), history);
            }
            PeerCommand::Refund { session, sequence, .. } => {
                self.recall_payer(*session, history);
                self.recall_set(Purpose::PeerRefund.key(*session, *sequence), history);
            }
            PeerCommand::AskSession { session, .. } => self.recall_session(*session, history),
        }
    }

    /// Of a session whose hold was let go before: the keys that its tries have used.
    fn recall_attempts(&mut self, session: SessionId, history: &mut dyn History) {
        let Some(row) = self.payers.get(&session).filter(|row| row.released) else { return };
        let (holds, attempts) = (row.hold_keys, row.attempt);
        for number in 0..=holds {
            self.recall_set(Purpose::PeerHold.key(session, number), history);
        }
        for number in 0..=attempts.saturating_add(1) {
            self.recall_set(Purpose::PeerRelease.key(session, number), history);
        }
    }

    fn recall_for_document(&mut self, ask: &IssueDocument, history: &mut dyn History) {
        self.documents.recall(&ask.request(), history);
        // More are refused.
        for part in ask.parts.iter().take(DOCUMENT_SESSIONS_MAX) {
            self.recall_for_bill(part.session, history);
        }
    }

    /// What a session costs, what of it was given back, and which documents it stands on.
    pub(crate) fn recall_for_bill(&mut self, session: SessionId, history: &mut dyn History) {
        self.documents.recall_bill(session, history);
        self.recall_set(Purpose::Settle.key(session, 0), history);
    }
}
