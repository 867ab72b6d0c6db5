//! Which taxes a supply of charging bears, and how much they are.
//!
//! [`decide`] follows the place of supply of electricity (Directive 2006/112/EC, articles 38, 39 and 195):
//! who consumes it pays the tax of the place where it is consumed; who resells it is taxed where its
//! business is; between members, a business with a VAT id accounts for the tax itself.
//!
//! [`apply`] rounds as the policy says, works the tax of a category out from the category's rounded
//! net (so that whoever checks the invoice finds the same), and hands the rounded sums down to the
//! parts. **Invariant**: net + tax = gross for each part, each category and the whole, and the parts
//! sum exactly to their category, the categories to the whole.

use crate::error::SettlementError;
use crate::jurisdiction::{Country, Jurisdiction};
use crate::rounding::{RoundingPolicy, Scope};
use crate::share::{PARTS_MAX, proportional};
use crate::tax_table::{RatePeriod, TAX_LINES_MAX, TaxTable};
use novax_model::{Amount, Currency, Micros, PPM_WHOLE, Rounding, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// Who buys.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Buyer {
    /// A person, or anyone without a VAT id.
    Consumer,
    /// A business that uses the energy itself, such as a fleet.
    Business {
        /// Where its VAT id is from.
        country: Country,
        /// The id.
        vat_id: Box<str>,
    },
    /// A business that sells the energy on, such as a mobility service provider.
    Dealer {
        /// Where its VAT id is from.
        country: Country,
        /// The id.
        vat_id: Box<str>,
    },
}

/// What is sold to whom.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Supply {
    /// Where the station stands.
    pub jurisdiction: Jurisdiction,
    /// When the supply was made.
    pub at: Timestamp,
    /// To whom.
    pub buyer: Buyer,
    /// Where the seller's business is.
    pub seller_country: Country,
}

/// A tax by name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TaxLine {
    /// As it stands on the invoice.
    pub name: Box<str>,
    /// Parts per million of the net price.
    pub ppm: u32,
}

/// How a supply is taxed, and why.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Treatment {
    /// The row of the table: `DE-2021-01-01`.
    pub rule: Box<str>,
    /// The taxes that are charged; none under reverse charge.
    pub lines: Vec<TaxLine>,
    /// What a listed price that includes tax holds of it, whoever buys.
    pub listed: Vec<TaxLine>,
    /// The buyer accounts for the tax; the invoice has to say so.
    pub reverse_charge: bool,
    /// Why, in a sentence for the invoice's file.
    pub words: Box<str>,
}

/// One price of a session, before or with tax as the tariff says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Priced {
    /// How much.
    pub amount: Micros,
    /// A rate the tariff states for this price. It stands in the place of the country's one tax;
    /// where a supply bears several taxes or none, the law is the table's.
    pub tax_ppm: Option<u32>,
}

/// A tax and what it came to.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TaxCharge {
    /// As it stands on the invoice.
    pub name: Box<str>,
    /// Parts per million of the net price.
    pub ppm: u32,
    /// How much, in minor units.
    pub amount: Amount,
}

/// All that is taxed alike.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TaxCategory {
    /// Its taxes; empty where nothing is charged.
    pub taxes: Vec<TaxCharge>,
    /// Before tax.
    pub net: Amount,
    /// The sum of its taxes.
    pub tax: Amount,
    /// Net and tax.
    pub gross: Amount,
}

/// What one price came to, after rounding.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartCharge {
    /// The place of its category in [`Charges::categories`].
    pub category: u8,
    /// Before tax.
    pub net: Amount,
    /// Its share of the category's taxes.
    pub tax: Amount,
    /// Net and tax.
    pub gross: Amount,
}

