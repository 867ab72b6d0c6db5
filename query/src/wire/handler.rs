//! The messages of a connection: start-up, both query protocols, cancel requests.
//!
//! pgwire frames messages and keeps the protocol's states; what it leaves to us is done here in our
//! own way where its default would gather whole results or hold a cancel until the first row.

use super::encode;
use super::session::{Registry, Session, same};
use super::{decode, encode::fields};
use crate::database::{Database, Prepared, Rows};
use crate::error::Error;
use crate::statement::Action;
use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use futures::{Sink, SinkExt, StreamExt, stream};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::cancel::CancelHandler;
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{
    ClientInfo, ClientPortalStore, DEFAULT_NAME, METADATA_USER, PgWireConnectionState,
    PgWireServerHandlers, PidSecretKeyGenerator, RandomPidSecretKeyGenerator, Type,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::data::{DataRow, RowDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{Authentication, ParameterStatus};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) database: Arc<Database>,
    pub(super) registry: Arc<Registry>,
    pub(super) seats: Arc<Semaphore>,
    pub(super) pids: RandomPidSecretKeyGenerator,
    pub(super) stopping: watch::Receiver<bool>,
}

/// The handlers of one connection.
#[derive(Clone, Debug)]
pub(super) struct Handler(pub(super) Arc<Shared>);

impl PgWireServerHandlers for Handler {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::new(self.clone())
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(self.clone())
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::new(self.clone())
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(self.clone())
    }
}

impl From<Error> for PgWireError {
    fn from(error: Error) -> Self {
        let severity = if error.is_fatal() { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.into(), error.sqlstate().into(), error.to_string());
        info.severity_nonlocalized = Some(severity.into());
        info.hint = error.hint().map(str::to_owned);
        PgWireError::UserError(Box::new(info))
    }
}

/// The error of a statement whose text is known: says at which character.
fn placed(error: Error, sql: &str) -> PgWireError {
    let position = match &error {
        Error::Syntax { at: Some((line, column)), .. } => {
            let before = sql.split_inclusive('\n').take(line - 1);
            let before: usize = before.map(|line| line.chars().count()).sum();
            Some(before + column)
        }
        _ => None,
    };
    let mut error = PgWireError::from(error);
    if let PgWireError::UserError(info) = &mut error {
        info.position = position.map(|position| position.to_string());
    }
    error
}

fn session<C: ClientInfo>(client: &C) -> PgWireResult<Arc<Session>> {
    let session = client.session_extensions().get::<Arc<Session>>();
    session.map(|session| Arc::clone(&*session)).ok_or(PgWireError::NotReadyForQuery)
}

#[async_trait]
impl StartupHandler for Handler {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<Message> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let expected = self.0.database.config().password.as_deref();
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if expected.is_none() {
                    return self.sign_in(client).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                client.send(Message::Authentication(Authentication::CleartextPassword)).await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let given = message.into_password()?.password;
                // A client that was not asked for a password has none to get wrong.
                if !expected.is_some_and(|expected| same(expected.as_bytes(), given.as_bytes())) {
                    return Err(PgWireError::InvalidPassword(user(client)));
                }
                return self.sign_in(client).await;
            }
            _ => {}
        }
        Ok(())
    }
}

fn user<C: ClientInfo>(client: &C) -> String {
    client.metadata().get(METADATA_USER).cloned().unwrap_or_default()
}

impl Handler {
    /// Gives a client that may come in a seat, and tells it what it needs to know.
    async fn sign_in<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<Message> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let shared = &*self.0;
        let seat = shared.seats.clone().try_acquire_owned();
        let seat = seat.map_err(|_| Error::TooManySessions)?;
        let (pid, secret) = shared.pids.generate(client);
        let timeout = shared.database.config().statement_timeout;
        let stopping = shared.stopping.clone();
        let session =
            Session::start(user(client), pid, &secret, timeout, seat, &shared.registry, stopping);
        // Startup parameters are settings; those we do not have are ignored, as libpq's extras are.
        for (name, value) in client.metadata() {
            let _ = session.settings().set(name, Some(value));
        }
        client.set_pid_and_secret_key(pid, secret);
        client.session_extensions().insert::<Arc<Session>>(session.clone());
        finish_authentication(client, &Parameters(session)).await
    }
}

/// What a client is told when it signs in.
struct Parameters(Arc<Session>);

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, _: &C) -> Option<HashMap<String, String>> {
        let settings = self.0.settings();
        let reported = settings.all().filter(|(_, _, reported)| *reported);
        Some(reported.map(|(name, value, _)| (name, value)).collect())
    }
}

#[async_trait]
impl CancelHandler for Handler {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.0.registry.cancel(request.pid, &request.secret_key);
    }
}

