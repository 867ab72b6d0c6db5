//! Charges that apps start on sockets of their own: `POST /v1/sessions`, read and answered by the shards.
//!
//! Where an app asks and where the station is may be two shards. The socket's shard looks up the station, keeps the
//! idempotency key where all uses of it meet, and has the station's shard start the charge. What is asked and what is
//! answered looks as it does on the API's other port: [`AppApi`] is how the server lends its words.
//!
//! **Invariants**
//! * A connection has one request under way; what comes meanwhile waits, bounded.
//! * Each request is answered once, in order, or its connection is closed.

use super::connection::{Connection, Phase};
use super::mesh::MeshMessage;
use super::reads::Read;
use super::waiter::Waiter;
use super::{ConnId, Shard};
use crate::port::{StartCharge, Unavailable, digest};
use novax_charging::rows::SessionRow;
use novax_charging::{Command, DirectoryKind, Outcome, Refusal};
use novax_model::{Duration, PartitionId, SessionId, Timestamp};
use novax_settlement::RevenueContract;
use novax_wire::http::{
    BODY_BYTES_MAX, HEAD_BYTES_MAX, HttpError, Request, parse_request, write_response,
};
use std::fmt::Debug;

/// Bytes that may wait on a connection: a request, and the next one behind it.
const INPUT_BYTES_MAX: usize = 2 * (HEAD_BYTES_MAX + BODY_BYTES_MAX);
/// A connection on which nothing is asked for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A request that has begun must be complete within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A request that is not answered within this may yet be carried out, and the app is told so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The words in which apps ask and are answered.
pub trait AppApi: Debug + Send + Sync {
    /// What a request asks for.
    ///
    /// # Errors
    /// Why it is not a charge to start.
    fn read(&self, request: &Request<'_>) -> Result<StartCharge, AppProblem>;

    /// The body for a session that has been started.
    fn started(&self, session: &SessionRow, contract: &RevenueContract) -> Vec<u8>;

    /// What an app is told when it does not get one.
    fn problem(&self, error: &AppError) -> AppProblem;

    /// The body that says so.
    fn body(&self, problem: &AppProblem, request_id: &str) -> Vec<u8>;
}

/// Why an app gets no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppError {
    /// Its bytes are no request.
    Http(HttpError),
    /// It is not a charge to start.
    Problem(AppProblem),
    /// The state machine said no.
    Refused(Refusal),
    /// See [`Unavailable`].
    Unavailable,
    /// No answer in time; it may yet be carried out.
    Overdue,
    /// The node ends.
    Stopping,
}

/// An error in the API's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppProblem {
    /// The HTTP status.
    pub status: u16,
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
    /// Seconds after which it is worth trying again.
    pub retry_after_s: Option<u32>,
}

/// An app on an open socket.
#[derive(Debug, Default)]
pub struct App {
    /// What came and was not read yet.
    input: Vec<u8>,
    under_way: Option<UnderWay>,
    /// Its requests are being read: an answer given meanwhile does not begin that anew.
    reading: bool,
}

#[derive(Debug)]
struct UnderWay {
    request_id: Box<str>,
    /// The client closes after the answer.
    close: bool,
    until: Timestamp,
}

/// A charge that an app has asked for on a socket of this shard.
#[derive(Debug)]
pub struct AppStart {
    /// The socket.
    pub conn: ConnId,
    /// What it asked for.
    pub request: StartCharge,
}

/// Where an app's answer goes.
#[derive(Debug, Clone, Copy)]
pub enum AppTo {
    /// To a socket of this shard.
    Here(ConnId),
    /// To another shard.
    There {
        /// Which.
        shard: u16,
        /// Its token.
        token: u64,
    },
}

impl App {
    /// Keeps what came. Returns whether it is too much.
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        self.input.extend_from_slice(data);
        self.input.len() > INPUT_BYTES_MAX
    }
}

impl Shard {
    /// A socket was accepted where apps are served.
    pub fn handle_app_accepted(&mut self, conn: ConnId) {
        self.counters.connections_accepted.increment();
        let full = self.live_connections >= self.config.connections_max;
        let phase = Phase::App(Box::default());
        self.insert_connection(Connection { phase, ..Connection::new(conn, self.now) });
        if self.stopping {
            self.send_app_away(conn);
        } else if full {
            self.end_app(conn, AppError::Unavailable);
        } else {
            self.arm(conn, self.now.saturating_add(IDLE_TIMEOUT));
        }
    }

    fn app(&mut self, conn: ConnId) -> Option<&mut App> {
        match &mut self.connection(conn).filter(|connection| !connection.closing)?.phase {
            Phase::App(app) => Some(app),
            _ => None,
        }
    }

    /// Reads requests until one is under way or there is no whole one.
    pub(super) fn read_app(&mut self, conn: ConnId) {
        let Some(app) = self.app(conn).filter(|app| !app.reading) else { return };
        app.reading = true;
        while self.read_app_request(conn) {}
        let due = self.now.saturating_add(REQUEST_TIMEOUT);
        let Some(app) = self.app(conn) else { return };
        app.reading = false;
        let waits = app.under_way.is_none() && !app.input.is_empty();
        if app.input.is_empty() {
            // An idle connection owns no buffer.
            app.input = Vec::new();
        }
        if waits {
            self.arm(conn, due);
        }
    }

