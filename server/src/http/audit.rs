//! For auditors: signed heads of each partition's journal, proofs, and the journal as a file.

use super::Api;
use super::extract::Params;
use super::problem::Problem;
use super::read::{ReadError, read};
use super::views::{parse_row_id, time};
use crate::audit::{hex, store};
use crate::control::Freshness;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use novax_audit::{AuditError, SignedHead};
use novax_model::PartitionId;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Heads in one answer.
const HEADS_MAX: u16 = 100;
/// Pieces of an export that wait for the client to read.
const PIECES_MAX: usize = 8;
/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(heads))
        .routes(routes!(proof))
        .routes(routes!(consistency))
        .routes(routes!(export))
}

/// A signed head of a partition's journal.
#[derive(Debug, Serialize, ToSchema)]
struct HeadView {
    /// Whose journal.
    partition: u16,
    /// How many transactions it vouches for.
    size: u64,
    /// RFC 9162 root over them.
    root: String,
    /// The entry of the log after which it was taken.
    log_index: u64,
    /// Chained over all entries of the log up to that one.
    log_chain: String,
    /// When.
    at: Option<String>,
    /// Which key signed.
    key: String,
    /// All of it and its signature, as `novax audit verify --head` takes it.
    signed: String,
}

impl From<&SignedHead> for HeadView {
    fn from(signed: &SignedHead) -> HeadView {
        HeadView {
            partition: signed.head.partition.0,
            size: signed.head.size,
            root: hex(&signed.head.root),
            log_index: signed.head.log_index,
            log_chain: hex(&signed.head.log_chain),
            at: time(signed.head.at),
            key: signed.key.to_string(),
            signed: hex(&signed.to_bytes()),
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HeadsParams {
    /// Which partition; all of them when absent, with the newest head of each.
    partition: Option<u16>,
    /// Heads at most: 1 to 100, 10 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

fn problem(error: &AuditError) -> ReadError {
    ReadError::Storage(error.to_string())
}

/// Signed heads, newest first.
#[utoipa::path(get, path = "/v1/audit/heads", tag = "audit", params(HeadsParams),
    operation_id = "list_audit_heads", responses((status = 200, body = Vec<HeadView>)))]
async fn heads(
    State(api): State<Api>,
    Params(params): Params<HeadsParams>,
) -> Result<Json<Vec<HeadView>>, Problem> {
    let limit = params.limit.unwrap_or(10);
    if !(1..=HEADS_MAX).contains(&limit) {
        return Err(Problem::unprocessable(format!("limit is not between 1 and {HEADS_MAX}")));
    }
    let found = read(api.control(), false, move |rows| {
        let mut found = Vec::new();
        for (partition, snapshot) in rows.parts() {
            match params.partition {
                Some(wanted) if wanted != partition.0 => {}
                Some(_) => found.extend(newest(snapshot, usize::from(limit))?),
                None => found.extend(newest(snapshot, 1)?),
            }
        }
        Ok(found)
    });
    Ok(Json(found.await?))
}

fn newest(
    snapshot: &novax_engine::Snapshot,
    max: usize,
) -> Result<impl Iterator<Item = HeadView>, ReadError> {
    let heads = store::newest_heads(snapshot, max).map_err(|error| problem(&error))?;
    Ok(heads.into_iter().map(|head| HeadView::from(&head)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProofParams {
    /// The id of a transfer, as `/v1/transfers` shows it.
    transfer: String,
}

/// That a transfer's transaction is in the signed journal (RFC 9162, section 2.1.3).
#[derive(Debug, Serialize, ToSchema)]
struct ProofView {
    /// Which leaf of the tree.
    leaf: u64,
    /// The transaction in its canonical form; its leaf hash is SHA-256 over a zero byte and this.
    transaction: String,
    /// Hashes from the leaf up to the head's root.
    path: Vec<String>,
    /// The head.
    head: HeadView,
}

/// Proves that a transfer is in the journal. A transfer is signed within two seconds.
#[utoipa::path(get, path = "/v1/audit/proof", tag = "audit", params(ProofParams),
    operation_id = "get_audit_proof", responses((status = 200, body = ProofView)))]
async fn proof(
    State(api): State<Api>,
    Params(params): Params<ProofParams>,
) -> Result<Json<ProofView>, Problem> {
    let unknown = || Problem::not_found("signed transfer", &params.transfer);
    let (partition, number) = parse_row_id(&params.transfer).ok_or_else(unknown)?;
    let number: u64 = number.parse().map_err(|_| unknown())?;
    let found = read(api.control(), false, move |rows| {
        let Some(snapshot) = rows.part(partition) else { return Ok(None) };
        store::prove(snapshot, partition, number).map_err(|error| problem(&error))
    });
    let found = found.await?.ok_or_else(unknown)?;
    Ok(Json(ProofView {
        leaf: found.leaf,
        transaction: hex(&found.transaction),
        path: found.path.iter().map(|hash| hex(hash)).collect(),
        head: HeadView::from(&found.head),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConsistencyParams {
    /// Which partition.
    partition: u16,
    /// Size of the older tree.
    from: u64,
    /// Size of the newer tree; at most that of the newest signed head.
    to: u64,
}

/// That a journal only grew (RFC 9162, section 2.1.4).
#[derive(Debug, Serialize, ToSchema)]
struct ConsistencyView {
    /// Hashes, in the order of the text.
    path: Vec<String>,
}

/// Proves that the journal at one size goes on into that at another.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "audit", params(ConsistencyParams),
    operation_id = "get_audit_consistency", responses((status = 200, body = ConsistencyView)))]
async fn consistency(
    State(api): State<Api>,
    Params(params): Params<ConsistencyParams>,
) -> Result<Json<ConsistencyView>, Problem> {
    let ConsistencyParams { partition, from, to } = params;
    let found = read(api.control(), false, move |rows| {
        let snapshot = rows.part(PartitionId(partition));
        Ok(snapshot.map(|snapshot| store::consistency(snapshot, from, to)))
    });
    let found = found.await?;
    let found = found.ok_or_else(|| Problem::not_found("partition", &partition.to_string()))?;
    match found {
        Ok(path) => Ok(Json(ConsistencyView { path: path.iter().map(|hash| hex(hash)).collect() })),
        Err(error @ AuditError::OutOfRange { .. }) => {
            Err(Problem::unprocessable(error.to_string()))
        }
        Err(error) => Err(problem(&error).into()),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportParams {
    /// Which partition.
    partition: u16,
    /// Whether each transaction brings its own proof: a forger is then pinned to the transaction.
    #[serde(default)]
    proofs: bool,
}

/// A writer whose pieces go to a client, and wait for it.
struct Pieces {
    gathered: Vec<u8>,
    client: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.gathered);
        if piece.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.client.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

/// The whole journal of a partition as a file that `novax audit verify` checks offline.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(ExportParams),
    operation_id = "export_audit_journal",
    responses((status = 200, content_type = "application/octet-stream")))]
async fn export(
    State(api): State<Api>,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let partition = PartitionId(params.partition);
    let view = api.control().view(false, Freshness::Fresh).await.map_err(ReadError::from)?;
    let snapshot =
        view.parts.into_iter().find(|(id, _)| *id == partition).map(|(_, snapshot)| snapshot);
    let snapshot =
        snapshot.ok_or_else(|| Problem::not_found("partition", &params.partition.to_string()))?;
    let (client, pieces) = mpsc::channel(PIECES_MAX);
    let rotations = api.rotations();
    tokio::task::spawn_blocking(move || {
        let out = Pieces { gathered: Vec::with_capacity(PIECE_BYTES), client: client.clone() };
        if let Err(error) = store::export(&snapshot, partition, params.proofs, &rotations, out) {
            // The client sees a body that breaks off, and its file does not verify.
            let _ = client.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(pieces));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}