/// Rows of a statement as messages, in the formats its client asked for.
fn responses(prepared: &Prepared, rows: Rows, fields: Vec<FieldInfo>) -> QueryResponse {
    let schema = prepared.schema.clone();
    let fields = Arc::new(fields);
    let told = fields.clone();
    let batches = stream::unfold(rows, |mut rows| async {
        let batch = rows.next().await?;
        // Writing a batch takes a while: others on this thread come first.
        tokio::task::yield_now().await;
        Some((batch, rows))
    });
    let messages = batches.flat_map(move |batch| {
        let rows = batch.and_then(|batch| encode::rows(&batch, &schema, &told));
        match rows {
            Ok(rows) => stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(PgWireError::from(error))]),
        }
    });
    QueryResponse::new(fields, messages)
}

/// A result of a few texts: SHOW.
fn text_rows(fields: Vec<FieldInfo>, rows: &[Vec<String>]) -> QueryResponse {
    let rows: Vec<PgWireResult<DataRow>> = rows
        .iter()
        .map(|row| {
            let mut data = BytesMut::new();
            for value in row {
                data.put_i32(i32::try_from(value.len()).expect("settings are short"));
                data.extend_from_slice(value.as_bytes());
            }
            Ok(DataRow::new(data, i16::try_from(row.len()).expect("few columns")))
        })
        .collect();
    let mut response = QueryResponse::new(Arc::new(fields), stream::iter(rows));
    response.set_command_tag("SHOW");
    response
}

/// What SHOW answers with.
fn show_fields(setting: Option<&str>, format: &Format) -> Vec<FieldInfo> {
    let names = setting.map_or_else(|| vec!["name", "setting"], |setting| vec![setting]);
    let schema: Vec<Field> =
        names.into_iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
    fields(&Schema::new(schema), &[], format)
}

/// Does what is no query. In a transaction that failed only its end is possible.
fn command(session: &Session, status: TransactionStatus, action: &Action) -> Result<Done, Error> {
    let failed = status == TransactionStatus::Error;
    if failed && !action.ends_transaction() {
        return Err(Error::TransactionAborted);
    }
    let mut settings = session.settings();
    Ok(match action {
        Action::Set { setting, value } => {
            let told = settings.set(setting, value.as_deref())?;
            Done { told: told.into_iter().collect(), ..Done::tag("SET") }
        }
        Action::Reset(Some(setting)) => {
            let told = settings.set(setting, None)?;
            Done { told: told.into_iter().collect(), ..Done::tag("RESET") }
        }
        Action::Reset(None) => {
            settings.reset_all();
            let all = settings.all().filter(|(_, _, reported)| *reported);
            let told = all.map(|(name, value, _)| (name, value)).collect();
            Done { told, ..Done::tag("RESET") }
        }
        Action::Show(Some(setting)) => {
            let (name, value) = settings.get(setting)?;
            let fields = show_fields(Some(&name), &Format::UnifiedText);
            Done { rows: Some((fields, vec![vec![value]])), ..Done::tag("SHOW") }
        }
        Action::Show(None) => {
            let rows = settings.all().map(|(name, value, _)| vec![name, value]).collect();
            let fields = show_fields(None, &Format::UnifiedText);
            Done { rows: Some((fields, rows)), ..Done::tag("SHOW") }
        }
        Action::Begin => {
            Done { transaction: Some(TransactionStatus::Transaction), ..Done::tag("BEGIN") }
        }
        Action::Commit => {
            let tag = if failed { "ROLLBACK" } else { "COMMIT" };
            Done { transaction: Some(TransactionStatus::Idle), ..Done::tag(tag) }
        }
        Action::Rollback => {
            Done { transaction: Some(TransactionStatus::Idle), ..Done::tag("ROLLBACK") }
        }
        Action::Deallocate(name) => {
            let names = match name {
                Some(name) => {
                    session.forget(b's', name);
                    vec![name.clone()]
                }
                None => session.forget_statements(),
            };
            Done { deallocated: names, ..Done::tag("DEALLOCATE") }
        }
        Action::Nothing(tag) => Done::tag(tag),
        Action::Query(_) | Action::Explain { .. } => {
            return Err(Error::Internal("a query is no command".into()));
        }
    })
}

/// What came of a command.
#[derive(Debug)]
struct Done {
    tag: &'static str,
    rows: Option<(Vec<FieldInfo>, Vec<Vec<String>>)>,
    transaction: Option<TransactionStatus>,
    /// Settings the client is told of.
    told: Vec<(String, String)>,
    deallocated: Vec<String>,
}

impl Done {
    fn tag(tag: &'static str) -> Done {
        Done { tag, rows: None, transaction: None, told: vec![], deallocated: vec![] }
    }
}

