//! A charger on a real socket: connects, carries messages, and connects again when it is cut off.
//!
//! One task for each charger. It owns the charger and the socket; apps are tasks of their own that
//! answer through a bounded channel, so a slow API never stalls a charger.

use super::api::{Api, ApiError, Request};
use super::charger::{Action, AppCall, Charger, Event};
use super::journal::Journal;
use super::provision::{now, top_up};
use super::random::Random;
use super::tally::Tally;
use novax_wire::http::{client_request, parse_client_response, percent_encode};
use novax_wire::ws::{self, Limits, Receiver, Role};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Waits between attempts to connect: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(20));
/// Answers of apps that may wait for a charger.
const APP_ANSWERS_MAX: usize = 16;
const READ_BYTES: usize = 4_096;
/// A charger that leaves has this long for its last words.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What all chargers of a fleet share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ocpp: SocketAddr,
    pub(super) api: Api,
    pub(super) tally: Tally,
    pub(super) journal: Option<Journal>,
}

/// What an app found out.
#[derive(Debug)]
struct AppAnswer {
    evse: u16,
    visit: u32,
    session: Option<String>,
}

/// A charger and what belongs to it.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    charger: Charger,
    random: Random,
    stop: watch::Receiver<bool>,
    leave_by: Option<Instant>,
    answers: (mpsc::Sender<AppAnswer>, mpsc::Receiver<AppAnswer>),
    actions: Vec<Action>,
    /// What this charger added to the gauges.
    shown: (i64, i64),
}