/// What is to be paid.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Charges {
    /// Of all amounts.
    pub currency: Currency,
    /// By tax, in the order the prices first name them.
    pub categories: Vec<TaxCategory>,
    /// By price, in the order they were given.
    pub parts: Vec<PartCharge>,
    /// Before tax.
    pub net: Amount,
    /// All taxes.
    pub tax: Amount,
    /// Net and tax.
    pub gross: Amount,
}

/// Which taxes a supply bears.
///
/// A VAT id that has no form of its country counts as none: the buyer is then a consumer, and the
/// words say so. Ids are refused where they are entered ([`TaxTable::check_vat_id`]), not when the
/// energy has been delivered.
///
/// # Errors
/// [`SettlementError::NoRate`] when the table does not know the place at that time.
pub fn decide(table: &TaxTable, supply: &Supply) -> Result<Treatment, SettlementError> {
    let site = table.lookup(&supply.jurisdiction, supply.at)?;
    let valid = |country: &Country, id: &str| table.check_vat_id(*country, id).is_ok();
    if !table.place_in_union(&supply.jurisdiction) {
        return Ok(charged(site, site, "taxed where the energy is consumed"));
    }
    let country = supply.jurisdiction.country();
    let seller = supply.seller_country;
    match &supply.buyer {
        Buyer::Consumer => Ok(charged(site, site, "a consumer pays the tax of the place")),
        Buyer::Business { country: of, vat_id } | Buyer::Dealer { country: of, vat_id }
            if table.in_union(*of) && !valid(of, vat_id) =>
        {
            Ok(charged(site, site, "the VAT id has no form of its country: as for a consumer"))
        }
        Buyer::Business { country: of, .. } if *of == country && seller != country => {
            Ok(reversed(site, site, "reverse charge: Directive 2006/112/EC, articles 39 and 195"))
        }
        Buyer::Business { .. } => {
            Ok(charged(site, site, "taxed where a business consumes the energy (article 39)"))
        }
        Buyer::Dealer { country: of, .. } if !table.in_union(*of) => {
            Ok(untaxed(site, "sold to a dealer outside the union: not taxable there (article 38)"))
        }
        Buyer::Dealer { country: of, .. } => {
            let seat = table.lookup(&Jurisdiction::new(of.code())?, supply.at)?;
            if *of == seller {
                return Ok(charged(
                    seat,
                    site,
                    "taxed where the dealer's business is (article 38)",
                ));
            }
            Ok(reversed(seat, site, "reverse charge: Directive 2006/112/EC, articles 38 and 195"))
        }
    }
}

fn charged(period: &RatePeriod, site: &RatePeriod, words: &str) -> Treatment {
    let (rule, lines) = (period.id.clone(), period.lines.clone());
    let (listed, words) = (site.lines.clone(), words.into());
    Treatment { rule, lines, listed, reverse_charge: false, words }
}

fn untaxed(site: &RatePeriod, words: &str) -> Treatment {
    Treatment { lines: Vec::new(), ..charged(site, site, words) }
}

fn reversed(period: &RatePeriod, site: &RatePeriod, words: &str) -> Treatment {
    let (lines, reverse_charge) = (Vec::new(), true);
    Treatment { lines, reverse_charge, ..charged(period, site, words) }
}

