//! gzip and zstd payloads → bytes, never more than a bound.

use std::io::Read;

use zstd::zstd_safe::{DCtx, DParameter, ResetDirective};

/// Largest zstd window that is allocated: that of `zstd --ultra -22`, and no more than a record may
/// inflate to. The format itself allows frames to ask for terabytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// What became of a payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inflated {
    /// All of it stands at the end of the buffer.
    Whole,
    /// It goes on past the bound; the buffer holds some of it.
    TooLarge,
    /// It is cut short or damaged; the buffer holds some of it.
    Broken(String),
}

/// Decompressors that are kept.
#[derive(Default)]
pub(super) struct Inflater {
    zstd: Option<DCtx<'static>>,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// Append the content of a payload with one of the two magics, all members or frames of it.
    pub(super) fn inflate(&mut self, raw: &[u8], out: &mut Vec<u8>, bound: usize) -> Inflated {
        if raw.starts_with(&[0x1F, 0x8B]) {
            return read_bounded(flate2::bufread::MultiGzDecoder::new(raw), out, bound);
        }
        let context = self.zstd.get_or_insert_with(DCtx::create);
        // A record that broke off leaves its state behind.
        let ready = context
            .reset(ResetDirective::SessionOnly)
            .and_then(|_| context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)));
        if let Err(code) = ready {
            return Inflated::Broken(zstd::zstd_safe::get_error_name(code).to_owned());
        }
        read_bounded(zstd::stream::read::Decoder::with_context(raw, context), out, bound)
    }
}

fn read_bounded(content: impl Read, out: &mut Vec<u8>, bound: usize) -> Inflated {
    let before = out.len();
    match content.take(bound as u64 + 1).read_to_end(out) {
        Ok(_) if out.len() - before > bound => Inflated::TooLarge,
        Ok(_) => Inflated::Whole,
        Err(problem) => Inflated::Broken(problem.to_string()),
    }
}