/// An open connection.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    receiver: Receiver,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Link {
    pub(super) fn new(
        shared: Arc<Shared>,
        charger: Charger,
        random: Random,
        stop: watch::Receiver<bool>,
    ) -> Link {
        Link {
            shared,
            charger,
            random,
            stop,
            leave_by: None,
            answers: mpsc::channel(APP_ANSWERS_MAX),
            actions: Vec::new(),
            shown: (0, 0),
        }
    }

    /// Runs until the fleet stops.
    pub(super) async fn run(mut self, delay: Duration) {
        let mut waits = BACK_OFF.0;
        if self.wait(delay).await.is_continue() {
            while self.leave_by.is_none() {
                match timeout(CONNECT_TIMEOUT, self.connect()).await {
                    Ok(Ok(socket)) => {
                        waits = BACK_OFF.0;
                        self.talk(socket).await;
                    }
                    Ok(Err(_)) | Err(_) => self.shared.tally.add(|tally| &tally.connections_failed),
                }
                // Chargers that were cut off together do not come back together.
                let jitter = self.random.between(50, 150);
                let jittered = waits * u32::try_from(jitter).expect("small") / 100;
                waits = (waits * 2).min(BACK_OFF.1);
                if self.wait(jittered).await.is_break() {
                    break;
                }
            }
        }
        self.show(0, 0);
    }

    /// Lives on without a connection.
    async fn wait(&mut self, duration: Duration) -> ControlFlow<()> {
        let until = Instant::now() + duration;
        loop {
            if self.leave_by.is_some() || *self.stop.borrow() {
                return ControlFlow::Break(());
            }
            let wakeup = self.wakeup().min(until);
            tokio::select! {
                () = sleep_until(wakeup) => {}
                _ = self.stop.changed() => continue,
            }
            // Without a connection there is none to end.
            let _ = self.handle(Event::Tick, None);
            if Instant::now() >= until {
                return ControlFlow::Continue(());
            }
        }
    }

    fn wakeup(&self) -> Instant {
        Instant::now() + self.charger.wakeup().since(now())
    }

    async fn connect(&mut self) -> io::Result<Socket> {
        let mut stream = TcpStream::connect(self.shared.ocpp).await?;
        stream.set_nodelay(true)?;
        let key = self.random.bytes_16();
        let path = format!("/ocpp/{}", percent_encode(self.charger.identity()));
        let mut request = Vec::with_capacity(256);
        let protocol = [self.charger.version().subprotocol()];
        let host = self.shared.ocpp.to_string();
        client_request(&host, &path, &protocol, None, &key, &mut request);
        stream.write_all(&request).await?;
        let mut input = Vec::with_capacity(READ_BYTES);
        loop {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(accept) = parse_client_response(&input, &key).map_err(io::Error::other)? {
                input.drain(..accept.head_len);
                let receiver = Receiver::new(Role::Client, Limits::default());
                return Ok(Socket { stream, receiver, input, output: Vec::new() });
            }
        }
    }

    /// Carries messages until the connection ends.
    async fn talk(&mut self, mut socket: Socket) {
        self.shared.tally.shift(|tally| &tally.connected, 0, 1);
        let ended = self.carry(&mut socket).await;
        self.shared.tally.shift(|tally| &tally.connected, 1, 0);
        if ended.is_err() {
            self.shared.tally.add(|tally| &tally.connections_lost);
        }
        let _ = self.handle(Event::Closed, None);
    }

    async fn carry(&mut self, socket: &mut Socket) -> io::Result<()> {
        let mut open = self.handle(Event::Opened, Some(&mut socket.output));
        // What came together with the answer to the handshake.
        open = open.and_then_continue(|| self.read(socket));
        loop {
            if !socket.output.is_empty() {
                socket.stream.write_all(&socket.output).await?;
                socket.output.clear();
            }
            let left =
                self.leave_by.is_some_and(|by| self.charger.is_done() || by <= Instant::now());
            if open.is_break() || left {
                ws::write_close(1000, "", Some(self.random.mask()), &mut socket.output);
                socket.stream.write_all(&socket.output).await?;
                return Ok(());
            }
            let wakeup = self.wakeup().min(self.leave_by.unwrap_or_else(|| self.wakeup()));
            // Biased and cheap arms first; each arm may be dropped half-way without loss.
            tokio::select! {
                read = socket.stream.read_buf(&mut socket.input) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    open = self.read(socket);
                }
                Some(answer) = self.answers.1.recv() => {
                    let AppAnswer { evse, visit, session } = answer;
                    let event = Event::AppStarted { evse, visit, session };
                    open = self.handle(event, Some(&mut socket.output));
                }
                changed = self.stop.changed(), if self.leave_by.is_none() => {
                    // A fleet that is gone wants its chargers gone too.
                    let _ = changed;
                    self.leave_by = Some(Instant::now() + LEAVE_TIMEOUT);
                    open = self.handle(Event::Leave, Some(&mut socket.output));
                }
                () = sleep_until(wakeup) => {
                    open = self.handle(Event::Tick, Some(&mut socket.output));
                }
            }
        }
    }

    /// Takes what was read.
    fn read(&mut self, socket: &mut Socket) -> ControlFlow<()> {
        let mut open = ControlFlow::Continue(());
        let Socket { receiver, input, output, .. } = socket;
        let received = receiver.receive(input, &mut |event| match event {
            ws::Event::Text(text) => {
                self.shared.tally.add(|tally| &tally.messages);
                if self.handle(Event::Text(text), Some(output)).is_break() {
                    open = ControlFlow::Break(());
                }
            }
            ws::Event::Ping(payload) => ws::write_pong(payload, Some([0; 4]), output),
            ws::Event::Pong(_) => {}
            ws::Event::Binary(_) | ws::Event::Close { .. } => open = ControlFlow::Break(()),
        });
        input.clear();
        if received.is_err() { ControlFlow::Break(()) } else { open }
    }

    /// Lets the charger handle an event and does what it wants. Break: the connection is to end.
    fn handle(&mut self, event: Event<'_>, mut output: Option<&mut Vec<u8>>) -> ControlFlow<()> {
        let mut actions = std::mem::take(&mut self.actions);
        self.charger.handle(now(), event, &mut actions);
        let mut flow = ControlFlow::Continue(());
        for action in actions.drain(..) {
            match action {
                Action::Send(text) => {
                    let Some(output) = output.as_deref_mut() else { continue };
                    self.shared.tally.add(|tally| &tally.messages);
                    ws::write_text(&text, Some(self.random.mask()), output);
                }
                Action::Close => flow = ControlFlow::Break(()),
                Action::Note(note) => self.shared.tally.note(note),
                Action::App(call) => self.ask(call),
                Action::Acknowledged { event, number, accepted } => {
                    let Some(journal) = &self.shared.journal else { continue };
                    let (station, version) = (self.charger.identity(), self.charger.version());
                    journal
                        .note(station, version, &event, number, accepted)
                        .expect("the journal can be written: without it the run proves nothing");
                }
            }
        }
        self.actions = actions;
        let charging = i64::try_from(self.charger.charging()).expect("few connectors");
        let power_w = self.charger.power_w().cast_signed();
        self.show(charging, power_w);
        flow
    }

    fn show(&mut self, charging: i64, power_w: i64) {
        self.shared.tally.shift(|tally| &tally.charging, self.shown.0, charging);
        self.shared.tally.shift(|tally| &tally.power_w, self.shown.1, power_w);
        self.shown = (charging, power_w);
    }

    /// Has an app talk to the API.
    fn ask(&mut self, call: AppCall) {
        let (shared, answers) = (self.shared.clone(), self.answers.0.clone());
        let station = self.charger.identity().to_owned();
        let nonce = self.random.next();
        tokio::spawn(async move {
            let result = match call {
                AppCall::Start { evse, visit, token } => {
                    let started = start(&shared.api, &station, evse, &token, nonce).await;
                    let (session, result) = match started {
                        Ok(session) => (session, Ok(())),
                        Err(error) => (None, Err(error)),
                    };
                    // A charger that is gone wants no answer.
                    let _ = answers.send(AppAnswer { evse, visit, session }).await;
                    result
                }
                AppCall::Stop { session } => {
                    let path = format!("/v1/sessions/{session}/stop");
                    shared.api.post(&path, &Value::Null).await.map(drop)
                }
                AppCall::TopUp { driver } => top_up(&shared.api, &driver).await,
            };
            // The hub may say no: the connector was just taken, the session has just ended.
            if !matches!(result, Ok(()) | Err(ApiError::Refused { status: 400..=499, .. })) {
                shared.tally.add(|tally| &tally.requests_failed);
            }
        });
    }
}

async fn start(
    api: &Api,
    station: &str,
    evse: u16,
    token: &str,
    nonce: u64,
) -> Result<Option<String>, ApiError> {
    let key = format!("fleet-{station}-{evse}-{}-{nonce:x}", now().0);
    let body = json!({ "station": station, "evse": evse, "connector": 1, "token": token });
    let request = Request {
        method: "POST",
        path: "/v1/sessions",
        idempotency_key: Some(&key),
        body: Some(&body),
    };
    let session = api.call(request).await?;
    Ok(session["id"].as_str().map(str::to_owned))
}

/// Goes on unless it is over.
trait AndThenContinue {
    fn and_then_continue(self, next: impl FnOnce() -> ControlFlow<()>) -> ControlFlow<()>;
}

impl AndThenContinue for ControlFlow<()> {
    fn and_then_continue(self, next: impl FnOnce() -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            ControlFlow::Continue(()) => next(),
            ControlFlow::Break(()) => self,
        }
    }
}