    /// Returns whether there was one.
    fn read_app_request(&mut self, conn: ConnId) -> bool {
        let apps = self.apps.clone().expect("apps are served where their sockets are accepted");
        let until = self.now.saturating_add(ANSWER_TIMEOUT);
        let (run, number) = (self.config.run, self.token());
        let me = self.mesh.me();
        let Some(app) = self.app(conn).filter(|app| app.under_way.is_none()) else { return false };
        let parsed = parse_request(&app.input);
        let request = match parsed {
            Ok(Some(request)) => request,
            Ok(None) => return false,
            Err(error) => {
                self.end_app(conn, AppError::Http(error));
                return false;
            }
        };
        let named = request.request_id.filter(|id| is_short_word(id));
        let request_id = named.map_or_else(|| format!("{run:x}-{me:x}-{number:x}"), str::to_owned);
        let (read, length) = (apps.read(&request), request.length);
        let close = request.close;
        app.under_way = Some(UnderWay { request_id: request_id.into(), close, until });
        app.input.drain(..length);
        self.counters.app_requests.increment();
        self.arm(conn, until);
        match read {
            Ok(request) => self.locate_app_station(Box::new(AppStart { conn, request })),
            Err(problem) => self.answer_app(conn, &Err(AppError::Problem(problem))),
        }
        true
    }

    fn locate_app_station(&mut self, start: Box<AppStart>) {
        let station = start.request.station.as_str();
        let directory = PartitionId::of_directory(station, self.config.partitions);
        if self.is_mine(directory) {
            match self.locate_here(directory, DirectoryKind::Station, station) {
                Some(home) => self.keep_app_key(start, home),
                None => self.read(directory, Read::AppStation(start)),
            }
            return;
        }
        let to = self.shard_of(directory);
        if self.mesh.is_congested(to) {
            self.counters.commands_overloaded.increment();
            self.answer_app(start.conn, &Err(AppError::Unavailable));
            return;
        }
        let (from, token, id) = (self.mesh.me(), self.token(), station.into());
        self.asked.insert(token, Waiter::AppStation(start));
        let kind = DirectoryKind::Station;
        self.mesh.send(to, MeshMessage::Locate { from, token, partition: directory, kind, id });
    }

    /// The directory has spoken.
    pub(super) fn app_station_located(
        &mut self,
        start: Box<AppStart>,
        home: Result<Option<PartitionId>, Unavailable>,
    ) {
        match home {
            Ok(Some(home)) => self.keep_app_key(start, home),
            Ok(None) => {
                let error = AppError::Refused(Refusal::UnknownStation);
                self.answer_app(start.conn, &Err(error));
            }
            Err(Unavailable) => self.answer_app(start.conn, &Err(AppError::Unavailable)),
        }
    }

    /// The same key for stations in two partitions would be two charges: all uses of it meet in one place.
    fn keep_app_key(&mut self, start: Box<AppStart>, home: PartitionId) {
        let (kind, id) = request_key(&start.request);
        let partition = PartitionId::of_directory(&id, self.config.partitions);
        let command = Command::PutDirectory { kind, id: id.into(), home };
        self.submit(partition, command, Waiter::AppKey { start, home });
    }

    /// The key is this request's, or not.
    pub(super) fn app_key_kept(
        &mut self,
        start: AppStart,
        home: PartitionId,
        outcome: Result<Outcome, Unavailable>,
    ) {
        let AppStart { conn, request } = start;
        match outcome {
            Err(Unavailable) => self.answer_app(conn, &Err(AppError::Unavailable)),
            Ok(Outcome::Refused(refusal)) => {
                self.answer_app(conn, &Err(AppError::Refused(refusal)));
            }
            Ok(_) if self.is_mine(home) => {
                self.start_app(home, request, Waiter::App(AppTo::Here(conn)));
            }
            Ok(_) => {
                let (from, token, to) = (self.mesh.me(), self.token(), self.shard_of(home));
                self.asked.insert(token, Waiter::AppElsewhere(conn));
                let (partition, request) = (home, Box::new(request));
                self.mesh.send(to, MeshMessage::StartApp { from, token, partition, request });
            }
        }
    }

    /// A charge of a partition of this shard is started, or not.
    pub(super) fn app_started(&mut self, to: AppTo, outcome: Result<Outcome, Unavailable>) {
        let result = match outcome {
            Ok(Outcome::Started { session, refusal: None, .. }) => {
                match self.app_session(session) {
                    Some(body) => Ok(body),
                    // Another node leads the partition, and is ahead of this one.
                    None => {
                        self.read(session.partition(), Read::AppSession { to, session });
                        return;
                    }
                }
            }
            Ok(Outcome::Started { refusal: Some(refusal), .. } | Outcome::Refused(refusal)) => {
                Err(AppError::Refused(refusal))
            }
            Ok(other) => unreachable!("a start is started or refused, not {other:?}"),
            Err(Unavailable) => Err(AppError::Unavailable),
        };
        self.answer_app_to(to, result);
    }

