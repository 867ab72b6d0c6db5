//! Stations on blocking sockets, up to an accepted boot.

use crate::error::{BenchError, During, Result};
use novax_wire::http::{HEAD_BYTES_MAX, client_request, parse_client_response};
use novax_wire::ocpp::{Text, frame, parse_payload, v16};
use novax_wire::ws::{self, Event, Limits, Receiver, Role};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Threads that open sockets. They wait, mostly.
const THREADS: u32 = 16;

pub(crate) fn identity(number: u32) -> String {
    format!("B{number:06}")
}

/// Opens and boots stations `0..count`; in order.
pub(crate) fn open_all(address: SocketAddr, count: u32) -> Result<Vec<TcpStream>> {
    in_threads(count, |number| open(address, number))
}

/// As [`open_all`], at the addresses in turn.
pub(crate) fn open_among(addresses: &[SocketAddr], count: u32) -> Result<Vec<TcpStream>> {
    let each = u32::try_from(addresses.len()).expect("few nodes");
    in_threads(count, |number| {
        let at = usize::try_from(number % each).expect("32 bits fit");
        open(addresses[at], number)
    })
}

/// Does the same for each number on several threads; in order. Stops at the first failure.
pub(crate) fn in_threads<T: Send>(
    count: u32,
    task: impl Fn(u32) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    with_state_in_threads(count, || (), |(), number| task(number))
}

/// As [`in_threads`], with something that each thread has for itself.
pub(crate) fn with_state_in_threads<S, T: Send>(
    count: u32,
    state: impl Fn() -> S + Sync,
    task: impl Fn(&mut S, u32) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let each = count.div_ceil(THREADS).max(1);
    let (state, task) = (&state, &task);
    std::thread::scope(|scope| {
        let slices = (0..count).step_by(usize::try_from(each).expect("32 bits fit"));
        let threads: Vec<_> = slices
            .map(|from| {
                scope.spawn(move || {
                    let mut own = state();
                    let numbers = from..(from + each).min(count);
                    numbers.map(|number| task(&mut own, number)).collect::<Result<Vec<T>>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a thread that opens does not panic")?);
        }
        Ok(all)
    })
}

pub(crate) fn open(address: SocketAddr, number: u32) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).during("connecting a station")?;
    socket.set_nodelay(true).during("connecting a station")?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT)).during("connecting a station")?;
    upgrade(&mut socket, address, number)?;
    boot(&mut socket, number)?;
    Ok(socket)
}

fn upgrade(socket: &mut TcpStream, address: SocketAddr, number: u32) -> Result<()> {
    let key = *b"the same as ever";
    let path = format!("/ocpp/{}", identity(number));
    let mut request = Vec::new();
    client_request(&address.to_string(), &path, &["ocpp1.6"], None, &key, &mut request);
    socket.write_all(&request).during("opening a station's socket")?;
    let mut answer = Vec::new();
    loop {
        read_some(socket, &mut answer)?;
        let parsed = parse_client_response(&answer, &key);
        let told = || String::from_utf8_lossy(&answer).into_owned();
        let accept = parsed
            .map_err(|error| BenchError::Answer(format!("an upgrade: {error}: {:?}", told())))?;
        if let Some(accept) = accept {
            let nothing_more = accept.head_len == answer.len();
            let good = nothing_more && accept.subprotocol.as_deref() == Some("ocpp1.6");
            let said = || BenchError::Answer(format!("an upgrade to something else: {:?}", told()));
            return good.then_some(()).ok_or_else(said);
        }
    }
}

fn boot(socket: &mut TcpStream, number: u32) -> Result<()> {
    let serial = identity(number);
    let request = v16::BootNotification {
        charge_point_vendor: Text::from("Novalectric"),
        charge_point_model: Text::from("Bench"),
        charge_point_serial_number: Some(Text::from(serial.as_str())),
        ..v16::BootNotification::default()
    };
    let (mut text, mut out) = (Vec::new(), Vec::new());
    frame::write_call("boot", "BootNotification", &request, &mut text);
    ws::write_text(&text, Some([0; 4]), &mut out);
    socket.write_all(&out).during("booting a station")?;
    let mut receiver = Receiver::new(Role::Client, Limits::default());
    let mut answer = None;
    while answer.is_none() {
        let mut input = Vec::new();
        read_some(socket, &mut input)?;
        let received = receiver.receive(&mut input, &mut |event| {
            if let Event::Text(text) = event {
                answer = Some(text.to_owned());
            }
        });
        received.map_err(|violation| BenchError::Answer(violation.to_string()))?;
    }
    let answer = answer.unwrap_or_default();
    let accepted = match frame::parse_frame(&answer) {
        Ok(frame::Frame::Result { payload, .. }) => {
            parse_payload::<v16::BootNotificationResponse>(payload)
                .is_ok_and(|answer| answer.status == v16::RegistrationStatus::Accepted)
        }
        _ => false,
    };
    accepted.then_some(()).ok_or_else(|| BenchError::Answer(format!("to a boot: {answer}")))
}

fn read_some(socket: &mut TcpStream, into: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 2_048];
    let read = socket.read(&mut chunk).during("reading from the node")?;
    if read == 0 || into.len() > HEAD_BYTES_MAX {
        return Err(BenchError::Node("it closed a station's socket".into()));
    }
    into.extend_from_slice(chunk.get(..read).unwrap_or_default());
    Ok(())
}

/// Refuses to begin what the limit of open files would end.
pub(crate) fn check_open_files(needed: u64) -> Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits").during("reading the limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    match soft {
        Some(soft) if soft < needed => Err(BenchError::Machine(format!(
            "{needed} open files are needed and {soft} are allowed: raise `ulimit -n`"
        ))),
        _ => Ok(()),
    }
}