/// Sends what came of a command; `describe` when its rows have not been announced.
async fn send_done<C>(client: &mut C, done: Done, describe: bool) -> PgWireResult<()>
where
    C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
    C::PortalStore: PortalStore,
    C::Error: Debug,
    PgWireError: From<<C as Sink<Message>>::Error>,
{
    for name in &done.deallocated {
        client.portal_store().rm_statement(name);
    }
    for (name, value) in done.told {
        client.feed(Message::ParameterStatus(ParameterStatus::new(name, value))).await?;
    }
    if let Some(status) = done.transaction {
        client.set_transaction_status(status);
    }
    match done.rows {
        Some((fields, rows)) => {
            send_rows(client, &mut text_rows(fields, &rows), describe, 0).await?;
        }
        None => complete(client, Tag::new(done.tag)).await?,
    }
    Ok(())
}

async fn complete<C>(client: &mut C, tag: Tag) -> PgWireResult<()>
where
    C: Sink<Message> + Unpin,
    PgWireError: From<<C as Sink<Message>>::Error>,
{
    client.feed(Message::CommandComplete(CommandComplete::from(tag))).await?;
    Ok(())
}

/// Sends rows as they come, at most `most` (0 is all); answers whether there may be more.
async fn send_rows<C>(
    client: &mut C,
    response: &mut QueryResponse,
    describe: bool,
    most: usize,
) -> PgWireResult<bool>
where
    C: Sink<Message> + Unpin,
    PgWireError: From<<C as Sink<Message>>::Error>,
{
    if describe {
        let described = response.row_schema().iter().map(Into::into).collect();
        client.feed(Message::RowDescription(RowDescription::new(described))).await?;
    }
    let tag = response.command_tag().to_owned();
    let mut sent = 0;
    while most == 0 || sent < most {
        let Some(row) = response.data_rows().next().await else {
            let tag = Tag::new(&tag);
            complete(client, if tag == Tag::new("SHOW") { tag } else { tag.with_rows(sent) })
                .await?;
            return Ok(false);
        };
        client.feed(Message::DataRow(row?)).await?;
        sent += 1;
    }
    client.feed(Message::PortalSuspended(PortalSuspended::new())).await?;
    Ok(true)
}

#[async_trait]
impl SimpleQueryHandler for Handler {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let session = session(client)?;
        session.stoppable(self.run_text(client, &session, &query.query)).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        Err(Error::Internal("queries go through on_query".into()).into())
    }
}

impl Handler {
    /// Runs statements one after the other; the first error ends them.
    async fn run_text<C>(&self, client: &mut C, session: &Session, sql: &str) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let database = &self.0.database;
        let actions = database.parse(sql.to_owned()).await.map_err(|error| placed(error, sql))?;
        if actions.is_empty() {
            client.feed(Message::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for action in actions {
            match action {
                Action::Query(_) | Action::Explain { .. } => {
                    if client.transaction_status() == TransactionStatus::Error {
                        return Err(Error::TransactionAborted.into());
                    }
                    let prepared = database.prepare(action, &session.user, session.pid).await?;
                    if !prepared.parameters.is_empty() {
                        let message = "there is no parameter $1".to_owned();
                        return Err(Error::Invalid(message).into());
                    }
                    let told = fields(&prepared.schema, &prepared.names, &Format::UnifiedText);
                    let rows = database.run(&prepared, None, session.settings().freshness());
                    session.settings().ran(&rows.counters);
                    let mut response = responses(&prepared, rows, told);
                    if prepared.is_explain() {
                        response.set_command_tag("EXPLAIN");
                    }
                    send_rows(client, &mut response, true, 0).await?;
                }
                other => {
                    let done = command(session, client.transaction_status(), &other)?;
                    send_done(client, done, true).await?;
                }
            }
        }
        Ok(())
    }
}

/// A statement of the extended protocol.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Query(Arc<Prepared>),
    Command(Action),
}

/// Plans statements of the extended protocol.
#[derive(Clone, Debug)]
pub(super) struct Planner(Arc<Shared>);

