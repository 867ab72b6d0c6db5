//! Plans and runs statements, on threads of its own and within limits.
//!
//! DataFusion is CPU-bound work that must not hold up whoever talks to clients, so it gets its own
//! runtime. A running statement is one task that hands batches over a short channel: dropping its
//! [`Rows`] aborts it at its next yield, and whoever dropped it waits for nothing.

use crate::catalog;
use crate::config::SqlConfig;
use crate::error::Error;
use crate::pushdown::PushAggregates;
use crate::scan::Provider;
use crate::source::{Freshness, ScanCounters, Scope, Source};
use crate::statement::{self, Action};
use crate::tables;
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::config::Dialect;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as PlanResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as PlannedStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement};
use futures::StreamExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The one database of a node.
pub(crate) const DATABASE: &str = "novax";
/// Batches between a statement and whoever reads it.
const BATCHES_AHEAD_MAX: usize = 2;
/// Threads that plan and run statements.
const WORKERS_MAX: usize = 4;
/// Threads that read the store for them.
const READERS_MAX: usize = 8;
/// Planning recurses over a statement; see the bounds in `config`. Only touched pages count.
const STACK_BYTES: usize = 128 << 20;

/// The tables of a node, ready to be queried.
pub struct Database {
    state: SessionState,
    source: Arc<dyn Source>,
    config: SqlConfig,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    running: Arc<AtomicUsize>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Waiting for statements here could block a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A query that was planned, perhaps with parameters still open.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    plan: LogicalPlan,
    explain: Option<Explain>,
    /// What its rows look like.
    pub(crate) schema: SchemaRef,
    /// The names of its columns where they differ from those in `schema`.
    pub(crate) names: Vec<Option<String>>,
    /// Parameter types by number from 1; `None` where the plan does not tell.
    pub(crate) parameters: BTreeMap<usize, Option<DataType>>,
}

impl Prepared {
    pub(crate) fn is_explain(&self) -> bool {
        self.explain.is_some()
    }
}

#[derive(Clone, Copy, Debug)]
struct Explain {
    analyze: bool,
    verbose: bool,
}

/// Rows of a running statement. Dropping it stops the statement.
#[derive(Debug)]
pub(crate) struct Rows {
    batches: mpsc::Receiver<Result<RecordBatch, Error>>,
    task: Option<JoinHandle<()>>,
    /// What its scans did so far.
    pub(crate) counters: Arc<ScanCounters>,
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Rows {
    /// The next batch; `None` when there are no more. Nothing comes after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        let ended = self.task.take()?.await;
        ended.err().map(|error| Err(Error::Internal(format!("the statement ended: {error}"))))
    }
}

/// A whole result.
#[derive(Debug)]
pub struct Output {
    /// What its rows look like.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    /// What the scans did for it.
    pub scanned: Arc<ScanCounters>,
}

/// Runs one query in this process, without the wire. For tests and for the node itself.
///
/// # Errors
/// What a client would be told.
pub async fn run_statement(database: &Arc<Database>, sql: &str) -> Result<Output, Error> {
    let run = async {
        let mut actions = database.parse(sql.to_owned()).await?;
        let (Some(action), true) = (actions.pop(), actions.is_empty()) else {
            return Err(Error::NotSupported("one statement at a time".into()));
        };
        let prepared = database.prepare(action, DATABASE, 0).await?;
        let mut rows = database.run(&prepared, None, Freshness::Fresh);
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            batches.push(batch?);
        }
        let scanned = rows.counters.clone();
        Ok(Output { schema: prepared.schema, batches, scanned })
    };
    let timeout = database.config.statement_timeout;
    tokio::time::timeout(timeout, run).await.unwrap_or(Err(Error::Timeout))
}

