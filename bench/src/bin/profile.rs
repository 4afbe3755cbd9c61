//! One thread, one file, one stage: where the time goes.
use std::time::Instant;
use weir::{
    clock::EpochMicros,
    columns::ColumnSet,
    decode::{Decoder, Path},
    pipeline::RowBuffers,
    record::*,
    schema::*,
};
#[allow(clippy::unwrap_used)]
fn main() {
    let mut args = std::env::args().skip(1);
    let (stage, file) = (args.next().unwrap(), args.next().unwrap());
    let text = std::fs::read(file).unwrap();
    let table =
        weir::schema::TableSchema::parse(&std::fs::read_to_string("schemas/clickstream.json").unwrap())
            .unwrap();
    let path = if stage == "tape" { Path::Judge } else { Path::Fast };
    let t = Instant::now();
    let (mut rows, mut bad) = (0u64, 0u64);
    if stage == "rows" {
        let shard = Shard { stream: "file".into(), stream_key: "file-0".into(), shard: "0".into() };
        let mut buffers = RowBuffers::new(table.into(), shard, 20 << 20).unwrap();
        let mut at = 0u64;
        let mut out = 0;
        for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let id = RecordId { sequence: at.into(), subsequence: 0 };
            match buffers.push(line, true, id, EpochMicros(1_795_500_000_000_000)).unwrap() {
                None => rows += 1,
                Some(d) => {
                    bad += 1;
                    if bad < 4 {
                        eprintln!("{:?} {}", d.reason, d.path)
                    }
                }
            }
            at += line.len() as u64 + 1;
            if buffers.encoded_bytes() > 16 << 20 {
                out += buffers.take_files().unwrap().iter().map(|f| f.bytes.len()).sum::<usize>();
            }
        }
        out += buffers.take_files().unwrap().iter().map(|f| f.bytes.len()).sum::<usize>();
        println!("out {out}");
    } else {
        let mut decoder = Decoder::new(&table, path).unwrap();
        let mut set = ColumnSet::new(decoder.layout());
        for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            match decoder.decode(line, true, &mut set) {
                Ok(()) => {
                    rows += 1;
                    if let Some(p) = decoder.layout().provenance {
                        set.push_null(p..p + 5, 0, 0);
                    }
                    set.finish_row();
                }
                Err(r) => {
                    bad += 1;
                    if bad < 4 {
                        eprintln!("{r:?}")
                    }
                }
            }
            if set.rows >= 65536 {
                set.clear();
            }
        }
    }
    let s = t.elapsed().as_secs_f64();
    println!("{stage}: {rows} rows {bad} bad {:.0} MB/s {s:.3}s", text.len() as f64 / 1e6 / s);
}
