//! What lies about in the books, by its age; and what contracts have earned by the month.

use super::Api;
use super::extract::Params;
use super::live::now;
use super::problem::Problem;
use super::read::{ReadError, Rows, SCAN_ROWS_MAX, read};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::rows::{self, AccrualRow, TermsRow};
use novax_charging::{Ageing, Keyspace, TermsId};
use novax_ledger::Account;
use novax_model::{Currency, PartitionId};
use novax_settlement::contract::RevenueContract;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(ageing)).routes(routes!(accruals))
}

/// Money that lies where it ought not to stay.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct AgeingView {
    /// The account; of clearing between two partitions both, as `clearing/p0+p3`.
    account: String,
    /// The partitions whose books have it.
    partitions: Vec<u16>,
    /// ISO 4217 code.
    currency: String,
    /// Minor units; above zero it is owed to us. Never zero.
    balance_minor: String,
    /// Since when it has not been at zero.
    since: String,
    /// How long that is.
    age_s: u64,
}

/// One line of one partition.
struct Line {
    partition: PartitionId,
    ageing: Ageing,
}

/// What is aged together: the account, and for clearing the pair of partitions.
fn place(line: &Line) -> (String, Vec<u16>) {
    let here = line.partition.0;
    let name = &*line.ageing.name;
    let other = name.strip_prefix("clearing/p").and_then(|number| number.parse::<u16>().ok());
    match other {
        Some(other) if other != here => {
            let (low, high) = (here.min(other), here.max(other));
            (format!("clearing/p{low}+p{high}"), vec![low, high])
        }
        _ => (name.to_owned(), vec![here]),
    }
}

/// Lines by age, the two sides of clearing between partitions as one: what cancels out is no matter.
fn sum(lines: Vec<Line>) -> Vec<AgeingView> {
    let mut places: BTreeMap<(String, Vec<u16>, Currency), Vec<Line>> = BTreeMap::new();
    for line in lines {
        let (account, partitions) = place(&line);
        let currency = line.ageing.currency;
        places.entry((account, partitions, currency)).or_default().push(line);
    }
    let mut views = Vec::new();
    for ((account, partitions, currency), lines) in places {
        let balance: i128 =
            lines.iter().fold(0_i128, |sum, line| sum.saturating_add(line.ageing.balance));
        let oldest = lines.iter().map(|line| &line.ageing).min_by_key(|line| line.since);
        let Some(oldest) = oldest.filter(|_| balance != 0) else { continue };
        views.push(AgeingView {
            account,
            partitions,
            currency: currency.code().to_owned(),
            balance_minor: balance.to_string(),
            since: oldest.since.to_rfc3339(),
            age_s: oldest.age.as_secs(),
        });
    }
    views.sort_by(|a, b| (b.age_s, &a.account).cmp(&(a.age_s, &b.account)));
    views
}

/// Accounts that ought to be at zero and are not, the oldest first: clearing, receivables, suspense,
/// payment providers. Clearing between two partitions is one line, for it is at zero only together.
#[utoipa::path(get, path = "/v1/books/ageing", tag = "finance", operation_id = "get_ageing",
    responses((status = 200, body = Vec<AgeingView>)))]
async fn ageing(State(api): State<Api>) -> Result<Json<Vec<AgeingView>>, Problem> {
    let at = now();
    let lines = read(api.control(), false, move |rows| {
        let mut lines = Vec::new();
        rows.each(Keyspace::Accounts, usize::MAX, |found| {
            let account = rows::read::<Account>(found.value)?;
            let partition = found.partition;
            lines.extend(Ageing::of(&account, at).map(|ageing| Line { partition, ageing }));
            Ok(())
        })?;
        Ok(lines)
    });
    Ok(Json(sum(lines.await?)))
}

/// What a party of a contract has of a month.
#[derive(Debug, Serialize, ToSchema)]
struct EarnedView {
    /// The party.
    party: String,
    /// Minor units, corrections included.
    earned_minor: String,
}

/// What the end of a month brings, or brought.
#[derive(Debug, Serialize, ToSchema)]
struct BringsView {
    /// Who pays.
    payer: String,
    /// Whom.
    party: String,
    /// Minor units.
    amount_minor: String,
    /// It fills up a minimum; otherwise it is a fee.
    is_guarantee: bool,
}

/// What a contract has earned at a site in a month.
#[derive(Debug, Serialize, ToSchema)]
struct AccrualView {
    /// Where.
    site: String,
    /// The hash of the contract as the site had it.
    contract: String,
    /// `2026-11`, by the clock on the site's wall.
    month: String,
    /// ISO 4217 code.
    currency: String,
    /// Sessions billed in it.
    sessions: u64,
    /// What they delivered.
    energy_wh: u64,
    /// Minor units, tax included.
    gross_minor: String,
    /// Minor units, without tax.
    net_minor: String,
    /// Party by party.
    parties: Vec<EarnedView>,
    /// What the month's end brought; while it is open, what it would bring now.
    brings: Vec<BringsView>,
    /// The month is over and settled.
    settled: bool,
}

