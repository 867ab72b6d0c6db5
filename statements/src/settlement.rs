//! The settlement statement: a partner's account over a period, from opening to closing balance.
//!
//! Every share of the sessions is found in the account and every share in the account belongs to a
//! session given; otherwise there is no statement.

use crate::check::{bounded, equal, sum};
use crate::error::StatementError;
use crate::facts::{AccountFacts, DocumentFacts, EntryFacts, EntryKind, Minor, SessionFacts};
use crate::report::same_currency;
use novax_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a partner earned and got in a period.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettlementStatement {
    /// Its number, parties and period.
    pub document: DocumentFacts,
    /// The partner's name in contracts and accounts.
    pub party: Box<str>,
    /// What was owed to the partner before.
    #[serde(with = "crate::stored::text")]
    pub opening: Minor,
    /// Sessions the partner has a share of, in order of booking.
    pub sessions: Vec<PartnerSession>,
    /// Everything else that was booked, in order.
    pub entries: Vec<EntryFacts>,
    /// By kind, in the order of [`EntryKind`]; kinds without an entry are left out.
    pub sums: Vec<KindSum>,
    /// What is owed to the partner after.
    #[serde(with = "crate::stored::text")]
    pub closing: Minor,
}

/// A partner's share of a session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartnerSession {
    /// The record's id.
    pub cdr: Box<str>,
    /// Where.
    pub site: Box<str>,
    /// When its bill was booked.
    #[serde(with = "crate::stored::time")]
    pub booked: Timestamp,
    /// Delivered.
    pub energy_wh: i64,
    /// The net of the session.
    #[serde(with = "crate::stored::text")]
    pub net: Minor,
    /// The partner's.
    #[serde(with = "crate::stored::text")]
    pub share: Minor,
}

/// The entries of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KindSum {
    /// Which kind.
    pub kind: EntryKind,
    /// How many.
    pub entries: u64,
    /// What they come to.
    #[serde(with = "crate::stored::text")]
    pub amount: Minor,
}

/// Makes the statement of a partner whose account may lie in several partitions.
///
/// # Errors
/// The session or balance that does not fit the account.
pub fn settlement_statement(
    document: &DocumentFacts,
    party: &str,
    accounts: &[AccountFacts],
    sessions: &[SessionFacts],
) -> Result<SettlementStatement, StatementError> {
    bounded("sessions of a statement", sessions.len())?;
    for account in accounts {
        account.check()?;
        same_currency(document.currency, account.currency)?;
        if !account.entries.iter().all(|entry| document.period.contains(entry.booked)) {
            return Err(StatementError::OutOfOrder { what: "an entry of the statement's period" });
        }
    }
    let sessions_of = partner_sessions(document, party, sessions)?;
    confirm(document, party, accounts, sessions)?;
    let entries = || accounts.iter().flat_map(|account| &account.entries);
    let mut sums: BTreeMap<EntryKind, (u64, Minor)> = BTreeMap::new();
    for entry in entries() {
        let (count, amount) = sums.entry(entry.kind).or_default();
        *count += 1;
        *amount = sum("entries", [*amount, entry.amount].into_iter())?;
    }
    let opening = sum("opening balances", accounts.iter().map(|account| account.opening))?;
    let closing = sum("closing balances", accounts.iter().map(AccountFacts::closing))?;
    let moved = sum("entries", sums.values().map(|&(_, amount)| amount))?;
    equal(format!("closing balance of {party}"), opening + moved, closing)?;
    let mut rest: Vec<EntryFacts> =
        entries().filter(|entry| entry.kind != EntryKind::Share).cloned().collect();
    rest.sort_by_key(|entry| (entry.booked, entry.number));
    let sums = sums.into_iter();
    let sums = sums.map(|(kind, (entries, amount))| KindSum { kind, entries, amount }).collect();
    Ok(SettlementStatement {
        document: document.clone(),
        party: party.into(),
        opening,
        sessions: sessions_of,
        entries: rest,
        sums,
        closing,
    })
}

fn partner_sessions(
    document: &DocumentFacts,
    party: &str,
    sessions: &[SessionFacts],
) -> Result<Vec<PartnerSession>, StatementError> {
    let mut rows = Vec::new();
    for facts in sessions {
        facts.check()?;
        same_currency(document.currency, facts.currency)?;
        let mut shares = facts.shares.iter().filter(|share| &*share.party == party).peekable();
        if shares.peek().is_none() || !document.period.contains(facts.booked) {
            continue;
        }
        rows.push(PartnerSession {
            cdr: facts.cdr.clone(),
            site: facts.place.site.clone(),
            booked: facts.booked,
            energy_wh: facts.energy_wh,
            net: facts.net,
            share: sum("shares", shares.map(|share| share.amount))?,
        });
    }
    rows.sort_by(|a, b| (a.booked, &a.cdr).cmp(&(b.booked, &b.cdr)));
    Ok(rows)
}

/// Holds what the sessions say to what the account says, session by session.
fn confirm(
    document: &DocumentFacts,
    party: &str,
    accounts: &[AccountFacts],
    sessions: &[SessionFacts],
) -> Result<(), StatementError> {
    let mut shares: BTreeMap<(EntryKind, String), (Minor, Minor)> = BTreeMap::new();
    let mut add = |kind, reference: String, here: Minor, there: Minor| {
        let (document, books) = shares.entry((kind, reference)).or_default();
        *document = document.saturating_add(here);
        *books = books.saturating_add(there);
    };
    let in_period = |at| document.period.contains(at);
    let mut known = std::collections::BTreeSet::new();
    for facts in sessions {
        let id = facts.session.to_string();
        known.insert(id.clone());
        let own = |shares: &[crate::facts::ShareFacts]| -> Minor {
            shares.iter().filter(|share| &*share.party == party).map(|share| share.amount).sum()
        };
        if in_period(facts.booked) {
            add(EntryKind::Share, id.clone(), own(&facts.shares), 0);
        }
        for correction in facts.corrections.iter().filter(|c| in_period(c.booked)) {
            add(EntryKind::Adjustment, id.clone(), own(&correction.shares), 0);
        }
    }
    for entry in accounts.iter().flat_map(|account| &account.entries) {
        // Adjustments also come without a session: a refund by hand, a chargeback.
        let of_session = entry.kind == EntryKind::Share
            || (entry.kind == EntryKind::Adjustment && known.contains(&*entry.reference));
        if of_session {
            add(entry.kind, entry.reference.to_string(), 0, entry.amount);
        }
    }
    for ((kind, reference), (here, there)) in shares {
        let what = if kind == EntryKind::Share { "share" } else { "corrections" };
        equal(format!("{what} of {party} in session {reference}"), here, there)?;
    }
    Ok(())
}
