//! A table of ours as DataFusion sees it: which filters it takes, and a plan node that streams it.
//!
//! Each step of a scan runs on a blocking thread and hands its cursor back, so no thread is held
//! between batches: a consumer that stops reading, or is aborted, leaves nothing behind, and any
//! number of scans of one statement share the pool without waiting for one another.

use crate::error::Error;
use crate::filter::{Pushed, push};
use crate::source::{ScanCounters, Scope, Tally};
use crate::tables::totals::Totals;
use crate::tables::{Cursor, Scan, Step, Table, schema_of};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::StreamExt;
use futures::stream;
use novax_engine::Snapshot;
use novax_model::PartitionId;
use novax_tsdb::query::SeriesSource;
use std::fmt;
use std::sync::Arc;

/// A [`Table`] in DataFusion's catalog. Holds no data: snapshots come with each statement.
#[derive(Debug)]
pub(crate) struct Provider {
    table: Arc<dyn Table>,
    schema: SchemaRef,
}

impl Provider {
    pub(crate) fn new(table: Arc<dyn Table>) -> Provider {
        let schema = schema_of(&*table);
        Provider { table, schema }
    }

    /// Whether open series heads have to be written out before it is scanned.
    pub(crate) fn wants_series(&self) -> bool {
        self.table.wants_series()
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushable = self.table.pushable();
        let exact = |filter: &&Expr| {
            if push(filter, pushable, &mut Pushed::default()) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(exact).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scope = state.config().get_extension::<Scope>();
        let scope = scope.ok_or_else(|| Error::Internal("a scan outside a statement".into()))?;
        let mut pushed = Pushed::default();
        for filter in filters {
            if !push(filter, self.table.pushable(), &mut pushed) {
                let message = format!("filter {filter} was refused, but came");
                return Err(Error::Internal(message).into());
            }
        }
        let projection =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&projection)?);
        let snapshots = scope.snapshots().await?.to_vec();
        let colder = snapshots.iter().map(|(partition, _)| scope.colder(*partition)).collect();
        let limit = limit.unwrap_or(usize::MAX);
        let scan = Wanted { projection, schema, pushed, limit, snapshots, colder };
        let ways = state.config().target_partitions();
        Ok(Arc::new(ScanExec::new(self.table.clone(), scan, scope.counters.clone(), ways)))
    }
}

/// What is wanted of all parts of a scan together.
#[derive(Clone)]
struct Wanted {
    projection: Vec<usize>,
    schema: SchemaRef,
    pushed: Pushed,
    limit: usize,
    snapshots: Vec<(PartitionId, Snapshot)>,
    /// Colder tiers of the series of each.
    colder: Vec<Vec<Arc<dyn SeriesSource>>>,
}

/// The plan node of a scan, or of a scan whose rows are summed up before they leave it. Each of its
/// partitions reads some of the store's.
pub(crate) struct ScanExec {
    table: Arc<dyn Table>,
    /// What its rows are summed up to.
    totals: Option<Arc<Totals>>,
    scan: Wanted,
    counters: Arc<ScanCounters>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    fn new(
        table: Arc<dyn Table>,
        scan: Wanted,
        counters: Arc<ScanCounters>,
        ways: usize,
    ) -> ScanExec {
        let ways = ways.min(scan.snapshots.len()).max(1);
        let properties = properties(&scan.schema, ways);
        let metrics = ExecutionPlanMetricsSet::new();
        ScanExec { table, totals: None, scan, counters, properties, metrics }
    }

    /// The table whose rows it gives, all that pass its filters; `None` when it gives something else.
    pub(crate) fn whole_table(&self) -> Option<&'static str> {
        let is_whole = self.totals.is_none() && self.scan.limit == usize::MAX;
        is_whole.then(|| self.table.name())
    }

    /// The same scan, whose rows are summed up to rows of this schema.
    pub(crate) fn summed(&self, totals: Totals, schema: SchemaRef) -> ScanExec {
        assert!(self.whole_table().is_some(), "rows are summed up once, and all of them");
        let ways = self.properties.output_partitioning().partition_count();
        ScanExec {
            table: self.table.clone(),
            totals: Some(Arc::new(totals)),
            properties: properties(&schema, ways),
            scan: Wanted { schema, ..self.scan.clone() },
            counters: self.counters.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The part of the scan that one partition of this node does: every n-th snapshot.
    fn part(&self, partition: usize) -> Scan {
        let ways = self.properties.output_partitioning().partition_count();
        let snapshots = self.scan.snapshots.iter().skip(partition).step_by(ways);
        let colder = self.scan.colder.iter().skip(partition).step_by(ways);
        let count = |name| MetricBuilder::new(&self.metrics).counter(name, partition);
        Scan {
            projection: self.scan.projection.clone(),
            schema: self.scan.schema.clone(),
            pushed: self.scan.pushed.clone(),
            limit: self.scan.limit,
            snapshots: snapshots.cloned().collect(),
            colder: colder.cloned().collect(),
            tally: Tally {
                statement: self.counters.clone(),
                decoded: count("chunks_decoded"),
                skipped: count("chunks_skipped"),
                summarized: count("chunks_summarized"),
            },
        }
    }
}

fn properties(schema: &SchemaRef, ways: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema.clone()),
        Partitioning::UnknownPartitioning(ways),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanExec")
            .field("table", &self.table.name())
            .field("pushed", &self.scan.pushed)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: table={}", self.name(), self.table.name())?;
        if let Some(totals) = &self.totals {
            write!(f, ", {totals}")?;
        } else {
            let columns: Vec<&str> =
                self.scan.schema.fields().iter().map(|field| field.name().as_str()).collect();
            write!(f, ", columns=[{}]", columns.join(", "))?;
        }
        write!(f, "{}", self.scan.pushed)?;
        if self.scan.limit != usize::MAX {
            write!(f, ", limit={}", self.scan.limit)?;
        }
        write!(f, ", partitions={}", self.scan.snapshots.len())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        if self.totals.is_some() { "AggregateScanExec" } else { "ScanExec" }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert!(children.is_empty(), "a scan has no children");
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let scan = self.part(partition);
        let schema = scan.schema.clone();
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let cursor = match &self.totals {
            Some(totals) => totals.cursor(scan),
            None => self.table.cursor(scan),
        };
        let batches = stream::try_unfold(cursor, step).map(move |batch: Result<RecordBatch>| {
            if let Ok(batch) = &batch {
                baseline.record_output(batch.num_rows());
            }
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

async fn step(mut cursor: Box<dyn Cursor>) -> Result<Option<(RecordBatch, Box<dyn Cursor>)>> {
    loop {
        let stepping = tokio::task::spawn_blocking(move || {
            let step = cursor.step();
            (step, cursor)
        });
        let (step, next) = stepping.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => DataFusionError::from(Error::Internal(stopped.to_string())),
        })?;
        match step? {
            Step::Rows(batch) => return Ok(Some((batch, next))),
            Step::Done => return Ok(None),
            Step::Working => cursor = next,
        }
    }
}
