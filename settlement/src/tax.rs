//! Placeholder until the real one is merged.
#![allow(missing_debug_implementations)]
use novax_model::{Amount, Currency, Micros, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};
#[derive(Debug)]
pub struct TaxTable;
#[derive(Debug, Clone, Copy)]
pub enum Buyer { Consumer }
#[derive(Debug)]
pub struct Supply<'a> { pub jurisdiction: &'a str, pub at: Timestamp, pub buyer: Buyer }
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Treatment;
impl Treatment { pub fn none() -> Treatment { Treatment } pub fn total_ppm(&self) -> u32 { 0 } }
impl TaxTable {
    pub fn built_in() -> TaxTable { TaxTable }
    pub fn knows(&self, _: &str) -> bool { true }
    pub fn decide(&self, _: &Supply<'_>) -> Treatment { Treatment }
}
#[derive(Debug)]
pub struct Line { pub name: Box<str>, pub ppm: u32, pub amount: Amount }
#[derive(Debug)]
pub struct Taxed { pub net: Amount, pub tax: Amount, pub gross: Amount, pub lines: Vec<Line> }
pub fn apply(_: &Treatment, currency: Currency, _included: bool, nets: &[(Option<u32>, Micros)]) -> Taxed {
    let scale = 10_i128.pow(6 - u32::from(currency.exponent()));
    let minor = |m: i128| u128::try_from((m + scale / 2) / scale).unwrap_or(0);
    let net = minor(nets.iter().map(|(_, m)| m.0).sum());
    let mut lines = Vec::new();
    for (ppm, base) in nets {
        let Some(ppm) = *ppm else { continue };
        // on the rounded net when there is one rate, as before
        let base = if nets.len() == 1 { net * scale as u128 } else { u128::try_from(base.0).unwrap_or(0) };
        let amount = minor((base as i128 * i128::from(ppm) + 500_000) / 1_000_000);
        lines.push(Line { name: "VAT".into(), ppm, amount });
    }
    let tax = lines.iter().map(|l| l.amount).sum();
    Taxed { net, tax, gross: net + tax, lines }
}
