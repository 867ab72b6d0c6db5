//! A revenue contract in words: what a partner reads before signing. The words are stable.

use crate::contract::{PartyId, Purpose, RevenueContract, Rule, Step, Term};
use novax_model::{Currency, Timestamp};
use std::fmt::Write;

/// The contract in English, one sentence a line.
#[must_use]
pub fn explain(contract: &RevenueContract) -> String {
    let mut words = format!("Contract {} in {}", contract.id, contract.currency);
    let day = |at: Timestamp| at.to_rfc3339().chars().take(10).collect::<String>();
    put(&mut words, format_args!(", for sessions from {}", day(contract.from)));
    if contract.until != Timestamp::MAX {
        put(&mut words, format_args!(" until {}", day(contract.until)));
    }
    words.push_str(".\nThe price before tax of each session is shared in this order:\n");
    for (number, step) in (1..).zip(&contract.steps) {
        let (name, purpose) = (name(contract, step.party), purpose(step.purpose));
        let rule = rule(step, contract.currency);
        put(&mut words, format_args!("{number}. {name} gets {rule} ({purpose})"));
        words.push_str(if step.roaming_only { ", of roaming sessions only.\n" } else { ".\n" });
    }
    let residual = name(contract, contract.residual);
    let purpose = purpose(contract.residual_purpose);
    put(&mut words, format_args!("{residual} gets what is left ({purpose}).\n"));
    for term in &contract.terms {
        put(&mut words, format_args!("{}.\n", sentence(contract, term)));
    }
    words
}

fn put(words: &mut String, more: std::fmt::Arguments<'_>) {
    words.write_fmt(more).expect("a String takes everything");
}

fn name(contract: &RevenueContract, party: PartyId) -> &str {
    contract.party(party).map_or("nobody", |party| party.as_str())
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Operator => "operator's revenue",
        Purpose::SiteHost => "site host's share",
        Purpose::Electricity => "electricity",
        Purpose::Grid => "grid fee",
        Purpose::Platform => "platform fee",
        Purpose::Roaming => "roaming fee",
        Purpose::Payment => "payment fee",
        Purpose::Partner => "partner's share",
    }
}

/// Parts per million as percent, without needless zeros.
fn percent(ppm: u32) -> String {
    let (whole, part) = (ppm / 10_000, ppm % 10_000);
    if part == 0 {
        return format!("{whole} %");
    }
    format!("{whole}.{} %", format!("{part:04}").trim_end_matches('0'))
}

fn rule(step: &Step, currency: Currency) -> String {
    match step.rule {
        Rule::PercentOfGross { ppm } => format!("{} of the price with tax", percent(ppm)),
        Rule::PercentOfNet { ppm } => format!("{} of the price before tax", percent(ppm)),
        Rule::PercentOfRest { ppm } => format!("{} of what is left by then", percent(ppm)),
        Rule::FixedPerSession { amount } => format!("{amount} {currency} a session"),
        Rule::PerKwh { price } => format!("{price} {currency} per kWh"),
        Rule::CostPlus { cost_per_kwh, margin_ppm } => {
            let margin = percent(margin_ppm);
            format!("{cost_per_kwh} {currency} per kWh and a margin of {margin} on it")
        }
    }
}

fn sentence(contract: &RevenueContract, term: &Term) -> String {
    let money = |amount| contract.currency.format(amount);
    match *term {
        Term::MinimumGuarantee { party, payer, amount } => format!(
            "If {} gets less than {} in a period, {} makes up the difference",
            name(contract, party),
            money(amount),
            name(contract, payer)
        ),
        Term::FixedFee { party, payer, amount, purpose: what } => format!(
            "{} pays {} {} each period ({})",
            name(contract, payer),
            name(contract, party),
            money(amount),
            purpose(what)
        ),
    }
}
