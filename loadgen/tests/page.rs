#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! The page of `loadgen report` in a real browser: every chart is drawn, nothing is asked of the network
//! and no script fails. Skips with a notice where Chromium is absent.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use weir_loadgen::report::model::AnyResult;
use weir_loadgen::report::page;
use weir_loadgen::run::Latencies;

/// Counts the pixels that each chart has drawn, and what failed.
const PROBE: &str = "<script>addEventListener('load', () => setTimeout(() => {
  const drawn = [...document.querySelectorAll('canvas')].map((canvas) => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let ink = 0;
    for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) ink += 1;
    return ink > 2000;
  });
  document.documentElement.dataset.drawn = String(drawn.filter(Boolean).length);
}, 300));</script></body>";

fn chromium() -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/local/bin", "/snap/bin", "/opt/google/chrome"];
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let mut found = folders.iter().flat_map(|folder| names.map(|name| Path::new(folder).join(name)));
    found.find(|path| path.is_file())
}

fn latencies(scale: u64) -> Value {
    let mut recorded = Latencies::new();
    for i in 0..20_000u64 {
        recorded.record((scale * (1_000 + i * 7_919 % 9_000) * if i % 500 == 0 { 20 } else { 1 }) as i64);
    }
    serde_json::to_value(recorded.summary()).unwrap()
}

fn results() -> Vec<(String, AnyResult)> {
    let series: Vec<Value> = (0..30)
        .map(|s| {
            json!({"second": s, "sent": 5_000 + s % 7 * 40, "acknowledged": 5_000, "committed": if s == 0 { 0 } else { 4_990 },
                "errors": 0, "throttled": 0, "lag": 3_000 + s * 10 % 900, "iterator_age_ms": 400 + s * 37 % 600, "rss_bytes": 60_000_000})
        })
        .collect();
    let run = json!({"config": {"tag": 7, "started_us": 1, "table": "clickstream", "target": "kinesis clickstream", "rate": "5000/s",
            "seed": 7, "percentages": [0.0, 0.0, 0.0, 0.0], "id_column": "event_id", "packing": "single </script><b>", "replay": null,
            "lanes": 2},
        "seconds": 30.0, "scheduled": 150_000, "generated": 150_000, "acknowledged": 150_000, "given_up": 0, "rate": 5000.0,
        "asked_rate": 5000.0, "records": 150_000, "requests": 300, "payload_bytes": 81_000_000, "event_bytes": 81_000_000,
        "throttled": 0, "retried": 0, "failed_requests": 0, "failures": {}, "ended_early": null, "put": latencies(1),
        "committed": latencies(100), "queryable": latencies(110), "skew": null, "series": series, "peak_rss_bytes": 60_000_000,
        "truth": null, "ledger": []});
    let starts = |ms: f64| -> Vec<Value> {
        (0..31)
            .map(|i| {
                let noise = f64::from(i * 7 % 31) / 60.0;
                json!({"process_ms": 0.4 + noise, "init_ms": ms + noise, "batches_ms": [ms * 4.0 + noise, ms * 3.0 + noise],
                    "billed_ms": null, "restore_ms": null, "resident_bytes": [9_000_000, 20_000_000]})
            })
            .collect()
    };
    let cold = json!({"place": "Here", "records": 1000, "baseline": true, "functions": [
        {"name": "target/lambda/empty_function", "starts": starts(1.2)}, {"name": "target/lambda/ingest", "starts": starts(1.8)}]});
    let size = |mb: u32, ms: f64| {
        json!({"memory_mb": mb, "vcpu": f64::from(mb) / 1769.0, "first_poll_ms": ms / 4.0, "first_batch_ms": ms * 1.4,
            "batches_ms": [ms, ms, ms], "cpu_ms": 9.0, "resident_bytes": 30_000_000,
            "usd_per_million_events": ms * f64::from(mb) / 1e8, "usd_per_gb": ms * f64::from(mb) / 5e7, "failed": null})
    };
    let sweep = json!({"function": "target/lambda/ingest", "throttle": "cgroup cpu.max", "processors": 2, "records": 4000,
        "payload_bytes": 2_160_000, "prices_of": "2026-11-21", "architecture": "arm64",
        "sizes": [size(128, 120.0), size(512, 30.0), size(1769, 9.0), size(3538, 8.8)]});
    let parse = |value: Value| serde_json::from_value::<AnyResult>(value).unwrap();
    vec![
        ("run.json".into(), parse(run)),
        ("cold.json".into(), parse(cold)),
        ("sweep.json".into(), parse(sweep)),
    ]
}

fn browse(browser: &Path, folder: &Path, page: &Path) -> (String, String) {
    let out = Command::new("timeout")
        .arg("60")
        .arg(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--hide-scrollbars",
            "--window-size=1200,4700",
            "--virtual-time-budget=5000",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--screenshot={}", folder.join("page.png").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn every_chart_is_drawn_and_nothing_is_asked_of_the_network() {
    let text = page(&results()).unwrap();
    // Our own marks and the text of results never end the data element.
    assert!(!text.contains("single </script>") && !text.contains("{{"));
    for address in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!text.contains(address), "{address}");
    }
    let Some(browser) = chromium() else {
        // Not by the macro, whose output is only shown when a test fails.
        writeln!(std::io::stderr(), "\nSKIPPED, not looked at in a browser: apt-get install chromium\n")
            .unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    std::fs::write(&file, text.replace("</body>", PROBE)).unwrap();
    let (dom, log) = browse(&browser, folder.path(), &file);
    let failures: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(dom.contains("data-charts=\"7\""), "{log}\n{dom:.400}");
    assert!(dom.contains("data-drawn=\"7\""), "{:?}", dom.split("<head").next());
    // To be looked at.
    std::fs::copy(folder.path().join("page.png"), concat!(env!("CARGO_TARGET_TMPDIR"), "/report.png"))
        .unwrap();
}
