//! How the functions are linked. A cold start is mostly pages that are touched for the first time.

#[allow(clippy::disallowed_methods, reason = "a build script's arguments are its environment")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(name).unwrap_or_default();
    if target("CARGO_CFG_TARGET_OS") == "linux" && target("CARGO_CFG_TARGET_ENV") == "gnu" {
        // At a fixed address: 27,000 relocations less, which write to 100 pages before `main`. Stack,
        // heap and libraries keep their random places.
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
