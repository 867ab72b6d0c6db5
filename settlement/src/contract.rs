//! Revenue contracts: a waterfall that splits the net revenue of one session.
//!
//! Steps are taken in order, each from what the steps before have left; a step that asks for more gets
//! what is left. Percentages of the same base that follow one another are rounded together, by largest
//! remainder, the earlier step first where two are alike. What no step takes is the residual party's.
//!
//! **Invariants**: the shares sum exactly to the net; none is zero or negative; a contract that passed
//! [`RevenueContract::check`] can split anything.

use crate::error::SettlementError;
use novax_model::{Amount, Currency, Identity, Micros, PPM_WHOLE, Rounding, Timestamp, WattHours};
use rkyv::{Archive, Deserialize, Serialize};

/// The most parties of a contract.
pub const PARTIES_MAX: usize = 16;
/// The most steps of a waterfall.
pub const STEPS_MAX: usize = 16;
/// The most terms of a period.
pub const TERMS_MAX: usize = 16;
/// The highest price in a contract: a million major units per kWh or session.
pub const PRICE_MAX: Micros = Micros(1_000_000_000_000);

/// A party of a contract: its place in [`RevenueContract::parties`], which never changes.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub struct PartyId(pub u8);

/// What a share is for: it chooses the code and the account it is booked on.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub enum Purpose {
    /// The operator of the stations.
    Operator,
    /// The owner of the ground.
    SiteHost,
    /// The energy's supplier, or whoever pays the supplier.
    Electricity,
    /// The grid's operator.
    Grid,
    /// The platform.
    Platform,
    /// The roaming hub or partner.
    Roaming,
    /// The payment provider.
    Payment,
    /// An investor, or any other partner.
    Partner,
}

/// How much a step takes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[rkyv(derive(Debug))]
pub enum Rule {
    /// Of what the driver pays, tax included.
    PercentOfGross {
        /// Parts per million.
        ppm: u32,
    },
    /// Of the revenue before tax.
    PercentOfNet {
        /// Parts per million.
        ppm: u32,
    },
    /// Of what the steps before this one have left.
    PercentOfRest {
        /// Parts per million.
        ppm: u32,
    },
    /// The same for each session.
    FixedPerSession {
        /// How much.
        amount: Micros,
    },
    /// For each kWh delivered, such as electricity that is paid back.
    PerKwh {
        /// How much.
        price: Micros,
    },
    /// What the energy cost, and a margin on it.
    CostPlus {
        /// The cost of a kWh.
        cost_per_kwh: Micros,
        /// The margin, in parts per million of the cost.
        margin_ppm: u32,
    },
}

/// One step of a waterfall.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[rkyv(derive(Debug))]
pub struct Step {
    /// Who gets it.
    pub party: PartyId,
    /// What for.
    pub purpose: Purpose,
    /// How much.
    pub rule: Rule,
    /// Taken only from sessions of roaming partners' drivers.
    pub roaming_only: bool,
}

/// What holds for a period as a whole.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[rkyv(derive(Debug))]
pub enum Term {
    /// The party gets at least this much a period; `payer` makes up what lacks.
    MinimumGuarantee {
        /// Who is guaranteed it.
        party: PartyId,
        /// Who makes up what lacks.
        payer: PartyId,
        /// How much, in minor units.
        amount: Amount,
    },
    /// Due each period, whatever was sold.
    FixedFee {
        /// Who gets it.
        party: PartyId,
        /// Who pays it.
        payer: PartyId,
        /// How much, in minor units.
        amount: Amount,
        /// What for.
        purpose: Purpose,
    },
}

/// Who gets what of each session, from a time on.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RevenueContract {
    /// Its name on every posting made by it.
    pub id: Identity,
    /// In force for sessions that start from here.
    pub from: Timestamp,
    /// Up to here, exclusive.
    pub until: Timestamp,
    /// Of all its amounts.
    pub currency: Currency,
    /// Everyone who may get or pay something.
    pub parties: Vec<Identity>,
    /// Who gets what no step takes.
    pub residual: PartyId,
    /// What for.
    pub residual_purpose: Purpose,
    /// The waterfall.
    pub steps: Vec<Step>,
    /// What is settled at the end of a period.
    pub terms: Vec<Term>,
}

/// What is split.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[rkyv(derive(Debug))]
pub struct Base {
    /// What the driver pays, in minor units.
    pub gross: Amount,
    /// Without the taxes, in minor units: this is what is split.
    pub net: Amount,
    /// Delivered; energy that went back into the grid counts as none.
    pub energy_wh: u64,
    /// The driver is a roaming partner's.
    pub roaming: bool,
}

impl Base {
    /// The base of a session.
    #[must_use]
    pub fn new(gross: Amount, net: Amount, energy: WattHours, roaming: bool) -> Base {
        let energy_wh = u64::try_from(energy.0).unwrap_or(0);
        Base { gross, net, energy_wh, roaming }
    }
}

