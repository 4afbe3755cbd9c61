//! Where batches go that are given up: objects with the whole invocation record (as to S3), or
//! messages with metadata only (as to SQS and SNS).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::envelope::GivenUp;

/// An on-failure destination.
#[derive(Clone)]
pub enum Destination {
    /// Given-up records are dropped and counted.
    Drop,
    /// One object a batch in a folder or bucket, below a prefix, with the whole invocation record.
    Objects {
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// Prefix of the keys; may be empty.
        prefix: String,
        /// Address of the store, before the prefix, for people.
        location: String,
    },
    /// One object a batch with what a queue or topic would get: metadata only.
    Messages {
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// Prefix of the keys; may be empty.
        prefix: String,
        /// Address of the store, before the prefix, for people.
        location: String,
    },
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("Drop"),
            Self::Objects { store, prefix, .. } => write!(f, "Objects({store}/{prefix})"),
            Self::Messages { store, prefix, .. } => write!(f, "Messages({store}/{prefix})"),
        }
    }
}

impl Destination {
    /// Whole invocation records in a local folder, which is made if need be.
    pub fn folder(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let location = path.canonicalize()?.to_string_lossy().into_owned();
        let store = object_store::local::LocalFileSystem::new_with_prefix(path)?;
        Ok(Self::Objects { store: Arc::new(store), prefix: String::new(), location })
    }

    /// Keep a batch that is given up; where it lies then, unless it is dropped.
    pub async fn keep(
        &self,
        mapping: &str,
        given_up: &GivenUp<'_>,
    ) -> Result<Option<String>, object_store::Error> {
        let (store, prefix, location, body) = match self {
            Self::Drop => return Ok(None),
            Self::Objects { store, prefix, location } => (store, prefix, location, given_up.with_payload()),
            Self::Messages { store, prefix, location } => {
                (store, prefix, location, Bytes::from(given_up.metadata().to_string()))
            }
        };
        let key = Path::from(format!("{prefix}/{}", given_up.object_key(mapping)));
        store.put(&key, PutPayload::from_bytes(body)).await?;
        Ok(Some(format!("{location}/{key}")))
    }
}
