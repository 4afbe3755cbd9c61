//! What readers see of views: the files of the state that the catalog shows.

use super::super::reader::VisibleFile;
use super::super::work::values;
use super::objects::{StateResult, get};
use crate::catalog::Catalog;
use crate::commit::LakeStore;
use crate::commit::format::unreadable;
use crate::error::{Error, Result};
use crate::naming::current::{self, CURRENT, StateObject};

/// Files of one view or of all.
pub(in crate::close) async fn shown_files(
    lake: &LakeStore,
    catalog: &dyn Catalog,
    table: Option<&str>,
) -> Result<Vec<VisibleFile>> {
    let snapshot = current::snapshot();
    let mut files = Vec::new();
    for view in lake.folders(CURRENT).await? {
        if table.is_some_and(|table| table != view) {
            continue;
        }
        let state = match catalog.partition(&view, &values(&snapshot)).await {
            Ok(entry) => entry.map_or(0, |entry| entry.revision()),
            Err(Error::NoSuchTable { .. }) => 0,
            Err(error) => return Err(error),
        };
        if state == 0 {
            continue;
        }
        let gone = || {
            let key = current::object(&view, state, StateObject::Result);
            unreadable(&key, "the catalog shows this state and it is not there")
        };
        let result: StateResult = get(lake, &view, state).await?.ok_or_else(gone)?;
        files.extend(result.files.shown().map(|file| VisibleFile {
            key: format!("{}/{}", result.files.directory, file.name),
            table: view.clone(),
            partition: snapshot.clone(),
            rows: file.rows,
            bytes: file.bytes,
            revision: state,
        }));
    }
    Ok(files)
}