/// One party's part of a session.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[rkyv(derive(Debug))]
pub struct Share {
    /// Whose.
    pub party: PartyId,
    /// What for.
    pub purpose: Purpose,
    /// How much, in minor units; never zero.
    pub amount: Amount,
}

impl RevenueContract {
    /// Who a party is.
    #[must_use]
    pub fn party(&self, id: PartyId) -> Option<&Identity> {
        self.parties.get(usize::from(id.0))
    }

    /// The party of a name.
    #[must_use]
    pub fn party_id(&self, name: &str) -> Option<PartyId> {
        let place = self.parties.iter().position(|party| party.as_str() == name)?;
        u8::try_from(place).ok().map(PartyId)
    }

    /// Whether it is in force for a session that starts at `at`.
    #[must_use]
    pub fn in_force(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// Whether it may be put in force.
    ///
    /// # Errors
    /// [`SettlementError::Contract`], which names the field.
    pub fn check(&self) -> Result<(), SettlementError> {
        if self.from >= self.until {
            return Err(wrong("until", "it ends before it begins"));
        }
        if !(1..=PARTIES_MAX).contains(&self.parties.len()) {
            return Err(wrong("parties", &format!("there are 1 to {PARTIES_MAX} of them")));
        }
        for (place, party) in self.parties.iter().enumerate() {
            if self.parties.iter().take(place).any(|other| other == party) {
                return Err(wrong(&format!("parties[{place}]"), "it stands there twice"));
            }
        }
        self.check_party("residual", self.residual)?;
        if self.steps.len() > STEPS_MAX {
            return Err(wrong("steps", &format!("there are at most {STEPS_MAX}")));
        }
        for (place, step) in self.steps.iter().enumerate() {
            self.check_party(&format!("steps[{place}].party"), step.party)?;
            step.rule.check(&format!("steps[{place}]"))?;
        }
        self.check_percentages()?;
        if self.terms.len() > TERMS_MAX {
            return Err(wrong("terms", &format!("there are at most {TERMS_MAX}")));
        }
        (0..).zip(&self.terms).try_for_each(|(place, term)| self.check_term(place, term))
    }

    fn check_party(&self, field: &str, party: PartyId) -> Result<(), SettlementError> {
        match self.party(party) {
            Some(_) => Ok(()),
            None => Err(wrong(field, "it is no party of this contract")),
        }
    }

    /// Promises of more than everything can never be kept, however the session comes out.
    fn check_percentages(&self) -> Result<(), SettlementError> {
        let of_net = |step: &Step| match step.rule {
            Rule::PercentOfNet { ppm } => u64::from(ppm),
            _ => 0,
        };
        let total: u64 = self.steps.iter().map(of_net).sum();
        if total > u64::from(PPM_WHOLE) {
            return Err(wrong("steps", "the percentages of the net are above 100 % together"));
        }
        Ok(())
    }

    fn check_term(&self, place: usize, term: &Term) -> Result<(), SettlementError> {
        let field = |name: &str| format!("terms[{place}].{name}");
        let (Term::MinimumGuarantee { party, payer, amount }
        | Term::FixedFee { party, payer, amount, .. }) = *term;
        self.check_party(&field("party"), party)?;
        self.check_party(&field("payer"), payer)?;
        if party == payer {
            return Err(wrong(&field("payer"), "nobody pays themselves"));
        }
        if amount > AMOUNT_MAX {
            return Err(wrong(&field("amount"), "nobody pays that much"));
        }
        let earlier = self.terms.iter().take(place);
        let guaranteed =
            |term: &Term| matches!(term, Term::MinimumGuarantee { party: p, .. } if *p == party);
        if matches!(term, Term::MinimumGuarantee { .. }) && earlier.into_iter().any(guaranteed) {
            return Err(wrong(&field("party"), "it has a guarantee already"));
        }
        Ok(())
    }
}

/// The highest amount of a term, in minor units.
const AMOUNT_MAX: Amount = 1_000_000_000_000_000;

pub(crate) fn wrong(field: &str, words: &str) -> SettlementError {
    SettlementError::Contract { field: field.into(), words: words.into() }
}

impl Rule {
    fn check(&self, step: &str) -> Result<(), SettlementError> {
        let (field, fits) = match *self {
            Rule::PercentOfGross { ppm }
            | Rule::PercentOfNet { ppm }
            | Rule::PercentOfRest { ppm } => ("percent", ppm <= PPM_WHOLE),
            Rule::FixedPerSession { amount } => ("amount", price_fits(amount)),
            Rule::PerKwh { price } => ("price", price_fits(price)),
            Rule::CostPlus { cost_per_kwh, .. } if !price_fits(cost_per_kwh) => ("cost", false),
            Rule::CostPlus { margin_ppm, .. } => ("margin", margin_ppm <= PPM_WHOLE * 10),
        };
        if fits {
            return Ok(());
        }
        Err(wrong(&format!("{step}.{field}"), "it is negative or far too large"))
    }
}

fn price_fits(price: Micros) -> bool {
    (Micros::ZERO..=PRICE_MAX).contains(&price)
}

/// Splits the net revenue of a session.
#[must_use]
pub fn split(contract: &RevenueContract, base: &Base) -> Vec<Share> {
    let mut shares = Vec::with_capacity(contract.steps.len() + 1);
    split_into(contract, base, &mut shares);
    shares
}

/// As [`split`], into a buffer that is emptied first: nothing is allocated once it has grown.
///
/// # Panics
/// When the contract did not pass [`RevenueContract::check`], or the net is above the gross.
pub fn split_into(contract: &RevenueContract, base: &Base, shares: &mut Vec<Share>) {
    assert!(base.net <= base.gross, "tax is never negative");
    assert!(contract.steps.len() <= STEPS_MAX, "the contract was checked");
    shares.clear();
    let mut rest = base.net;
    let mut steps = &contract.steps[..];
    while let Some(first) = steps.first() {
        let alike = steps.iter().take_while(|step| step.rounds_with(first)).count().max(1);
        let (group, after) = steps.split_at(alike);
        let mut wanted = [0; STEPS_MAX];
        let wanted = &mut wanted[..alike];
        wants(contract.currency, base, rest, group, wanted);
        for (step, wanted) in group.iter().zip(wanted) {
            let amount = (*wanted).min(rest);
            rest -= amount;
            push(shares, step.party, step.purpose, amount);
        }
        steps = after;
    }
    push(shares, contract.residual, contract.residual_purpose, rest);
    let sum: Amount = shares.iter().map(|share| share.amount).sum();
    assert_eq!(sum, base.net, "the shares are the net");
}

fn push(shares: &mut Vec<Share>, party: PartyId, purpose: Purpose, amount: Amount) {
    if amount > 0 {
        shares.push(Share { party, purpose, amount });
    }
}

impl Step {
    /// Whether the two are percentages of one base, so that they are rounded together.
    fn rounds_with(&self, other: &Step) -> bool {
        matches!(
            (self.rule, other.rule),
            (Rule::PercentOfNet { .. }, Rule::PercentOfNet { .. })
                | (Rule::PercentOfGross { .. }, Rule::PercentOfGross { .. })
        )
    }
}

/// What the steps of a group ask for, whatever is left.
fn wants(currency: Currency, base: &Base, rest: Amount, group: &[Step], wanted: &mut [Amount]) {
    let mut remainders = [0; STEPS_MAX];
    let mut rounds = 0;
    for ((step, wanted), remainder) in group.iter().zip(&mut *wanted).zip(&mut remainders) {
        if step.roaming_only && !base.roaming {
            continue;
        }
        *wanted = match step.rule {
            Rule::PercentOfNet { ppm } => percent(base.net, ppm, remainder),
            Rule::PercentOfGross { ppm } => percent(base.gross, ppm, remainder),
            Rule::PercentOfRest { ppm } => percent(rest, ppm, remainder),
            Rule::FixedPerSession { amount } => minor(amount, currency),
            Rule::PerKwh { price } => energy(currency, base.energy_wh, price, PPM_WHOLE),
            Rule::CostPlus { cost_per_kwh, margin_ppm } => {
                energy(currency, base.energy_wh, cost_per_kwh, PPM_WHOLE + margin_ppm)
            }
        };
        rounds += *remainder;
    }
    // The steps' exact sum, half up: so many units more than their whole parts.
    let mut units = Rounding::HalfUp.divide(rounds, u128::from(PPM_WHOLE));
    while units > 0 {
        let mut largest = 0;
        for (place, remainder) in remainders.iter().enumerate().take(group.len()) {
            if *remainder > remainders[largest] {
                largest = place;
            }
        }
        wanted[largest] += 1;
        remainders[largest] = 0;
        units -= 1;
    }
}

/// The whole part of a percentage; what is left of it in millionths goes to `remainder`.
fn percent(whole: Amount, ppm: u32, remainder: &mut u128) -> Amount {
    let scale = u128::from(PPM_WHOLE);
    // In two halves, so that no amount is too large: whole = high * scale + low.
    let (high, low) = (whole / scale, whole % scale);
    let low = low * u128::from(ppm);
    *remainder = low % scale;
    high * u128::from(ppm) + low / scale
}

fn minor(price: Micros, currency: Currency) -> Amount {
    price.to_minor(currency, Rounding::HalfUp).expect("a checked price is not negative")
}

/// A price per kWh for an energy, times a factor in parts per million; rounded once.
fn energy(currency: Currency, energy_wh: u64, price: Micros, factor_ppm: u32) -> Amount {
    // 2^64 Wh, 2^40 micros and 2^24 of factor: the product does not fit with room to spare only for
    // energies nobody delivers, so the energy is cut off at 2^48 Wh, more than the world uses in a day.
    let energy_wh = u128::from(energy_wh.min(1 << 48));
    let price = price.0.unsigned_abs();
    let product = energy_wh * price * u128::from(factor_ppm);
    let per_minor = 10_u128.pow(6 - u32::from(currency.exponent().min(6)));
    Rounding::HalfUp.divide(product, 1_000 * u128::from(PPM_WHOLE) * per_minor)
}
