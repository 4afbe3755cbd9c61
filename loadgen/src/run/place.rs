//! Lake, catalog and table of a run.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use weir::catalog::glue::GlueCatalog;
use weir::catalog::{Catalog, FolderCatalog, read_definitions};
use weir::clock::SystemClock;
use weir::commit::LakeStore;
use weir::schema::TableSchema;

use super::args::LakeArgs;
use crate::target::AwsArgs;

/// An opened lake with its catalog.
pub(super) struct Place {
    pub(super) lake: LakeStore,
    /// Address of the lake.
    pub(super) url: String,
    /// Address of the catalog, unless it is the lake's own.
    pub(super) catalog_url: Option<String>,
    pub(super) catalog: Arc<dyn Catalog>,
}

impl Place {
    pub(super) fn open(args: &LakeArgs, aws: &AwsArgs) -> Result<Self> {
        let url = address(&args.lake)?;
        let lake = LakeStore::open(&url, &aws.store_options())?;
        let given = args.catalog.as_deref().map(str::trim).filter(|c| !c.is_empty());
        let mut catalog_url = given.map(str::to_owned);
        let catalog: Arc<dyn Catalog> = match given {
            None => Arc::new(FolderCatalog::new(lake.object_store(), lake.path("")?, url.clone())),
            Some(catalog) if catalog.starts_with("glue://") => {
                let database = catalog["glue://".len()..].trim_end_matches('/');
                if database.is_empty() || database.contains('/') {
                    bail!("--catalog {catalog} names no database; example: --catalog glue://analytics");
                }
                Arc::new(GlueCatalog::new(Arc::new(aws.glue()?), database, &url, Arc::new(SystemClock)))
            }
            Some(catalog) if catalog.contains("://") && !catalog.starts_with("file://") => bail!(
                "could not open the catalog {catalog}: it is no glue:// or file:/// address; give --catalog \
                 glue://DATABASE or a folder, or leave it out for the lake's own"
            ),
            Some(catalog) => {
                let address = address(catalog)?;
                let folder = LakeStore::open(&address, &[])?;
                catalog_url = Some(address);
                Arc::new(FolderCatalog::new(folder.object_store(), folder.path("")?, url.clone()))
            }
        };
        Ok(Self { lake, url, catalog_url, catalog })
    }

    /// The table as the catalog has it, or as the folder of definitions says.
    pub(super) async fn table(&self, name: &str, schemas: &Path) -> Result<Arc<TableSchema>> {
        if self.catalog.definition(name).await?.is_some() {
            return Ok(self.catalog.table(name).await?);
        }
        let definitions = if schemas.is_dir() { read_definitions(schemas)? } else { Vec::new() };
        let known: Vec<&str> = definitions.iter().map(|d| d.name.as_str()).collect();
        let Some(definition) = definitions.iter().find(|d| d.name == name) else {
            bail!(
                "table {name} is neither in the catalog {} nor in {}; tables there: {}",
                self.catalog.address(),
                schemas.display(),
                known.join(", ")
            );
        };
        let text = serde_json::to_string(definition)?;
        Ok(Arc::new(TableSchema::parse(&text)?))
    }
}

fn address(text: &str) -> Result<String> {
    if text.contains("://") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let path = Path::new(text).canonicalize();
    let path = path.with_context(|| format!("could not find the lake's folder {text}; give --lake"))?;
    let url = url::Url::from_directory_path(&path).map_err(|()| anyhow::anyhow!("{text} is no folder"))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
