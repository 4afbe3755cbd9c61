//! Formulas against figures worked out by hand from the services' pages.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    cost: CostArgs,
}

/// A batch of 4 MB in 80 ms at 512 MB, one file, of events of 500 B: 250 batches a GB, 20,000 of them
/// a second are 36 GB an hour.
const GIVEN: [&str; 9] = [
    "cost",
    "--batch-bytes=4e6",
    "--batch-ms=80",
    "--memory=512",
    "--event-bytes=500",
    "--files=1",
    "--parquet-share=0.1",
    "--close-s-per-gb=40",
    "--rate=20000",
];

fn table_of(args: &[&str]) -> CostTable {
    // What is given here stands for what is given above.
    let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
    let given = GIVEN.into_iter().filter(|flag| args.iter().all(|other| name(other) != name(flag)));
    let cli = Cli::parse_from(given.chain(args.iter().copied()));
    let prices = Prices::read(None).unwrap();
    costs(&prices, &measured(&cli.cost).unwrap(), &cli.cost)
}

fn usd(list: &[(String, f64)], name: &str) -> f64 {
    let found = list.iter().find(|(item, _)| item.starts_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {list:?}")).1
}

fn item(args: &[&str], name: &str) -> f64 {
    usd(&table_of(args).weir[0].items, name)
}

fn check(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 1e-6, "{what}: found {found}, by hand {expected}");
}

#[test]
fn each_item_is_what_a_calculation_by_hand_gives() {
    const GIB: f64 = 1_073_741_824.0;
    // 250 × (0.5 GiB × 80 ms × 0.0000133334 + 0.0000002)
    check(item(&[], "Lambda"), 250.0 * (0.5 * 0.080 * 0.0000133334 + 0.0000002), "Lambda on Graviton");
    check(
        item(&["--architecture=x86_64"], "Lambda"),
        250.0 * (0.5 * 0.080 * 0.0000166667 + 0.0000002),
        "on x86",
    );
    // 250 × (1 file + 1 commit + 1/32 checkpoint) puts at 0.005 a thousand
    check(item(&[], "S3 requests"), 250.0 * 2.03125 * 0.000005, "S3");
    // 250 lines of 2,700 + 450 B, and those of 60/36 runs of close
    check(item(&[], "logs"), (250.0 + 60.0 / 36.0) * 3_150.0 / GIB * 0.5, "logs");
    // 34 metrics for a 730th of a month, over 36 GB
    check(item(&[], "metrics"), 34.0 * 0.3 / 730.0 / 36.0, "metrics");
    // Half a partition: 20 shards register it, a revision takes 6 calls; 21 environments read tables
    // 12 times an hour.
    check(item(&[], "Glue calls"), (0.5 * 26.0 + 21.0 * 12.0 / 36.0) * 0.000001, "Glue calls");
    // 0.1 GB × 40 s × 1,769 MB; 250 live files of 400 KB with 7 gets each; half a revision with 10 + 1
    // puts, 9 lists and 11 gets; 60/36 runs with 24 gets, 1 put, 4 lists and 500 ms at 512 MB
    let (compaction, runs) = (0.1 * 40.0 * 1_769.0 / 1_024.0 * 0.0000133334, 60.0 / 36.0);
    let (puts, lists, gets) = (0.5 * 11.0 + runs, 0.5 * 9.0 + 4.0 * runs, 1_750.0 + 0.5 * 11.0 + 24.0 * runs);
    let requests = (puts + lists) * 0.000005 + gets * 0.0000004;
    let time = runs * (0.5 * 0.5 * 0.0000133334 + 0.0000002);
    check(item(&[], "close"), compaction + requests + time, "close");
    assert_eq!(item(&[], "KMS"), 0.0);
    // A call for each put and each get
    let calls = 250.0 * 2.03125 + puts + gets;
    check(item(&["--kms"], "KMS"), calls * 0.03 / 10_000.0, "KMS");
}

