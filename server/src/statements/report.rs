//! Reports that have no number: revenue of a period, a partner's account.

use super::books::{Movement, Owner, Part, is_revenue};
use super::session::booked_facts;
use super::{NoDocument, one_currency};
use crate::config::StatementsConfig;
use novax_charging::rows;
use novax_charging::{Billing, BillingRow, Keyspace};
use novax_ledger::{Account, AccountEntry, Code};
use novax_model::{Currency, SessionId, Timestamp, TransferKey};
use novax_statements::facts::{
    AccountFacts, DocumentFacts, EntryFacts, EntryKind, LegalParty, Minor, Period, SessionFacts,
};
use novax_statements::{
    BookedTotals, GroupBy, RevenueReport, SettlementStatement, revenue_report, settlement_statement,
};
use std::collections::{BTreeMap, BTreeSet};

/// The sessions that something was booked of in a period, as the books have them.
fn sessions_of(
    part: &Part<'_>,
    billings: &[BillingRow],
    seller: &StatementsConfig,
    period: &Period,
    currency: Option<Currency>,
) -> Result<Vec<SessionFacts>, NoDocument> {
    let ids: BTreeSet<SessionId> = billings.iter().map(|billing| billing.session).collect();
    let mut facts = Vec::with_capacity(ids.len());
    for id in ids {
        let row = part.session(id)?;
        let row = row.ok_or_else(|| NoDocument::Storage(format!("session {id} is missing")))?;
        if currency.is_none_or(|currency| currency == row.deal.currency) {
            facts.push(booked_facts(part, &row, seller, period)?);
        }
    }
    Ok(facts)
}

