//! The lake and its catalog, as the flags name them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use weir::catalog::glue::{AwsAccess, GlueCatalog, GlueClient, Patience};
use weir::catalog::{Catalog, Change, FolderCatalog, apply, plan_apply, read_definitions};
use weir::clock::SystemClock;
use weir::commit::LakeStore;
use weir::schema::TableInput;

use crate::runtime::poller::kinesis::Kinesis;
use crate::runtime::poller::signature::Keys;

use super::args::Global;

/// Definitions that the program carries, for use outside of a checkout.
const BUILT_IN: [&str; 13] = [
    include_str!("../../../schemas/access_log.json"),
    include_str!("../../../schemas/access_log_traffic.json"),
    include_str!("../../../schemas/air_quality.json"),
    include_str!("../../../schemas/clickstream.json"),
    include_str!("../../../schemas/clickstream_pages.json"),
    include_str!("../../../schemas/clickstream_products.json"),
    include_str!("../../../schemas/clickstream_sessions.json"),
    include_str!("../../../schemas/dns_log.json"),
    include_str!("../../../schemas/github_events.json"),
    include_str!("../../../schemas/orders_changes.json"),
    include_str!("../../../schemas/sensor_readings.json"),
    include_str!("../../../schemas/sensor_statistics_5m.json"),
    include_str!("../../../schemas/web_logs.json"),
];

pub(super) struct Lake {
    pub(super) url: String,
    pub(super) store: LakeStore,
    /// Where the catalog is, unless in the lake.
    pub(super) catalog_url: Option<String>,
    pub(super) catalog: Arc<dyn Catalog>,
    /// The client of a Glue catalog, which knows crawlers too.
    pub(super) glue: Option<Arc<GlueClient>>,
}

/// Environment of the object store, read through the function's own list.
pub(super) fn store_options() -> Vec<(String, String)> {
    weir_functions::context::store_options(weir_functions::context::process_env)
}