#[test]
fn firehose_rounds_each_record_up_and_counts_2_to_the_30_for_a_gb() {
    let put = 0.000005 * 1e9 / 128e6;
    for (bytes, billed) in [("500", 5_120.0 / 500.0), ("5120", 1.0), ("5121", 10_240.0 / 5_121.0)] {
        let found = usd(&table_of(&[&format!("--event-bytes={bytes}")]).others, "Firehose with");
        check(found, billed * 0.047 * 1e9 / 1_073_741_824.0 + put, bytes);
    }
    // The example of Firehose's page: 500 records a second, up to 5 KB each, are 6,179.81 GB a month.
    let page_gib = 500.0 * 5.0 / 1_048_576.0 * 86_400.0 * 30.0;
    let payload_gb = 500.0 * 500.0 * 86_400.0 * 30.0 / 1e9;
    let converted = usd(&table_of(&[]).others, "Firehose with") - put;
    check(converted * payload_gb, page_gib * (0.029 + 0.018), "a month");
    // Keys: 0.02 a GB delivered, and 0.005 for a thousand objects.
    let keys =
        usd(&table_of(&[]).others, "Firehose, conversion") - usd(&table_of(&[]).others, "Firehose with");
    check(keys, 0.02 * 1e9 / 1_073_741_824.0 + 1e9 / 128e6 * 0.000005, "keys");
}

#[test]
fn glue_streaming_is_paid_by_the_hour_in_quarters_of_a_dpu() {
    for (rate, dpus) in [("20000", 1.0), ("20001", 1.25), ("100", 0.5)] {
        let table = table_of(&[&format!("--rate={rate}")]);
        let gb_an_hour = rate.parse::<f64>().unwrap() * 500.0 * 3_600.0 / 1e9;
        check(usd(&table.others, "Glue streaming"), dpus * 0.44 / gb_an_hour, rate);
    }
}

#[test]
fn kinesis_is_paid_by_shards_and_units_or_by_rounded_gb() {
    let table = table_of(&[]);
    // 20 shards for 1,000 records a second each; a unit holds one record of 500 B
    check(
        usd(&table.stream, "Kinesis, 20 shards"),
        20.0 * 0.015 / 36.0 + 2e6 * 0.014 / 1e6,
        "single records",
    );
    // 10 MB a second are 10 shards of 1 MiB; 25 KB a unit
    check(
        usd(&table.stream, "Kinesis, 10 shards"),
        10.0 * 0.015 / 36.0 + 1e9 / 25_600.0 * 0.014 / 1e6,
        "aggregates",
    );
    // Each record counts as 1 KB, in and out
    let gib = 2e6 * 1_024.0 / 1_073_741_824.0;
    check(usd(&table.stream, "Kinesis on demand, single"), gib * 0.12 + 0.04 / 36.0, "on demand");
}

#[test]
fn a_batch_of_100_kb_is_computed_from_a_measured_one() {
    let table = table_of(&[]);
    let [full, small] = table.weir.as_slice() else { panic!("{table:?}") };
    assert_eq!((full.batch_bytes, full.batch_ms), (4e6, 80.0));
    // 45 ms stay, 35 shrink to a fortieth
    assert_eq!((small.batch_bytes, small.batch_ms, &small.measured_in), (1e5, 45.875, &None));
    check(usd(&small.items, "Lambda"), 10_000.0 * (0.5 * 0.046 * 0.0000133334 + 0.0000002), "Lambda");
    check(usd(&small.items, "S3 requests"), 10_000.0 * 2.03125 * 0.000005, "S3 requests");
}

#[test]
fn a_sweep_gives_bytes_requests_files_and_log_as_they_were_measured() {
    let inputs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/inputs");
    let (full, small) = (format!("{inputs}/sweep.json"), format!("{inputs}/sweep-100kb.json"));
    let cli = Cli::parse_from(["cost", "--sweep", &full, "--sweep", &small]);
    let measured = measured(&cli.cost).unwrap();
    let [(batch, Some(file)), (_, Some(_))] = measured.as_slice() else { panic!("{measured:?}") };
    assert_eq!(*file, full);
    let AnyResult::Sweep(sweep) = crate::report::read(Path::new(file)).unwrap() else { panic!() };
    let size = sweep.sizes.iter().find(|size| size.memory_mb == batch.memory_mb).unwrap();
    let figures = size.batch.as_ref().unwrap();
    // The store was a folder: two puts to S3 come on top.
    assert_eq!(batch.batch_ms, median(&size.batches_ms) + 45.0);
    assert_eq!((batch.files, batch.files_bytes), (figures.files, figures.files_bytes));
    assert_eq!(batch.log_bytes, figures.log_bytes);
    assert!(batch.puts >= figures.puts && batch.puts >= batch.files + 1.0, "{batch:?}");
    assert!(sweep.sizes.iter().filter(|s| s.failed.is_none()).all(|s| s.usd_per_gb >= size.usd_per_gb));
}
