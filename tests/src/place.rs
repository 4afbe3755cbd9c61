//! Where things are: the checkout, the target folder, the real input data.

use std::path::{Path, PathBuf};

/// A setting of the test run. The one reader of the environment in this package.
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment in the tests")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether this run must not skip what a developer's machine may lack.
pub fn in_ci() -> bool {
    setting("CI").is_some_and(|value| value != "false" && value != "0")
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The target folder and the folder of the profile this test was built with
/// (`target`, `debug`), read from the test's own path: `target/debug/deps/end_to_end-…`.
pub fn target() -> (PathBuf, String) {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().find(|p| p.file_name().is_some_and(|n| n == "deps")).unwrap();
    let profile = profile.parent().unwrap();
    let name = profile.file_name().unwrap().to_str().unwrap().to_owned();
    (profile.parent().unwrap().to_path_buf(), name)
}

/// A folder of the test environment that outlives the run, under the target folder.
pub fn kept(name: &str) -> PathBuf {
    let folder = target().0.join("weir-tests").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file of the real input data (`WEIR_DATA`, or `../shared/data` beside the checkout), or a
/// notice and `None` where the data is absent: the test that asks then skips.
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = match setting("WEIR_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => checkout().parent()?.join("shared/data"),
    };
    let file = folder.join(name);
    if file.exists() {
        return Some(file);
    }
    eprintln!("skipped: {} is absent; set WEIR_DATA to the folder of the input data", file.display());
    None
}