impl AccrualView {
    fn new(row: &AccrualRow, contract: &RevenueContract) -> AccrualView {
        let earned = row.earned();
        let name = |party| contract.party(party).map(ToString::to_string).unwrap_or_default();
        let parties = contract.parties.iter().zip(&earned.by_party);
        let parties = parties.map(|(party, amount)| EarnedView {
            party: party.to_string(),
            earned_minor: amount.to_string(),
        });
        let brings = row.outlook(contract).into_iter().map(|settlement| BringsView {
            payer: name(settlement.payer),
            party: name(settlement.party),
            amount_minor: settlement.amount.to_string(),
            is_guarantee: settlement.is_guarantee,
        });
        AccrualView {
            site: row.site.to_string(),
            contract: row.contract.to_string(),
            month: format!("{:04}-{:02}", row.month / 100, row.month % 100),
            currency: row.currency.code().to_owned(),
            sessions: row.accrual.sessions,
            energy_wh: row.accrual.energy_wh,
            gross_minor: row.accrual.gross.to_string(),
            net_minor: row.accrual.net.to_string(),
            parties: parties.collect(),
            brings: brings.collect(),
            settled: row.settled.is_some(),
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccrualParams {
    /// Only this site.
    site: Option<String>,
    /// Only this month: `2026-11`.
    month: Option<String>,
}

fn contract_of(
    rows: &Rows,
    partition: PartitionId,
    id: TermsId,
) -> Result<Option<RevenueContract>, ReadError> {
    let key = [&[1][..], &id.0.to_be_bytes()].concat();
    let terms = rows.get(partition, Keyspace::Terms, &key, rows::read::<TermsRow>)?;
    Ok(match terms {
        Some(TermsRow::Contract(contract)) => Some(contract),
        _ => None,
    })
}

/// What a contract has earned, by site and month: all that ever bore its name.
#[utoipa::path(get, path = "/v1/contracts/{id}/accruals", tag = "contracts",
    operation_id = "get_accruals",
    params(("id" = String, Path, description = "The contract's id, or its hash"), AccrualParams),
    responses((status = 200, body = Vec<AccrualView>)))]
async fn accruals(
    State(api): State<Api>,
    Path(id): Path<String>,
    Params(params): Params<AccrualParams>,
) -> Result<Json<Vec<AccrualView>>, Problem> {
    let views = read(api.control(), false, move |rows| {
        let mut views = Vec::new();
        let mut known: BTreeMap<(PartitionId, TermsId), Option<RevenueContract>> = BTreeMap::new();
        rows.each(Keyspace::Accruals, SCAN_ROWS_MAX, |found| {
            let row = rows::read::<AccrualRow>(found.value)?;
            let key = (found.partition, row.contract);
            if !known.contains_key(&key) {
                known.insert(key, contract_of(rows, found.partition, row.contract)?);
            }
            let Some(Some(contract)) = known.get(&key) else { return Ok(()) };
            if contract.id.as_str() != id && row.contract.to_string() != id {
                return Ok(());
            }
            let view = AccrualView::new(&row, contract);
            let is = |wanted: &Option<String>, text: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == text)
            };
            if is(&params.site, &view.site) && is(&params.month, &view.month) {
                views.push(view);
            }
            Ok(())
        })?;
        Ok(views)
    });
    Ok(Json(views.await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use novax_model::{AccountId, Duration, Timestamp};

    fn line(partition: u16, name: &str, balance: i128, since: u64) -> Line {
        Line {
            partition: PartitionId(partition),
            ageing: Ageing {
                account: AccountId(1),
                name: name.into(),
                currency: Currency::EUR,
                balance,
                since: Timestamp(since * 1_000_000),
                age: Duration::from_secs(100 - since),
            },
        }
    }

    #[test]
    fn the_two_sides_of_clearing_are_one_line_or_none() {
        let views = sum(vec![
            line(0, "clearing/p3", 70, 40),
            line(3, "clearing/p0", -70, 50),
            line(1, "clearing/p2", -30, 60),
            line(2, "clearing/p1", 10, 20),
            line(1, "clearing/p1", 5, 70),
            line(1, "suspense", -9, 10),
            line(2, "suspense", -9, 15),
        ]);
        let found: Vec<_> = views
            .iter()
            .map(|view| (view.account.as_str(), view.balance_minor.as_str(), view.age_s))
            .collect();
        let expected = [
            ("suspense", "-9", 90),
            ("suspense", "-9", 85),
            ("clearing/p1+p2", "-20", 80),
            ("clearing/p1", "5", 30),
        ];
        assert_eq!(found, expected);
        assert_eq!(views[2].partitions, [1, 2]);
    }
}
