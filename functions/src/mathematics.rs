//! The three functions of C's library of mathematics that crates ask for (a scheduler's statistics, the
//! precision of a decimal), so that the programs do without it: `libm.so`, found, mapped and relocated at
//! each start, was a twentieth of the time to the first poll (docs/ARCHITECTURE.md, "Cold start"). Part of
//! the programs and not of the library, since `weir` has queries that compute.

// SAFETY, of all: names and types are C's, and nothing else that is linked defines them.

#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

#[unsafe(no_mangle)]
extern "C" fn log(of: f64) -> f64 {
    libm::log(of)
}

#[unsafe(no_mangle)]
extern "C" fn log10(of: f64) -> f64 {
    libm::log10(of)
}