/// Works the taxes of a charge out. `included` says whether the prices hold the tax already.
///
/// # Errors
/// [`SettlementError`] when a price is negative, a rate above 100 %, or the whole too large.
pub fn apply(
    treatment: &Treatment,
    currency: Currency,
    included: bool,
    prices: &[Priced],
    policy: RoundingPolicy,
) -> Result<Charges, SettlementError> {
    if prices.len() > PARTS_MAX {
        return Err(SettlementError::TooManyParts { max: PARTS_MAX });
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut parts = vec![PartCharge::default(); prices.len()];
    for (place, price) in prices.iter().enumerate() {
        check_price(place, price)?;
        let rates = Rates::of(treatment, price.tax_ppm);
        let known = groups.iter().position(|group| group.rates == rates);
        let category = known.unwrap_or_else(|| {
            groups.push(Group { rates, members: Vec::new() });
            groups.len() - 1
        });
        parts[place].category = u8::try_from(category).expect("at most PARTS_MAX");
        groups[category].members.push(place);
    }
    let mut charges = Charges { currency, categories: Vec::new(), parts, net: 0, tax: 0, gross: 0 };
    for group in &groups {
        let work = Work { treatment, currency, included, prices, policy };
        let category = work.category(group, &mut charges.parts).ok_or(SettlementError::TooLarge)?;
        assert_eq!(category.net + category.tax, category.gross, "net and tax are the gross");
        charges.net += category.net;
        charges.tax += category.tax;
        charges.gross += category.gross;
        charges.categories.push(category);
    }
    charges.assert_sums();
    Ok(charges)
}

/// The most one price may be, in micros: 10^18 major units. Sums of [`PARTS_MAX`] stay far from the end.
const PRICE_MICROS_MAX: i128 = 1_000_000_000_000_000_000_000_000;

fn check_price(place: usize, price: &Priced) -> Result<(), SettlementError> {
    if price.amount.0 < 0 {
        return Err(SettlementError::NegativePart { part: place });
    }
    if price.amount.0 > PRICE_MICROS_MAX {
        return Err(SettlementError::TooLarge);
    }
    match price.tax_ppm {
        Some(ppm) if ppm > PPM_WHOLE => Err(SettlementError::TaxRate { ppm }),
        _ => Ok(()),
    }
}

impl Charges {
    /// What holds for every charge. Money: asserted in release builds too.
    fn assert_sums(&self) {
        assert_eq!(self.net + self.tax, self.gross, "net and tax are the gross");
        let (mut net, mut tax) = (0, 0);
        for part in &self.parts {
            assert_eq!(part.net + part.tax, part.gross, "net and tax of a part are its gross");
            net += part.net;
            tax += part.tax;
        }
        assert_eq!((net, tax), (self.net, self.tax), "the parts are the whole");
    }
}

/// The rates that make prices a category.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rates {
    /// What is charged, line by line of the treatment.
    charged: [u32; TAX_LINES_MAX],
    /// What a price that includes tax holds of it.
    listed_ppm: u32,
}

impl Rates {
    fn of(treatment: &Treatment, stated: Option<u32>) -> Rates {
        let mut charged = [0; TAX_LINES_MAX];
        for (place, line) in charged.iter_mut().zip(&treatment.lines) {
            *place = line.ppm;
        }
        let mut listed_ppm = treatment.listed.iter().map(|line| line.ppm).sum();
        if let (Some(stated), [_]) = (stated, &treatment.listed[..]) {
            listed_ppm = stated;
            // A dealer taxed at home pays the rate of its own country: the stated one is the site's.
            if treatment.lines == treatment.listed {
                charged[0] = stated;
            }
        }
        Rates { charged, listed_ppm }
    }
}

struct Group {
    rates: Rates,
    /// Places of its prices.
    members: Vec<usize>,
}

/// What [`apply`] was asked.
struct Work<'a> {
    treatment: &'a Treatment,
    currency: Currency,
    included: bool,
    prices: &'a [Priced],
    policy: RoundingPolicy,
}

/// A sum of minor units and its taxes, line by line.
struct Taxed {
    net: Amount,
    taxes: [Amount; TAX_LINES_MAX],
}

impl Taxed {
    fn tax(&self) -> Amount {
        self.taxes.iter().sum()
    }
}