/// A client of the Kinesis endpoint that a flag names, which signs if there are keys.
pub(super) fn kinesis(endpoint: &str) -> Result<Kinesis> {
    let kinesis = Kinesis::new(endpoint)?;
    match Keys::of(&store_options(), endpoint) {
        Some(keys) => Ok(kinesis.signed(keys)),
        None if is_here(endpoint) => Ok(kinesis),
        None => bail!(
            "--endpoint {endpoint} wants signed requests: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ),
    }
}

/// Whether an endpoint is on this machine, as that of `weir up`.
pub(super) fn is_here(endpoint: &str) -> bool {
    let url = url::Url::parse(endpoint).ok();
    matches!(url.as_ref().and_then(url::Url::host_str), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// The folder that a path or file:/// address names.
fn folder(address: &str) -> Option<PathBuf> {
    if !address.contains("://") {
        return (!address.trim().is_empty()).then(|| address.into());
    }
    url::Url::parse(address).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

/// The address of a lake: paths become file:/// addresses.
pub(super) fn address(text: &str) -> Result<String> {
    if text.trim().is_empty() {
        bail!(
            "the lake's address is empty; give --lake (or WEIR_LAKE) a folder or s3://bucket/prefix, or neither for .weir/lake"
        );
    }
    if text.contains("://") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let path = Path::new(text);
    std::fs::create_dir_all(path)
        .with_context(|| format!("could not make the lake's folder {text}; give another with --lake"))?;
    let path = path.canonicalize().with_context(|| format!("could not find the lake's folder {text}"))?;
    let url = url::Url::from_directory_path(&path).map_err(|()| anyhow::anyhow!("{text} is no folder"))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

impl Lake {
    /// The lake, for those who read it: a folder that is not there is no empty one.
    pub(super) fn find(global: &Global) -> Result<Self> {
        let missing =
            |address: &str| folder(address).filter(|folder| matches!(folder.try_exists(), Ok(false)));
        if let Some(folder) = missing(&global.lake) {
            bail!(
                "there is no lake in {}; name one with --lake (or WEIR_LAKE), or make it: `weir up`, `weir ingest` \
                 and `weir tables apply` do",
                folder.display()
            );
        }
        if let Some(folder) = global.catalog.as_deref().and_then(missing) {
            bail!("there is no catalog in {}; correct --catalog (or WEIR_CATALOG)", folder.display());
        }
        Self::open(global)
    }

    /// The lake; its folder is made if it is not there.
    pub(super) fn open(global: &Global) -> Result<Self> {
        let lake = Self::open_at(&global.lake)?;
        match global.catalog.as_deref().map(str::trim).filter(|catalog| !catalog.is_empty()) {
            Some(catalog) => lake.with_catalog(catalog),
            None => Ok(lake),
        }
    }

    pub(super) fn open_at(lake: &str) -> Result<Self> {
        let url = address(lake)?;
        let store = LakeStore::open(&url, &store_options())?;
        let catalog = Arc::new(FolderCatalog::new(store.object_store(), store.path("")?, url.clone()));
        Ok(Self { url, store, catalog_url: None, catalog, glue: None })
    }

    fn with_catalog(mut self, catalog: &str) -> Result<Self> {
        if let Some(database) = catalog.strip_prefix("glue://").map(|d| d.trim_end_matches('/')) {
            return self.with_glue(database);
        }
        if catalog.contains("://") && !catalog.starts_with("file://") {
            bail!(
                "could not open the catalog {catalog}: it is no glue:// or file:/// address; \
                 give --catalog glue://DATABASE or a folder, or leave it out for the lake's own"
            );
        }
        let url = address(catalog)?;
        let folder = LakeStore::open(&url, &[])?;
        self.catalog =
            Arc::new(FolderCatalog::new(folder.object_store(), folder.path("")?, self.url.clone()));
        self.catalog_url = Some(url);
        Ok(self)
    }

    fn with_glue(mut self, database: &str) -> Result<Self> {
        if database.is_empty() || database.contains('/') {
            bail!("--catalog glue://{database} names no database; example: --catalog glue://analytics");
        }
        let access = Arc::new(AwsAccess::from_options(&store_options(), Patience::LONG)?);
        // The hasher's keys are random in each process.
        let seed = RandomState::new().build_hasher().finish();
        let client = Arc::new(GlueClient::new(access, seed));
        let catalog = GlueCatalog::new(Arc::clone(&client), database, &self.url, Arc::new(SystemClock));
        self.catalog = Arc::new(catalog);
        self.catalog_url = Some(format!("glue://{database}"));
        self.glue = Some(client);
        Ok(self)
    }

    /// Definitions of the folder, or the built-in ones where there is no folder.
    pub(super) fn definitions(global: &Global) -> Result<Vec<TableInput>> {
        if global.schemas.is_dir() {
            return Ok(read_definitions(&global.schemas)?);
        }
        if global.schemas != Path::new("schemas") {
            bail!(
                "{} is not a folder; give the folder of definitions with --schemas",
                global.schemas.display()
            );
        }
        BUILT_IN.iter().map(|text| Ok(TableInput::from_json(text)?)).collect()
    }

    /// Make sure that these tables, and the quarantine, are in the catalog: missing ones are created
    /// from the definitions, others are left as they are.
    pub(super) async fn ensure_tables(&self, global: &Global, tables: &[String]) -> Result<()> {
        let mut definitions = Self::definitions(global)?;
        definitions.push(weir::quarantine::definition()?);
        let known: Vec<_> = definitions.iter().map(|d| d.name.clone()).collect();
        let mut missing = Vec::new();
        for table in tables.iter().map(String::as_str).chain([weir::naming::QUARANTINE_TABLE]) {
            if self.catalog.definition(table).await?.is_some() {
                continue;
            }
            match definitions.iter().find(|d| d.name == table) {
                Some(definition) => missing.push(definition.clone()),
                None => bail!(
                    "table {table} is neither in the catalog nor in {}; tables there: {}",
                    global.schemas.display(),
                    known.join(", ")
                ),
            }
        }
        self.put_tables(&missing).await
    }

    /// Put definitions into the catalog, as `weir tables apply` does.
    pub(super) async fn put_tables(&self, definitions: &[TableInput]) -> Result<()> {
        let changes = plan_apply(definitions, &*self.catalog, &self.url).await?;
        if let Some(refused) = changes.iter().find(|c| matches!(c.change, Change::Refused { .. })) {
            bail!("{refused}");
        }
        apply(&changes, &*self.catalog).await?;
        Ok(())
    }
}
