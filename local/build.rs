//! How the command is linked. Each start of it is mostly the loader's work.

#[allow(clippy::disallowed_methods, reason = "a build script's arguments are its environment")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(name).unwrap_or_default();
    if target("CARGO_CFG_TARGET_OS") == "linux" && target("CARGO_CFG_TARGET_ENV") == "gnu" {
        // At a fixed address, as the functions are (docs/ARCHITECTURE.md, "Cold start"): half a million
        // relocations less, 17 MB that each command would read and write before `main`.
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