impl Work<'_> {
    fn category(&self, group: &Group, parts: &mut [PartCharge]) -> Option<TaxCategory> {
        let taxed = match self.policy.scope {
            Scope::Category => self.by_category(group, parts)?,
            Scope::Part => self.by_part(group, parts)?,
        };
        let lines = self.treatment.lines.iter().zip(group.rates.charged).zip(taxed.taxes);
        let taxes = lines
            .map(|((line, ppm), amount)| TaxCharge { name: line.name.clone(), ppm, amount })
            .collect();
        let (net, tax) = (taxed.net, taxed.tax());
        Some(TaxCategory { taxes, net, tax, gross: net + tax })
    }

    /// Rounds the sum, then hands it down to the prices by their size.
    fn by_category(&self, group: &Group, parts: &mut [PartCharge]) -> Option<Taxed> {
        let micros = |place: &usize| self.prices[*place].amount.0.unsigned_abs();
        let mut weights: Vec<u128> = group.members.iter().map(micros).collect();
        let taxed = self.tax_of(weights.iter().sum(), group.rates)?;
        if weights.iter().all(|weight| *weight == 0) {
            weights.fill(1);
        }
        // Kept small, so that the products of the shares stay within 128 bits.
        let largest = weights.iter().max().map_or(0, |weight| 128 - weight.leading_zeros());
        let shift = largest.saturating_sub(WEIGHT_BITS_MAX);
        weights.iter_mut().for_each(|weight| *weight >>= shift);
        let nets = proportional(taxed.net, &weights)?;
        let taxes = proportional(taxed.tax(), &weights)?;
        for ((place, net), tax) in group.members.iter().zip(nets).zip(taxes) {
            let part = &mut parts[*place];
            (part.net, part.tax, part.gross) = (net, tax, net + tax);
        }
        Some(taxed)
    }

    /// Rounds each price and its taxes by themselves; the category is their sum.
    fn by_part(&self, group: &Group, parts: &mut [PartCharge]) -> Option<Taxed> {
        let mut sum = Taxed { net: 0, taxes: [0; TAX_LINES_MAX] };
        for place in &group.members {
            let taxed = self.tax_of(self.prices[*place].amount.0.unsigned_abs(), group.rates)?;
            let (net, tax) = (taxed.net, taxed.tax());
            let part = &mut parts[*place];
            (part.net, part.tax, part.gross) = (net, tax, net + tax);
            sum.net += net;
            for (all, one) in sum.taxes.iter_mut().zip(taxed.taxes) {
                *all += one;
            }
        }
        Some(sum)
    }

    /// Rounds a sum of prices to the minor unit and works its taxes out from the rounded sum.
    fn tax_of(&self, micros: u128, rates: Rates) -> Option<Taxed> {
        let rounding = self.policy.rounding;
        let listed = Micros(i128::try_from(micros).ok()?).to_minor(self.currency, rounding)?;
        let charged_ppm: u32 = rates.charged.iter().sum();
        let net =
            if self.included { without_tax(listed, rates.listed_ppm, rounding)? } else { listed };
        if self.included && charged_ppm == rates.listed_ppm {
            // The price people read is what they pay: tax is what is left of it, and its lines share that.
            let weights = rates.charged.map(u128::from);
            let shared = proportional(listed - net, &weights)?;
            let mut taxes = [0; TAX_LINES_MAX];
            taxes.copy_from_slice(&shared);
            return Some(Taxed { net, taxes });
        }
        let mut taxes = [0; TAX_LINES_MAX];
        for (tax, ppm) in taxes.iter_mut().zip(rates.charged) {
            *tax = rounding.divide(net.checked_mul(u128::from(ppm))?, u128::from(PPM_WHOLE));
        }
        Some(Taxed { net, taxes })
    }
}

/// Bits of a weight: with amounts below 2^77 (10^18 major units and the tax on them, four decimal
/// places), products stay below 2^127.
const WEIGHT_BITS_MAX: u32 = 48;

/// The net of a price that includes tax.
fn without_tax(gross: Amount, ppm: u32, rounding: Rounding) -> Option<Amount> {
    let whole = u128::from(PPM_WHOLE);
    let net = rounding.divide(gross.checked_mul(whole)?, whole + u128::from(ppm));
    assert!(net <= gross, "tax is never negative");
    Some(net)
}