/// What the journal says of all revenue of a period, whosever session it was.
fn booked(
    parts: &[Part<'_>],
    period: &Period,
    currency: Currency,
) -> Result<BookedTotals, NoDocument> {
    let mut sum = Movement::default();
    for part in parts {
        let first = part.journal_since(period.from)?;
        part.journal(first, |row| {
            if row.at >= period.until {
                return Ok(false);
            }
            if is_revenue(row.code) {
                part.add(&mut sum, row, currency)?;
            }
            Ok(true)
        })?;
    }
    sum.shares.retain(|_, amount| *amount != 0);
    Ok(BookedTotals { net: sum.net, tax: sum.tax, parties: sum.shares })
}

/// The revenue of a period in one currency.
///
/// # Errors
/// [`NoDocument`].
pub fn revenue(
    parts: &[Part<'_>],
    period: &Period,
    by: GroupBy,
    asked: Option<Currency>,
    seller: &StatementsConfig,
) -> Result<RevenueReport, NoDocument> {
    let mut sessions = Vec::new();
    for part in parts {
        let billings = part.billings(period.from, period.until)?;
        sessions.extend(sessions_of(part, &billings, seller, period, asked)?);
    }
    let found = sessions.iter().map(|facts| facts.currency);
    let currency = one_currency(asked, found)?.unwrap_or(Currency::EUR);
    let booked = booked(parts, period, currency)?;
    Ok(revenue_report(period, by, currency, &sessions, &booked)?)
}

/// A partner's account in one partition, and what is behind it.
struct Partner {
    account: AccountFacts,
    sessions: Vec<SessionFacts>,
}

/// The accounts of a partner, in the partitions that have one.
fn accounts_of(
    part: &Part<'_>,
    partner: &str,
    currency: Option<Currency>,
) -> Result<Vec<Account>, NoDocument> {
    let mut found = Vec::new();
    part.accounts(|account| {
        let wanted = currency.is_none_or(|currency| currency == account.currency);
        if wanted && *account.name == *partner {
            found.push(account);
        }
        Ok(())
    })?;
    let mut kept = Vec::new();
    for account in found {
        if matches!(part.owner(account.id)?, Owner::Party(_)) {
            kept.push(account);
        }
    }
    Ok(kept)
}

fn balance(balances: &novax_ledger::Balances) -> Minor {
    let sum = |amount: u128| Minor::try_from(amount).unwrap_or(Minor::MAX);
    sum(balances.credits_posted) - sum(balances.debits_posted)
}

/// What the entries of a period are: of which session, and whether it is a share or a correction.
fn meanings(billings: &[BillingRow]) -> BTreeMap<TransferKey, (SessionId, Billing)> {
    billings.iter().map(|row| (row.transfer_key(), (row.session, row.what))).collect()
}

fn entry_kind(code: Code) -> EntryKind {
    match code {
        Code::FixedFee => EntryKind::Fee,
        Code::Guarantee => EntryKind::Guarantee,
        Code::Payout => EntryKind::Payout,
        Code::Correction | Code::Adjustment | Code::Reversal | Code::Refund | Code::Chargeback => {
            EntryKind::Adjustment
        }
        _ => EntryKind::Other,
    }
}

/// An account's own history in a period.
fn history(
    part: &Part<'_>,
    account: &Account,
    period: &Period,
    billings: &[BillingRow],
) -> Result<AccountFacts, NoDocument> {
    let meanings = meanings(billings);
    let first = part.journal_since(period.from)?;
    let key = |number: u64| [&account.id.0.to_be_bytes()[..], &number.to_be_bytes()].concat();
    let (from, end) = (key(first), key(u64::MAX));
    let mut facts = AccountFacts {
        account: account.name.clone(),
        currency: account.currency,
        // Until an entry says otherwise: nothing was booked since the period began.
        opening: Minor::try_from(account.credits_posted).unwrap_or(Minor::MAX)
            - Minor::try_from(account.debits_posted).unwrap_or(Minor::MAX),
        entries: Vec::new(),
    };
    let mut is_first = true;
    part.range(Keyspace::AccountEntries, &from, Some(&end), |_, value| {
        let entry = rows::read::<AccountEntry>(&value)?;
        let row = part.journal_row(entry.number)?;
        let amount = Minor::try_from(row.amount).unwrap_or(Minor::MAX);
        let amount = match (row.kind.is_movement(), row.credit == account.id) {
            (false, _) => 0,
            (true, true) => amount,
            (true, false) => -amount,
        };
        let after = balance(&entry.balances);
        if is_first {
            facts.opening = after - amount;
            is_first = false;
        }
        if entry.at >= period.until {
            return Ok(false);
        }
        if amount != 0 {
            let (kind, reference) = match meanings.get(&row.key) {
                Some((session, Billing::Bill)) => (EntryKind::Share, session.to_string()),
                Some((session, _)) => (EntryKind::Adjustment, session.to_string()),
                None => (entry_kind(row.code), row.key.to_string()),
            };
            facts.entries.push(EntryFacts {
                number: entry.number,
                booked: entry.at,
                effective: entry.effective_at,
                kind,
                reference: reference.into(),
                amount,
                balance: after,
            });
        }
        Ok(true)
    })?;
    Ok(facts)
}

/// A partner's statement over some partitions: one for its own papers, or of one partition to be numbered.
///
/// # Errors
/// [`NoDocument::Unknown`] when there is no account of that name.
pub fn settlement(
    parts: &[Part<'_>],
    partner: &str,
    period: &Period,
    asked: Option<Currency>,
    seller: &StatementsConfig,
) -> Result<SettlementStatement, NoDocument> {
    let mut accounts = Vec::new();
    for part in parts {
        for account in accounts_of(part, partner, asked)? {
            accounts.push((part, account));
        }
    }
    let currency = one_currency(asked, accounts.iter().map(|(_, account)| account.currency))?;
    let Some(currency) = currency.filter(|_| !accounts.is_empty()) else {
        return Err(NoDocument::Unknown { what: "partner", id: partner.to_owned() });
    };
    let mut found = Vec::new();
    for (part, account) in accounts {
        let billings = part.billings(period.from, period.until)?;
        let sessions = sessions_of(part, &billings, seller, period, Some(currency))?;
        found.push(Partner { account: history(part, &account, period, &billings)?, sessions });
    }
    let document = draft(partner, period, currency, seller)?;
    let (accounts, sessions): (Vec<_>, Vec<_>) =
        found.into_iter().map(|partner| (partner.account, partner.sessions)).unzip();
    let sessions: Vec<SessionFacts> = sessions.into_iter().flatten().collect();
    Ok(settlement_statement(&document, partner, &accounts, &sessions)?)
}

fn draft(
    partner: &str,
    period: &Period,
    currency: Currency,
    seller: &StatementsConfig,
) -> Result<DocumentFacts, NoDocument> {
    Ok(DocumentFacts {
        series: "".into(),
        number: 0,
        issued: Timestamp::ZERO,
        due: None,
        seller: seller.legal_party()?,
        buyer: LegalParty { name: partner.into(), ..LegalParty::default() },
        currency,
        period: period.clone(),
        original: None,
        note: None,
    })
}
