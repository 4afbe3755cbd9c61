//! Prices: one dated file, the built-in one or the user's. Each name says the unit, and each field its
//! page's words for it. What AWS calls a GB is 2^30 bytes and named gib here: Firehose's page divides
//! KB by 1,048,576, Lambda's MB by 1,024.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What the program carries.
const BUILT_IN: &str = include_str!("../../prices.json");

/// Processor architecture of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// Graviton
    Arm64,
    /// Intel and AMD
    #[value(name = "x86_64")]
    X86,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arm64 => "arm64",
            Self::X86 => "x86_64",
        })
    }
}

/// All prices, in USD.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Day they were looked up.
    pub date: String,
    /// Region.
    pub region: String,
    #[serde(rename = "note", default)]
    _note: String,
    /// Lambda.
    pub lambda: Lambda,
    /// S3.
    pub s3: S3,
    /// Kinesis Data Streams.
    pub kinesis: Kinesis,
    /// CloudWatch Logs.
    pub logs: Logs,
    /// KMS.
    pub kms: Kms,
    /// Glue.
    pub glue: Glue,
    /// Firehose.
    pub firehose: Firehose,
}

macro_rules! service {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The page they stand on.
            pub source: String,
            $($(#[$field_doc])* pub $field: f64,)*
        }
    };
}

service! {
    /// <https://aws.amazon.com/lambda/pricing/>
    Lambda {
        /// A GB-second on x86: 1,024 MB for a second.
        gib_second_x86_64,
        /// A GB-second on Graviton.
        gib_second_arm64,
        /// A million requests.
        million_requests,
    }
}
service! {
    /// <https://aws.amazon.com/s3/pricing/>
    S3 {
        /// A thousand PUT or LIST requests, refused ones included.
        thousand_puts_and_lists,
        /// A thousand GET requests.
        thousand_gets,
    }
}
service! {
    /// <https://aws.amazon.com/kinesis/data-streams/pricing/>
    Kinesis {
        /// A provisioned shard for an hour.
        shard_hour,
        /// A million payload units.
        million_put_units,
        /// Bytes of a payload unit; a record takes whole units.
        put_unit_bytes,
        /// What a shard takes.
        shard_bytes_per_second,
        /// What a shard takes.
        shard_records_per_second,
        /// A stream on demand for an hour.
        on_demand_stream_hour,
        /// A GB put on demand, each record rounded up.
        on_demand_gib_in,
        /// A GB read on demand, each record rounded up.
        on_demand_gib_out,
        /// Bytes that each record is rounded up to a multiple of, on demand.
        on_demand_record_unit_bytes,
    }
}
service! {
    /// <https://aws.amazon.com/cloudwatch/pricing/>
    Logs {
        /// A GB of log lines of the standard class.
        gib_ingested,
        /// A custom metric for a month, also of the embedded format.
        metric_month,
    }
}
service! {
    /// <https://aws.amazon.com/kms/pricing/>
    Kms {
        /// Ten thousand requests.
        ten_thousand_requests,
    }
}
service! {
    /// <https://aws.amazon.com/glue/pricing/>
    Glue {
        /// A million catalog requests.
        million_catalog_requests,
        /// A DPU for an hour, streaming included.
        dpu_hour,
    }
}
service! {
    /// <https://aws.amazon.com/firehose/pricing/>
    Firehose {
        /// A GB ingested from PUTs or a Kinesis stream, each record rounded up.
        gib_ingested,
        /// A GB converted to Parquet, each record rounded up.
        gib_converted,
        /// A GB delivered to partitions of keys.
        gib_partitioned,
        /// A thousand objects of partitions.
        thousand_partition_objects,
        /// Bytes that each record is rounded up to a multiple of.
        record_unit_bytes,
    }
}

impl Prices {
    /// The user's file, or the built-in one.
    ///
    /// # Errors
    /// The file cannot be read or does not hold every price.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(serde_json::from_str(BUILT_IN)?) };
        let text =
            std::fs::read(file).with_context(|| format!("could not read the prices {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is not a file of prices; `loadgen cost --print-prices` prints one to begin with",
                file.display()
            )
        })
    }

    /// The text of the built-in file.
    pub fn built_in_text() -> &'static str {
        BUILT_IN
    }
}

/// Bytes of what AWS's prices call a GB.
pub(super) const GIB: f64 = (1u64 << 30) as f64;

impl Lambda {
    /// A GB-second.
    pub fn gib_second(&self, architecture: Architecture) -> f64 {
        match architecture {
            Architecture::Arm64 => self.gib_second_arm64,
            Architecture::X86 => self.gib_second_x86_64,
        }
    }

    /// One invocation: billed by the millisecond begun, and its request.
    pub fn usd(&self, architecture: Architecture, memory_mb: u32, duration_ms: f64) -> f64 {
        let gib_seconds = f64::from(memory_mb) / 1024.0 * duration_ms.ceil() / 1e3;
        gib_seconds * self.gib_second(architecture) + self.million_requests / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_is_billed_by_the_millisecond_begun() {
        let lambda = Prices::read(None).unwrap().lambda;
        let request = 0.2e-6;
        for (architecture, memory_mb, ms, expected) in [
            (Architecture::X86, 1_024, 1_000.0, 16.6667e-6 + request),
            (Architecture::X86, 512, 0.2, 8.33335e-9 + request),
            (Architecture::Arm64, 2_048, 10.0, 266.668e-9 + request),
            (Architecture::Arm64, 2_048, 9.1, 266.668e-9 + request),
        ] {
            let usd = lambda.usd(architecture, memory_mb, ms);
            assert!((usd - expected).abs() < 1e-12, "{architecture} {memory_mb} {ms}: {usd}");
        }
    }

    #[test]
    fn a_file_without_a_price_or_with_a_wrong_name_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (from, to) in [("\"shard_hour\": 0.015,", ""), ("\"shard_hour\"", "\"shard_hours\"")] {
            std::fs::write(file.path(), BUILT_IN.replace(from, to)).unwrap();
            let error = format!("{:#}", Prices::read(Some(file.path())).unwrap_err());
            assert!(error.contains("shard_hour"), "{error}");
        }
        std::fs::write(file.path(), BUILT_IN).unwrap();
        assert_eq!(Prices::read(Some(file.path())).unwrap().date.len(), 10);
        assert!(Prices::read(Some(Path::new("/nowhere"))).is_err());
    }
}
