//! Which manifest is in force, and how the next one comes to be.
//!
//! **Architecture Invariant:** the manifest of the highest generation is in force. The next is made
//! by put-if-absent of the next number, so of two writers that begin at the same one only one gets
//! through, and at any instant readers find either the old or the new, whole.
//!
//! Old generations are deleted, which frees their names; a writer that slept through that could
//! take a name far behind. So a commit counts only when no higher generation is there after it.

use crate::error::ColdError;
use crate::manifest::{
    MANIFEST_BYTES_MAX, Manifest, folder, generation_of, manifest_folder, manifest_path,
};
use bytes::Bytes;
use futures::TryStreamExt;
use novax_model::PartitionId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::sync::Arc;

/// How many generations stay behind the one in force: for readers on their way, and for people.
pub const GENERATIONS_KEPT: u64 = 8;
/// How often the newest may vanish between being listed and being read.
const LOOKS_MAX: u32 = 8;

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is in force, durably.
    Done,
    /// Another writer was faster: begin again from the newest.
    Superseded,
}

/// The manifests of one partition.
#[derive(Debug, Clone)]
pub struct Catalog {
    objects: Arc<dyn ObjectStore>,
    partition: PartitionId,
}

impl Catalog {
    /// The manifests of a partition on a store.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, partition: PartitionId) -> Self {
        Self { objects, partition }
    }

    /// Whose.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Makes sure that the store refuses a second object under one name. Writers ask once.
    ///
    /// # Errors
    /// [`ColdError::Unfit`] when it does not; what the store says when it does not answer.
    pub async fn probe(&self) -> Result<(), ColdError> {
        let path = Path::from(format!("{}/probe", folder(self.partition)));
        for _ in 0..2 {
            let payload = PutPayload::from_static(b"Whoever writes here must not replace this.\n");
            match self.objects.put_opts(&path, payload, create()).await {
                Ok(_) => {}
                Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
                Err(error @ object_store::Error::NotImplemented { .. }) => {
                    return Err(ColdError::Unfit(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ColdError::Unfit(format!("{path} was made twice")))
    }

    /// The manifest in force; [`Manifest::empty`] before there is one.
    ///
    /// # Errors
    /// When the store does not answer, or the manifest is damaged: an older one is never taken
    /// instead, for it would hide what was moved since.
    pub async fn newest(&self) -> Result<Manifest, ColdError> {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let Some(generation) = self.generations().await?.into_iter().max() else {
                return Ok(Manifest::empty(self.partition));
            };
            match self.read(generation).await {
                Ok(bytes) => return self.decode(generation, &bytes),
                // Its successors came, and it went, since it was listed.
                Err(error) if error.is_missing() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(ColdError::Contended { partition: self.partition, attempts: LOOKS_MAX }))
    }

    /// Puts the next manifest in force.
    ///
    /// # Errors
    /// When the store fails. Then it is unknown whether the manifest is in force: a further attempt
    /// finds out.
    pub async fn commit(&self, next: &Manifest) -> Result<Commit, ColdError> {
        assert_eq!(next.partition, self.partition, "a manifest of this partition");
        let path = manifest_path(self.partition, next.generation);
        let bytes = Bytes::from(next.encode());
        match self.objects.put_opts(&path, bytes.clone().into(), create()).await {
            Ok(_) => {}
            Err(object_store::Error::NotImplemented { operation, .. }) => {
                return Err(ColdError::Unfit(operation));
            }
            Err(error) => {
                // The name may be taken by an attempt of our own whose answer was lost.
                let is_taken = matches!(error, object_store::Error::AlreadyExists { .. });
                match self.read(next.generation).await {
                    Ok(found) if found == bytes => {}
                    Ok(_) => return Ok(Commit::Superseded),
                    Err(missing) if missing.is_missing() && is_taken => {
                        return Ok(Commit::Superseded);
                    }
                    Err(_) => return Err(error.into()),
                }
            }
        }
        let generations = self.generations().await?;
        if generations.iter().any(|generation| *generation > next.generation) {
            return Ok(Commit::Superseded);
        }
        self.trim(&generations, next.generation).await;
        Ok(Commit::Done)
    }

    /// Deletes generations long gone. What fails is tried again after the next commit.
    async fn trim(&self, generations: &[u64], newest: u64) {
        let old = generations.iter().filter(|old| **old + GENERATIONS_KEPT < newest);
        for generation in old {
            let _ = self.objects.delete(&manifest_path(self.partition, *generation)).await;
        }
    }

    async fn generations(&self) -> Result<Vec<u64>, ColdError> {
        let folder = manifest_folder(self.partition);
        let listed = self.objects.list(Some(&folder));
        let named = listed.try_filter_map(|meta| async move { Ok(generation_of(&meta.location)) });
        Ok(named.try_collect().await?)
    }

    async fn read(&self, generation: u64) -> Result<Bytes, ColdError> {
        let path = manifest_path(self.partition, generation);
        let answer = self.objects.get(&path).await?;
        if answer.meta.size > MANIFEST_BYTES_MAX {
            return Err(ColdError::damaged(path, "it is too long"));
        }
        Ok(answer.bytes().await?)
    }

    fn decode(&self, generation: u64, bytes: &[u8]) -> Result<Manifest, ColdError> {
        let path = manifest_path(self.partition, generation).to_string();
        let manifest = Manifest::decode(&path, bytes)?;
        if manifest.partition != self.partition || manifest.generation != generation {
            return Err(ColdError::damaged(path, "it is of another partition or generation"));
        }
        Ok(manifest)
    }
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}
