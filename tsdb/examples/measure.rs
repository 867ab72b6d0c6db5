//! What the codec takes and how fast it is: `cargo run --release -p novax-tsdb --example measure`.
//!
//! Optional arguments: connectors, ticks. Sizes are exact and the same everywhere; rates are of this
//! machine, one thread, CPU time (wall clock where `/proc` does not say).

use std::hint::black_box;
use std::time::Instant;

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};
use novax_tsdb::cold::{ColdIndex, ColdWriter, Wanted, Window, decode_group};
use novax_tsdb::generate::{Config, Generated, Generator};
use novax_tsdb::{
    BLOCK_TICKS_MAX, BlockBuilder, CHUNK_TICKS_MAX, Chunk, Columns, Scratch, decode_block,
    decode_chunk, encode_chunk,
};

const NAMES: [&str; 6] = ["voltage", "current", "power", "energy", "temperature", "soc"];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let connectors = arguments.next().unwrap_or(1_667);
    let ticks = arguments.next().unwrap_or(1_000);
    let config = Config { connectors, ticks, ..Config::default() };
    let fleet: Vec<Generated> = Generator::new(1, config).collect();
    let samples = fleet.iter().map(|one| one.ticks.len() * 6).sum::<usize>();
    println!("{connectors} connectors x {ticks} ticks x 6: {samples} samples");
    for length in [CHUNK_TICKS_MAX.min(1_000), 128] {
        hot(&fleet, samples, length);
    }
    cold(&fleet, samples);
    log(&fleet);
}

/// Millions of samples a second: as many rounds as take a third of a second.
fn rate(samples: usize, mut round: impl FnMut()) -> f64 {
    round();
    let (begin, begin_cpu) = (Instant::now(), cpu_ns());
    let mut rounds = 0;
    while begin.elapsed().as_millis() < 333 {
        round();
        rounds += 1;
    }
    let seconds = match (begin_cpu, cpu_ns()) {
        (Some(begin), Some(end)) => (end - begin) as f64 / 1e9,
        _ => begin.elapsed().as_secs_f64(),
    };
    (samples * rounds) as f64 / seconds / 1e6
}

/// What this thread has had of a processor, in nanoseconds.
fn cpu_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

fn pieces(fleet: &[Generated], length: usize) -> impl Iterator<Item = &[MeterTick]> {
    fleet.iter().flat_map(move |one| one.ticks.chunks(length))
}

fn hot(fleet: &[Generated], samples: usize, length: usize) {
    let chunks: Vec<Vec<u8>> = pieces(fleet, length).map(encode_chunk).collect();
    let each = |bytes: usize| bytes as f64 / samples as f64;
    let (mut stamps, mut columns) = (0, [0; 6]);
    for (bytes, ticks) in chunks.iter().zip(pieces(fleet, length)) {
        assert_eq!(decode_chunk(bytes).expect("a chunk"), ticks, "exact to the bit");
        let lens = Chunk::open(bytes).expect("a chunk").section_lens().expect("version 2");
        stamps += lens.0;
        columns.iter_mut().zip(lens.1).for_each(|(sum, len)| *sum += len);
    }
    let total: usize = chunks.iter().map(Vec::len).sum();
    println!("\nhot, {length} ticks a chunk: {:.4} B/sample", each(total));
    println!("  stamps {:.4} ({:.3} B/row)", each(stamps), each(stamps) * 6.0);
    for (name, bytes) in NAMES.iter().zip(columns) {
        println!("  {name} {:.4} ({:.3} B/value)", each(bytes), each(bytes) * 6.0);
    }
    println!("  headers {:.4}", each(total - stamps - columns.iter().sum::<usize>()));

    let encode = rate(samples, || {
        pieces(fleet, length).for_each(|ticks| drop(black_box(encode_chunk(ticks))));
    });
    let decode = rate(samples, || {
        chunks.iter().for_each(|bytes| drop(black_box(decode_chunk(bytes))));
    });
    println!("  encode {encode:.1} M/s, decode to ticks {decode:.1} M/s");
    let mut scratch = Scratch::new();
    let all = rate(samples, || {
        for bytes in &chunks {
            let chunk = Chunk::open(bytes).expect("a chunk");
            chunk.load(Columns::ALL, &mut scratch).expect("a chunk");
            for measurand in MEASURANDS {
                black_box(scratch.column(measurand).summary(0..chunk.len()));
            }
        }
    });
    println!("  scan of all columns (decode, min, max, sum, count): {all:.0} M/s");
    for (name, measurand) in NAMES.iter().zip(MEASURANDS) {
        let one = rate(samples / 6, || {
            for bytes in &chunks {
                let chunk = Chunk::open(bytes).expect("a chunk");
                chunk.load(Columns::of(measurand), &mut scratch).expect("a chunk");
                black_box(scratch.column(measurand).summary(0..chunk.len()));
            }
        });
        println!("  scan of {name}: {one:.0} M/s");
    }
    let headers = rate(samples, || {
        for bytes in &chunks {
            let chunk = Chunk::open(bytes).expect("a chunk");
            for measurand in MEASURANDS {
                let end = Timestamp(u64::MAX);
                black_box(chunk.aggregate(measurand, Timestamp::ZERO, end, &mut scratch))
                    .expect("a chunk");
            }
        }
    });
    println!("  aggregate of whole chunks: {headers:.0} M/s");
}