    /// The body for a session of this shard.
    pub(super) fn app_session(&self, session: SessionId) -> Option<Vec<u8>> {
        let machine = &self.slots.get(&session.partition())?.machine;
        let row = machine.session(session)?;
        let contract = machine.contract_of(row);
        let apps = self.apps.as_ref().expect("apps are served by all shards or none");
        Some(apps.started(row, &contract))
    }

    pub(super) fn answer_app_to(&mut self, to: AppTo, result: Result<Vec<u8>, AppError>) {
        match to {
            AppTo::Here(conn) => self.answer_app(conn, &result),
            AppTo::There { shard, token } => {
                self.mesh.send(shard, MeshMessage::AppStarted { token, result });
            }
        }
    }

    /// Answers the request under way, if its app still waits, and goes on to the next.
    pub(super) fn answer_app(&mut self, conn: ConnId, result: &Result<Vec<u8>, AppError>) {
        let Some(app) = self.app(conn) else { return };
        let Some(request) = app.under_way.take() else { return };
        let ends =
            matches!(result, Err(AppError::Overdue | AppError::Stopping | AppError::Http(_)));
        let close = request.close || ends || self.stopping;
        self.write_app_answer(conn, result, &request.request_id, close);
        if close {
            self.finish_app(conn);
            return;
        }
        self.arm(conn, self.now.saturating_add(IDLE_TIMEOUT));
        self.read_app(conn);
    }

    fn write_app_answer(
        &mut self,
        conn: ConnId,
        result: &Result<Vec<u8>, AppError>,
        request_id: &str,
        close: bool,
    ) {
        let apps = self.apps.clone().expect("apps are served where their sockets are accepted");
        let problem = match result {
            Ok(_) => None,
            Err(AppError::Problem(problem)) => Some(problem.clone()),
            Err(error) => Some(apps.problem(error)),
        };
        if problem.is_some() {
            self.counters.app_requests_refused.increment();
        }
        let Some(connection) = self.connection(conn) else { return };
        let out = &mut connection.out;
        let named = ("X-Request-Id", request_id);
        match (result, problem) {
            (Ok(body), _) => {
                let headers = [("Content-Type", "application/json"), named];
                write_response(202, &headers, close, body, out);
            }
            (Err(_), problem) => {
                let problem = problem.expect("made above");
                let mut headers = vec![("Content-Type", "application/problem+json"), named];
                let retry_after = problem.retry_after_s.map(|seconds| seconds.to_string());
                headers.extend(retry_after.iter().map(|text| ("Retry-After", text.as_str())));
                if problem.status == 401 {
                    headers.push(("WWW-Authenticate", "Bearer"));
                }
                let body = apps.body(&problem, request_id);
                write_response(problem.status, &headers, close, &body, out);
            }
        }
        self.mark_dirty(conn);
    }

    /// Answers with what is wrong, whether or not a request is under way, and closes.
    fn end_app(&mut self, conn: ConnId, error: AppError) {
        let Some(app) = self.app(conn) else { return };
        let request_id = app.under_way.take().map(|request| request.request_id);
        let request_id = request_id.unwrap_or_else(|| "none".into());
        self.write_app_answer(conn, &Err(error), &request_id, true);
        self.finish_app(conn);
    }

    /// Closes once everything is sent.
    fn finish_app(&mut self, conn: ConnId) {
        let Some(connection) = self.connection(conn) else { return };
        connection.closing = true;
        self.mark_dirty(conn);
        self.arm(conn, self.now.saturating_add(REQUEST_TIMEOUT));
    }

    /// The timer of an app's socket fired.
    pub(super) fn check_app(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(connection) = self.connection(conn) else { return };
        let Phase::App(app) = &connection.phase else { return };
        let patience = if app.input.is_empty() { IDLE_TIMEOUT } else { REQUEST_TIMEOUT };
        let due = match &app.under_way {
            Some(request) => request.until,
            None => connection.heard.saturating_add(patience),
        };
        if due > now {
            self.arm(conn, due);
        } else if app.under_way.is_some() {
            self.answer_app(conn, &Err(AppError::Overdue));
        } else {
            self.counters.connections_timed_out.increment();
            self.effects.closes.push(conn);
        }
    }

    /// The node ends: what is under way is answered first.
    pub(super) fn send_app_away(&mut self, conn: ConnId) {
        let Some(app) = self.app(conn) else { return };
        if app.under_way.is_none() {
            self.end_app(conn, AppError::Stopping);
        }
    }
}

/// The name under which an app's idempotency key is kept in the directory.
#[must_use]
pub fn request_key(request: &StartCharge) -> (DirectoryKind, String) {
    let digest = digest(&["start", &request.key]);
    (DirectoryKind::RequestKey, format!("s{digest:032x}"))
}

fn is_short_word(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}