impl Database {
    /// Opens the tables over a source.
    ///
    /// # Errors
    /// [`Error`] when the threads cannot be started.
    pub fn new(source: Arc<dyn Source>, config: SqlConfig) -> Result<Arc<Database>, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.clamp(2, WORKERS_MAX);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(READERS_MAX)
            .thread_stack_size(STACK_BYTES)
            .thread_name("novax-sql")
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("cannot start threads: {error}")))?;
        Ok(Arc::new(Database {
            state: base_state(&config, workers)?,
            source,
            config,
            runtime: Some(runtime),
            running: Arc::default(),
        }))
    }

    /// Its limits.
    #[must_use]
    pub fn config(&self) -> &SqlConfig {
        &self.config
    }

    /// How many statements run now, those included that were stopped and have not yet yielded.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("there until it is dropped")
    }

    /// Does short work on our own threads, whose stacks are large enough for it.
    async fn off<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let mut task = AbortOnDrop(self.runtime().spawn(work));
        (&mut task.0).await.map_err(|error| Error::Internal(error.to_string()))?
    }

    pub(crate) async fn parse(&self, sql: String) -> Result<Vec<Action>, Error> {
        self.off(async move { statement::parse(&sql) }).await
    }

    /// Plans a query or an EXPLAIN.
    pub(crate) async fn prepare(
        &self,
        action: Action,
        user: &str,
        pid: i32,
    ) -> Result<Prepared, Error> {
        let (mut query, explain) = match action {
            Action::Query(query) => (query, None),
            Action::Explain { query, analyze, verbose } => {
                (query, Some(Explain { analyze, verbose }))
            }
            other => return Err(Error::Internal(format!("{other:?} has no plan"))),
        };
        let state = self.state.clone();
        let user = user.to_owned();
        self.off(async move {
            let written = query.clone();
            catalog::rewrite::put_session(&mut query, &user, pid);
            catalog::rewrite::rewrite(&mut query)?;
            statement::tell_columns_apart(&mut query);
            prepare(state, *query, &written, explain).await
        })
        .await
    }

    /// Starts a planned query with its parameters.
    pub(crate) fn run(
        &self,
        prepared: &Prepared,
        parameters: Option<Vec<ScalarValue>>,
        freshness: Freshness,
    ) -> Rows {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD_MAX);
        let scope = Arc::new(Scope::new(self.source.clone(), freshness));
        let counters = scope.counters.clone();
        let mut state = self.state.clone();
        state.config_mut().set_extension(scope.clone());
        let statement = Running {
            state,
            scope,
            prepared: prepared.clone(),
            parameters,
            rows_max: self.config.result_rows_max,
            sender,
            _count: Count::new(&self.running),
        };
        Rows { batches, task: Some(self.runtime().spawn(statement.run())), counters }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One more running statement for as long as it lives.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(running: &Arc<AtomicUsize>) -> Count {
        running.fetch_add(1, Ordering::Relaxed);
        Count(running.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every statement starts from.
fn base_state(config: &SqlConfig, workers: usize) -> Result<SessionState, Error> {
    let mut session = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(DATABASE, "public")
        .with_information_schema(false)
        .with_target_partitions(workers)
        .with_batch_size(tables::BATCH_ROWS_MAX);
    let options = session.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    // 0.1 is exact in PostgreSQL, and amounts stay exact when multiplied with it.
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("+00:00".into());
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(config.memory_bytes_max)))
        .with_disk_manager_builder(no_files)
        .build_arc()?;
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
        vec![Arc::new(PushAggregates)];
    rules.extend(PhysicalOptimizer::new().rules);
    let mut state = SessionStateBuilder::new()
        .with_config(session)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(YieldingJoins))
        .build();
    catalog::functions::register(&mut state)?;
    register_tables(&state)?;
    Ok(state)
}

fn register_tables(state: &SessionState) -> Result<(), Error> {
    let database = MemoryCatalogProvider::new();
    let public = MemorySchemaProvider::new();
    let tables = tables::all();
    for table in &tables {
        let provider = Arc::new(Provider::new(table.clone()));
        public.register_table(table.name().to_owned(), provider)?;
    }
    database.register_schema("public", Arc::new(public))?;
    for (name, schema) in catalog::tables::schemas(&tables)? {
        database.register_schema(name, Arc::new(schema))?;
    }
    state.catalog_list().register_catalog(DATABASE.to_owned(), Arc::new(database));
    Ok(())
}

