//! A driver is forgotten, in every partition.
//!
//! **Invariant**: whatever cuts the work short, the same request completes it: the driver's row, which
//! says what is to be looked for, goes when nothing else is left, and the directory's row after it.

use super::Api;
use super::extract::identity;
use super::problem::Problem;
use super::read::{ReadError, Rows, read};
use crate::control::{Control, ControlError};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::erase::ERASED_ROWS_MAX;
use novax_charging::rows::{self, DriverRow, MetaRow, PayerSessionRow, SessionRow};
use novax_charging::{
    Command, DirectoryKind, EraseDriver, Erasure, Keyspace, PaymentRow, Refusal, erased_name,
};
use novax_model::{Identity, PartitionId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(erase))
}

/// How often rows are read again because something of them changed meanwhile.
const TRIES_MAX: usize = 16;

/// What is left of a driver.
#[derive(Debug, Serialize, ToSchema)]
struct Erased {
    /// What sessions say in place of the driver's name: absent when there was nothing left to forget.
    name: Option<String>,
}

/// Forgets a driver: name, tokens, card and salt. Sessions and bookings stay and lead to nobody; proofs of
/// the journal stay valid. Refused while a session is open, money is held or in the wallet, or something
/// is owed. Sent again it completes what was cut short. What has been issued as a document stays as it is.
#[utoipa::path(post, path = "/v1/drivers/{id}/erase", tag = "drivers", operation_id = "erase_driver",
    params(("id" = String, Path, description = "The driver's name")),
    responses((status = 200, body = Erased)))]
async fn erase(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Erased>, Problem> {
    let driver = identity("driver", &id)?;
    let control = api.control();
    let unknown = || Problem::not_found("driver", &id);
    let home = control.locate(DirectoryKind::Driver, driver.as_str()).await?;
    let home = home.ok_or_else(unknown)?;
    let name = match row(control, home, &driver).await? {
        Some(row) => {
            let (wallet, tokens) = (row.wallet, row.tokens);
            let erase =
                EraseDriver { driver: driver.clone(), wallet, tokens, step: Erasure::Check };
            forget(control, home, erase).await?;
            Some(erased_name(wallet).to_string())
        }
        None => None,
    };
    control.remove_directory(DirectoryKind::Driver, driver.as_str(), home).await?;
    Ok(Json(Erased { name }))
}

async fn row(
    control: &Control,
    home: PartitionId,
    driver: &Identity,
) -> Result<Option<DriverRow>, ReadError> {
    let key = driver.as_str().as_bytes().to_vec();
    read(control, false, move |rows| {
        rows.get(home, Keyspace::Drivers, &key, rows::read::<DriverRow>)
    })
    .await
}

async fn forget(control: &Control, home: PartitionId, erase: EraseDriver) -> Result<(), Problem> {
    // Home last: there the driver is blocked, once nobody minds.
    let others = (0..control.partitions()).map(PartitionId).filter(|partition| *partition != home);
    let all: Vec<PartitionId> = others.chain([home]).collect();
    for partition in &all {
        step(control, *partition, &erase, Erasure::Check).await?;
    }
    for partition in &all {
        forget_rows(control, *partition, &erase).await?;
    }
    for token in &erase.tokens {
        control.remove_directory(DirectoryKind::Token, token.as_str(), home).await?;
    }
    step(control, home, &erase, Erasure::Finish).await?;
    Ok(())
}

async fn step(
    control: &Control,
    partition: PartitionId,
    erase: &EraseDriver,
    step: Erasure,
) -> Result<(), ControlError> {
    let command = Command::EraseDriver(Box::new(EraseDriver { step, ..erase.clone() }));
    control.propose_ok(partition, command).await.map(|_| ())
}

/// Every row of a partition that names the driver, some at a time, until there is none.
async fn forget_rows(
    control: &Control,
    partition: PartitionId,
    erase: &EraseDriver,
) -> Result<(), Problem> {
    let mut tries = 0;
    loop {
        let wanted = erase.clone();
        let found = read(control, false, move |rows| gather(rows, partition, &wanted)).await?;
        let is_all = found.1 < ERASED_ROWS_MAX;
        match step(control, partition, erase, found.0).await {
            Ok(()) if is_all => return Ok(()),
            Ok(()) => tries = 0,
            Err(ControlError::Refused(Refusal::Stale)) if tries < TRIES_MAX => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Rows that name the driver, as many as fit one command, and how many they are.
fn gather(
    rows: &Rows,
    partition: PartitionId,
    erase: &EraseDriver,
) -> Result<(Erasure, usize), ReadError> {
    let meta = rows.get(partition, Keyspace::Meta, b"meta", rows::read::<MetaRow>)?;
    let read_at = meta.map_or(0, |meta| meta.applied_index);
    let mut left = ERASED_ROWS_MAX;
    let of_driver = |driver: &Identity| *driver == erase.driver;
    let (mut sessions, mut payers, mut payments) = (Vec::new(), Vec::new(), Vec::new());
    let mut room = || {
        let has_room = left > 0;
        left = left.saturating_sub(1);
        has_room
    };
    if let Some(part) = rows.part(partition) {
        for row in part.range(Keyspace::Sessions as u8, &[], None) {
            let row: SessionRow = rows::read(&row?.1)?;
            if erase.is_of(&row) && room() {
                sessions.push(row);
            }
        }
        for row in part.range(Keyspace::PayerSessions as u8, &[], None) {
            let row: PayerSessionRow = rows::read(&row?.1)?;
            if of_driver(&row.driver) && room() {
                payers.push(row);
            }
        }
        for row in part.range(Keyspace::Payments as u8, &[], None) {
            let row: PaymentRow = rows::read(&row?.1)?;
            if of_driver(&row.driver) && room() {
                payments.push(row);
            }
        }
    }
    let count = sessions.len() + payers.len() + payments.len();
    Ok((Erasure::Forget { read_at, sessions, payers, payments }, count))
}
