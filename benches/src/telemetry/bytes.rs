//! Bytes to block, on one thread and without sockets: the same readers and the same builder that a shard uses.

use crate::cpu;
use crate::figures::Figures;
use crate::start_charge::meter_values;
use novax_model::Timestamp;
use novax_tsdb::BlockBuilder;
use novax_wire::ocpp::{frame, meter, v16};
use novax_wire::ws::{self, Event, Limits, Receiver, Role};
use std::time::Duration;

/// Messages of a block, each of another station.
const MESSAGES: usize = 4_096;
const TARGET: Duration = Duration::from_secs(3);
const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];

pub(super) fn measure(figures: &mut Figures) {
    let at = Timestamp::from_millis(1_780_000_000_000);
    let frames: Vec<Vec<u8>> = (0_u32..)
        .take(MESSAGES)
        .map(|number| {
            let at = at.saturating_add(novax_model::Duration::from_millis(u64::from(number)));
            let mut frame = Vec::new();
            ws::write_text(meter_values("m1", number, 1, &at.to_rfc3339()), Some(MASK), &mut frame);
            frame
        })
        .collect();
    let mut receivers: Vec<Receiver> =
        (0..MESSAGES).map(|_| Receiver::new(Role::Server, Limits::default())).collect();
    let (mut messages, mut bytes) = (0_usize, 0);
    let began = cpu::of_thread();
    while cpu::of_thread().saturating_sub(began) < TARGET {
        bytes = block(&frames, &mut receivers).len();
        messages += MESSAGES;
    }
    let used = cpu::of_thread().saturating_sub(began);
    figures.add("telemetry_messages_per_cpu_s", messages as f64 / used.as_secs_f64(), "1/s");
    figures.add("telemetry_block_bytes_per_message", bytes as f64 / MESSAGES as f64, "B");
}

/// One block of a message from each station.
fn block(frames: &[Vec<u8>], receivers: &mut [Receiver]) -> Vec<u8> {
    let mut builder = BlockBuilder::new();
    // As the ring's: it is unmasked in place.
    let mut input = Vec::with_capacity(1_024);
    for (series, (bytes, receiver)) in (0_u64..).zip(frames.iter().zip(receivers)) {
        input.clear();
        input.extend_from_slice(bytes);
        let received = receiver.receive(&mut input, &mut |event| {
            let Event::Text(text) = event else { panic!("a text was sent") };
            let Ok(frame::Frame::Call { action, payload, .. }) = frame::parse_frame(text) else {
                panic!("a call was sent")
            };
            let request = v16::Request::parse(&action, payload).expect("as stations write it");
            let v16::Request::MeterValues(values) = request else { panic!("values were sent") };
            for tick in meter::readings_v16(&values.meter_value).ticks {
                builder.push(series, tick);
            }
        });
        received.expect("frames are good");
    }
    assert_eq!(builder.len(), frames.len(), "each message is a tick");
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_six_measurands() {
        let text = meter_values("m1", 7, 3, "2026-01-01T00:00:00.000Z");
        let Ok(frame::Frame::Call { action, payload, .. }) = frame::parse_frame(&text) else {
            panic!("{text}")
        };
        let Ok(v16::Request::MeterValues(values)) = v16::Request::parse(&action, payload) else {
            panic!("{text}")
        };
        let readings = meter::readings_v16(&values.meter_value);
        assert_eq!((readings.ticks.len(), readings.junk), (1, 0), "{text}");
        assert_eq!(readings.ticks[0].values.iter().flatten().count(), 6, "{text}");
    }
}
