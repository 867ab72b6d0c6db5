//! What one StartTransaction costs in the codecs: unmask and frame, envelope, typed parse, and the
//! reply written as a WebSocket frame. Run with `--release`; prints one figure a line.

use novax_model::Timestamp;
use novax_wire::ocpp::{Frame, parse_frame, v16, write_result};
use novax_wire::ws::{Event, Limits, Receiver, Role, begin_text, end_text, write_text};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 200_000;

fn main() {
    let call = r#"[2,"0b5c9d6e-8a3f-4c1e-9d7b-2f6a1c3e5d70","StartTransaction",{"connectorId":1,"idTag":"04A1B2C3D4E5F6","meterStart":1234567,"timestamp":"2026-11-22T13:14:24Z"}]"#;
    let mut stream = Vec::new();
    write_text(call, Some([1, 2, 3, 4]), &mut stream);
    let mut receiver = Receiver::new(Role::Server, Limits::default());
    let (mut input, mut out) = (stream.clone(), Vec::new());
    let start = Instant::now();
    for _ in 0..ROUNDS {
        input.copy_from_slice(&stream);
        out.clear();
        let received = receiver.receive(black_box(&mut input), &mut |event| {
            if let Event::Text(text) = event {
                answer(text, &mut out);
            }
        });
        received.expect("the frame is good");
        assert!(black_box(&out).len() > 80);
    }
    let nanoseconds = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("figure start_transaction_codec_ns {nanoseconds} ns");
}

fn answer(text: &str, out: &mut Vec<u8>) {
    let Ok(Frame::Call { id, action, payload }) = parse_frame(text) else { return };
    let Ok(v16::Request::StartTransaction(start)) = v16::Request::parse(&action, payload) else {
        return;
    };
    assert!(start.meter_start > 0 && start.timestamp > Timestamp::ZERO);
    let reply = v16::StartTransactionResponse {
        id_tag_info: v16::AuthorizationStatus::Accepted.into(),
        transaction_id: 77,
    };
    let frame = begin_text(out);
    write_result(&id, &reply, out);
    end_text(out, frame, None);
}