fn cold(fleet: &[Generated], samples: usize) {
    let window = Window { from: Timestamp::ZERO, to: Timestamp(u64::MAX) };
    let write = || {
        let mut writer = ColdWriter::new(window);
        fleet.iter().for_each(|one| writer.add_series(one.series, &one.ticks, &[]));
        writer.finish()
    };
    let file = write();
    let index = ColdIndex::parse(&file).expect("a cold file");
    let each = |bytes: u64| bytes as f64 / samples as f64;
    println!("\ncold: {:.4} B/sample, {} groups", each(file.len() as u64), index.group_count());
    let range = |start: u64, end: u64| &file[start as usize..end as usize];
    let mut scratch = Scratch::new();
    let wanted =
        |columns| Wanted { series: None, from: Timestamp::ZERO, to: Timestamp(u64::MAX), columns };
    let size = |columns| -> u64 {
        let plans = index.plan(&wanted(columns));
        plans.iter().flat_map(|plan| &plan.ranges).map(|range| range.end - range.start).sum()
    };
    println!(
        "  stamps {:.4}, all columns {:.4}",
        each(size(Columns::STAMPS)),
        each(size(Columns::ALL)) - each(size(Columns::STAMPS))
    );
    for (name, measurand) in NAMES.iter().zip(MEASURANDS) {
        println!(
            "  {name} and what it is predicted from: {:.4}",
            each(size(Columns::of(measurand)))
        );
    }
    println!("  index and footer {:.4}", each(file.len() as u64 - size(Columns::ALL)));
    let encode = rate(samples, || drop(black_box(write())));
    println!("  encode {encode:.1} M/s");
    let mut scan = |columns: Columns, measurands: &[Measurand]| {
        rate(samples / 6 * measurands.len(), || {
            for plan in index.plan(&wanted(columns)) {
                let blocks: Vec<&[u8]> =
                    plan.ranges.iter().map(|one| range(one.start, one.end)).collect();
                for one in decode_group(&index, &plan, &blocks, &mut scratch).expect("a group") {
                    for measurand in measurands {
                        black_box(scratch.column(*measurand).summary(one.rows.clone()));
                    }
                }
            }
        })
    };
    let columns = MEASURANDS.into_iter().map(Columns::of).fold(Columns::NONE, Columns::and);
    println!("  scan of all columns: {:.0} M/s", scan(columns, &MEASURANDS));
    println!("  scan of all columns and stamps: {:.0} M/s", scan(Columns::ALL, &MEASURANDS));
    for (name, measurand) in NAMES.iter().zip(MEASURANDS) {
        println!("  scan of {name}: {:.0} M/s", scan(Columns::of(measurand), &[measurand]));
    }
}

/// Blocks as the log carries them: a tick of each series, again and again.
fn log(fleet: &[Generated]) {
    let ticks = fleet.iter().map(|one| one.ticks.len()).min().unwrap_or(0).min(100);
    let gathered = |tick: usize| {
        let mut block = BlockBuilder::new();
        fleet.iter().take(BLOCK_TICKS_MAX).for_each(|one| block.push(one.series, one.ticks[tick]));
        block.finish()
    };
    let blocks: Vec<Vec<u8>> = (0..ticks).map(gathered).collect();
    let rows = fleet.len().min(BLOCK_TICKS_MAX) * ticks;
    let bytes: usize = blocks.iter().map(Vec::len).sum();
    let encode = rate(rows, || (0..ticks).for_each(|tick| drop(black_box(gathered(tick)))));
    let decode = rate(rows, || blocks.iter().for_each(|one| drop(black_box(decode_block(one)))));
    let each = bytes as f64 / rows as f64;
    println!(
        "\nlog blocks: {each:.2} B/tick, encode {encode:.2} M ticks/s, decode {decode:.2} M ticks/s"
    );
}