#[async_trait]
impl QueryParser for Planner {
    type Statement = Kept;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Kept>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let session = session(client)?;
        let database = &self.0.database;
        let work = async {
            let actions =
                database.parse(sql.to_owned()).await.map_err(|error| placed(error, sql))?;
            let mut actions = actions.into_iter();
            let Some(action) = actions.next() else { return Ok(None) };
            if actions.next().is_some() {
                let message = "cannot insert multiple commands into a prepared statement";
                let error = Error::Syntax { message: message.into(), at: None };
                return Err(PgWireError::from(error));
            }
            if client.transaction_status() == TransactionStatus::Error && !action.ends_transaction()
            {
                return Err(Error::TransactionAborted.into());
            }
            Ok(Some(match action {
                Action::Query(_) | Action::Explain { .. } => {
                    let prepared = database.prepare(action, &session.user, session.pid).await?;
                    Kept::Query(Arc::new(prepared))
                }
                other => Kept::Command(other),
            }))
        };
        session.stoppable(work).await
    }

    fn get_parameter_types(&self, statement: &Kept) -> PgWireResult<Vec<Type>> {
        Ok(match statement {
            Kept::Query(prepared) => decode::types(&prepared.parameters),
            Kept::Command(_) => Vec::new(),
        })
    }

    fn get_result_schema(
        &self,
        statement: &Kept,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        Ok(match statement {
            Kept::Query(prepared) => fields(&prepared.schema, &prepared.names, format),
            Kept::Command(Action::Show(setting)) => show_fields(setting.as_deref(), format),
            Kept::Command(_) => Vec::new(),
        })
    }
}

/// The values bound to the parameters of a statement.
fn parameters(portal: &Portal<Kept>, prepared: &Prepared) -> Result<Vec<ScalarValue>, Error> {
    let count = prepared.parameters.keys().next_back().copied().unwrap_or(0);
    if portal.parameters.len() != count {
        let given = portal.parameters.len();
        let message = format!("{given} parameters were bound, the statement has {count}");
        return Err(Error::Invalid(message));
    }
    let format = &portal.parameter_format;
    let value = |at: usize| {
        let binary = match format {
            Format::Individual(codes) => codes.get(at).is_some_and(|code| *code == 1),
            other => other.is_binary(at),
        };
        decode::value(&decode::Parameter {
            number: at + 1,
            bytes: portal.parameters[at].as_ref(),
            binary,
            said: portal.statement.parameter_types.get(at).and_then(Option::as_ref),
            wanted: prepared.parameters.get(&(at + 1)).and_then(Option::as_ref),
        })
    };
    (0..count).map(value).collect()
}

impl Handler {
    async fn execute<C>(
        &self,
        client: &mut C,
        portal: &Portal<Kept>,
        most: usize,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Kept>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let session = session(client)?;
        let prepared = match &portal.statement.statement {
            Kept::Query(prepared) => prepared,
            Kept::Command(action) => {
                let done = command(&session, client.transaction_status(), action)?;
                return send_done(client, done, false).await;
            }
        };
        if client.transaction_status() == TransactionStatus::Error {
            return Err(Error::TransactionAborted.into());
        }
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            let values = parameters(portal, prepared)?;
            let values = (!values.is_empty()).then_some(values);
            let told = fields(&prepared.schema, &prepared.names, &portal.result_column_format);
            let freshness = session.settings().freshness();
            let rows = self.0.database.run(prepared, values, freshness);
            session.settings().ran(&rows.counters);
            let mut response = responses(prepared, rows, told);
            if prepared.is_explain() {
                response.set_command_tag("EXPLAIN");
            }
            *state = PortalExecutionState::Suspended(response);
        }
        let PortalExecutionState::Suspended(response) = &mut *state else {
            return complete(client, Tag::new("SELECT").with_rows(0)).await;
        };
        // Finished until proven otherwise: an error or a cancel must not leave half a cursor.
        let more = send_rows(client, response, false, most).await;
        if !matches!(more, Ok(true)) {
            *state = PortalExecutionState::Finished;
        }
        more.map(|_| ())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handler {
    type Statement = Kept;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        Arc::new(Planner(self.0.clone()))
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Kept>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        session(client)?.keep(b's', name)?;
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(name),
        }
        client.feed(Message::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Kept>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let statement = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        session(client)?.keep(b'p', name)?;
        match client.portal_store().get_statement(statement) {
            Some(Entry::Value(statement)) => {
                let portal = Portal::try_new(&message, statement)?;
                client.portal_store().put_portal(Arc::new(portal));
            }
            Some(Entry::Empty) => client.portal_store().put_empty_portal(name),
            None => return Err(PgWireError::StatementNotFound(statement.to_owned())),
        }
        client.feed(Message::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Kept>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(Message::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        client.set_state(PgWireConnectionState::QueryInProgress);
        let session = session(client)?;
        session.stoppable(self.execute(client, &portal, most)).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Kept>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                client.portal_store().rm_statement(name);
                session(client)?.forget(b's', name);
            }
            TARGET_TYPE_BYTE_PORTAL => {
                client.portal_store().rm_portal(name);
                session(client)?.forget(b'p', name);
            }
            other => return Err(PgWireError::InvalidTargetType(other)),
        }
        client.feed(Message::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn do_query<C>(&self, _: &mut C, _: &Portal<Kept>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<Message> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Kept>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<Message>>::Error>,
    {
        Err(Error::Internal("queries go through on_execute".into()).into())
    }
}