async fn prepare(
    mut state: SessionState,
    query: Query,
    written: &Query,
    explain: Option<Explain>,
) -> Result<Prepared, Error> {
    state.mark_start_execution();
    let statement = Statement::Query(Box::new(query));
    let plan = state.statement_to_plan(PlannedStatement::Statement(Box::new(statement))).await?;
    let mut parameters = BTreeMap::new();
    for (name, data_type) in plan.get_parameter_types()? {
        let number = name.strip_prefix('$').and_then(|number| number.parse().ok());
        let number: usize = number
            .filter(|number| (1..=usize::from(u16::MAX)).contains(number))
            .ok_or_else(|| Error::NotSupported(format!("parameter {name}")))?;
        parameters.insert(number, data_type);
    }
    let (schema, names) = match explain {
        Some(_) => (plan_schema(), vec![None]),
        None => {
            let schema = Arc::new(plan.schema().as_arrow().clone());
            let names = statement::column_names(written, schema.fields().len());
            (schema, names)
        }
    };
    Ok(Prepared { plan, explain, schema, names, parameters })
}

/// What EXPLAIN answers: lines, as PostgreSQL does.
fn plan_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// A statement on its way through our threads.
struct Running {
    state: SessionState,
    scope: Arc<Scope>,
    prepared: Prepared,
    parameters: Option<Vec<ScalarValue>>,
    rows_max: Option<usize>,
    sender: mpsc::Sender<Result<RecordBatch, Error>>,
    _count: Count,
}

impl Running {
    async fn run(mut self) {
        if let Err(error) = self.stream().await {
            // Nobody may be listening any more.
            let _ = self.sender.send(Err(error)).await;
        }
    }

    async fn stream(&mut self) -> Result<(), Error> {
        self.state.mark_start_execution();
        let mut plan = self.prepared.plan.clone();
        if let Some(values) = self.parameters.take() {
            plan = plan.replace_params_with_values(&ParamValues::from(values))?;
        }
        if reads_series(&plan)? {
            self.scope.want_series();
        }
        let physical = self.state.create_physical_plan(&plan).await?;
        if let Some(explain) = self.prepared.explain {
            return self.explain(explain, &plan, physical).await;
        }
        let mut batches = execute_stream(physical, self.state.task_ctx())?;
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            if let Some(most) = self.rows_max.filter(|most| rows > *most) {
                return Err(Error::TooManyRows(most));
            }
            if self.sender.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn explain(
        &mut self,
        explain: Explain,
        plan: &LogicalPlan,
        physical: Arc<dyn ExecutionPlan>,
    ) -> Result<(), Error> {
        let mut text = String::new();
        if explain.verbose {
            text += &format!("Logical plan\n{}\nPhysical plan\n", plan.display_indent());
        }
        if explain.analyze {
            let (began, mut rows) = (Instant::now(), 0);
            let mut batches = execute_stream(physical.clone(), self.state.task_ctx())?;
            while let Some(batch) = batches.next().await {
                rows += batch?.num_rows();
            }
            let plan = DisplayableExecutionPlan::with_metrics(&*physical);
            let millis = began.elapsed().as_micros() / 1_000;
            text += &format!("{}Rows: {rows}\nExecution Time: {millis} ms", plan.indent(false));
        } else {
            let plan = DisplayableExecutionPlan::new(&*physical);
            text += &plan.indent(explain.verbose).to_string();
        }
        let lines = StringArray::from(text.trim_end().lines().collect::<Vec<_>>());
        let batch = RecordBatch::try_new(plan_schema(), vec![Arc::new(lines)])?;
        let _ = self.sender.send(Ok(batch)).await;
        Ok(())
    }
}

/// Whether a plan scans a table that wants open series heads written out first.
fn reads_series(plan: &LogicalPlan) -> PlanResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let provider: &dyn Any = &*provider;
            found |= provider.downcast_ref::<Provider>().is_some_and(Provider::wants_series);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Lets joins yield: one batch from a scan can keep a join busy for as long as it likes, and only
/// scans yield by themselves. Without it an aborted join would run on until its next batch is read.
#[derive(Debug)]
struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            if node.name().ends_with("JoinExec") {
                Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
            } else {
                Ok(Transformed::no(node))
            }
        });
        Ok(wrapped?.data)
    }

    fn name(&self) -> &'static str {
        "YieldingJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
