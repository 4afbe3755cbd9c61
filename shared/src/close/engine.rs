//! Bytes of a partition → where its aggregation runs: in a function, or on Spark in a Glue job.

use std::str::FromStr;

/// What runs an aggregation job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// DataFusion, in the function `aggregate` or in this process
    Function,
    /// Spark, in a Glue job
    Glue,
}

/// `WEIR_AGGREGATE_ENGINE`: `function`, `glue`, or the size above which Glue takes over (`2GB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineSetting {
    /// One engine, whatever the size
    Always(Engine),
    /// A function up to that many bytes of Parquet, Glue above
    Above(u64),
}

impl Default for EngineSetting {
    /// 2 GB: a function reads about that much Parquet in a minute or two, and a Glue job bills a
    /// minute of two workers at least, which is dearer for anything smaller.
    fn default() -> Self {
        EngineSetting::Above(2 << 30)
    }
}

impl FromStr for EngineSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no engine; write `function`, `glue`, or a size as `2GB` or `500MB`");
        match text.trim() {
            "function" => return Ok(EngineSetting::Always(Engine::Function)),
            "glue" => return Ok(EngineSetting::Always(Engine::Glue)),
            _ => {}
        }
        let size = |unit: &str, shift: u32| {
            let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(1 << shift)
        };
        size("GB", 30).or_else(|| size("MB", 20)).map(EngineSetting::Above).ok_or_else(wrong)
    }
}

/// The engine for a partition of so many bytes, and why, for the log.
pub fn choose_engine(bytes: u64, setting: EngineSetting) -> (Engine, String) {
    match setting {
        EngineSetting::Always(engine) => (engine, format!("the setting says {engine:?} whatever the size")),
        EngineSetting::Above(limit) if bytes > limit => {
            (Engine::Glue, format!("{bytes} bytes are more than the limit of {limit} for a function"))
        }
        EngineSetting::Above(limit) => {
            (Engine::Function, format!("{bytes} bytes are within the limit of {limit} for a function"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_decides_unless_the_setting_does() {
        for (setting, bytes, engine, reason) in [
            ("2GB", 2 << 30, Engine::Function, "within the limit of 2147483648"),
            ("2GB", (2 << 30) + 1, Engine::Glue, "more than the limit of 2147483648"),
            ("500 MB", 600 << 20, Engine::Glue, "more than"),
            ("0MB", 0, Engine::Function, "within"),
            ("function", u64::MAX, Engine::Function, "the setting says"),
            ("glue", 0, Engine::Glue, "the setting says"),
        ] {
            let (chosen, why) = choose_engine(bytes, setting.parse().unwrap());
            assert_eq!(chosen, engine, "{setting} {bytes}");
            assert!(why.contains(reason), "{why}");
        }
        for wrong in ["", "spark", "2", "2TB", "-1GB", "99999999999999GB"] {
            assert!(wrong.parse::<EngineSetting>().unwrap_err().contains("write `function`"), "{wrong}");
        }
        assert_eq!(choose_engine(1, EngineSetting::default()).0, Engine::Function);
    }
}
