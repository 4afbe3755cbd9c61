#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! The Glue catalog and the actions of close against moto and MiniStack, each for what it is
//! faithful in, and the built programs with them.

mod actions;
mod apply;
mod catalog;
mod close;
mod ingest;
mod measure;

use std::sync::Arc;

use weir::catalog::glue::{AwsAccess, GlueCatalog, GlueClient, Patience};
use weir::clock::SystemClock;
use weir_tests::aws::{Aws, StandIn};

/// Both stand-ins, where they can be had.
fn both() -> impl Iterator<Item = (StandIn, Arc<Aws>)> {
    [StandIn::Moto, StandIn::MiniStack].into_iter().filter_map(|which| Some((which, Aws::shared(which)?)))
}

/// A client as a program would have it.
fn client(aws: &Aws) -> Arc<GlueClient> {
    let options: Vec<_> = aws.environment().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let access = AwsAccess::from_options(&options, Patience::LONG).unwrap();
    Arc::new(GlueClient::new(Arc::new(access), 7))
}

/// A catalog of the database for the lake at URL `lake`, as another process would have it.
fn catalog(aws: &Aws, database: &str, lake: &str) -> GlueCatalog {
    GlueCatalog::new(client(aws), database, lake, Arc::new(SystemClock))
}

/// Make a database.
fn database(aws: &Aws, name: &str) {
    aws.cli(["glue", "create-database", "--database-input", &format!("Name={name}")]);
}
