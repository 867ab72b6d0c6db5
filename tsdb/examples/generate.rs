//! Writes generated telemetry of a fleet: `generate [csv|chunks] [seed] [connectors] [ticks] > FILE`.
//!
//! * `csv` (the default): a line per tick: series, stamp in microseconds, and the six values as
//!   scaled integers (0.1 V, 0.01 A, W, Wh, 0.1 °C, 0.1 %).
//! * `chunks`: for each chunk the series (8 bytes), the length (4 bytes), both little-endian, and
//!   the bytes of `docs/formats/chunk.md`.
//!
//! The same seed gives the same bytes on every machine.

use std::io::{BufWriter, Error, Write};

use novax_tsdb::generate::{Config, Generated, Generator};
use novax_tsdb::{CHUNK_TICKS_MAX, encode_chunk};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let format = arguments.next().unwrap_or_else(|| "csv".to_owned());
    let mut number = |default: u64| match arguments.next().map(|text| text.parse()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(error)) => Err(Error::other(format!("not a number: {error}"))),
    };
    let default = Config::default();
    let seed = number(1)?;
    let connectors = number(default.connectors.into())?.try_into().map_err(Error::other)?;
    let ticks = number(default.ticks.into())?.try_into().map_err(Error::other)?;
    let fleet = Generator::new(seed, Config { connectors, ticks, ..default });
    let mut out = BufWriter::new(std::io::stdout().lock());
    match format.as_str() {
        "csv" => {
            writeln!(out, "series,at_us,voltage,current,power,energy,temperature,soc")?;
            fleet.into_iter().try_for_each(|one| write_csv(&mut out, &one))?;
        }
        "chunks" => fleet.into_iter().try_for_each(|one| write_chunks(&mut out, &one))?,
        other => return Err(Error::other(format!("unknown format {other}: csv or chunks"))),
    }
    out.flush()
}

fn write_csv(out: &mut impl Write, one: &Generated) -> Result<(), Error> {
    for tick in &one.ticks {
        write!(out, "{},{}", one.series, tick.at.0)?;
        for value in tick.values {
            match value {
                Some(value) => write!(out, ",{value}")?,
                None => write!(out, ",")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_chunks(out: &mut impl Write, one: &Generated) -> Result<(), Error> {
    for ticks in one.ticks.chunks(CHUNK_TICKS_MAX) {
        let bytes = encode_chunk(ticks);
        out.write_all(&one.series.to_le_bytes())?;
        out.write_all(&u32::try_from(bytes.len()).map_err(Error::other)?.to_le_bytes())?;
        out.write_all(&bytes)?;
    }
    Ok(())
}
