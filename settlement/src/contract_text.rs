//! Contracts as people write them: TOML or JSON with names, percentages and prices as decimal texts.
//!
//! Percentages and prices are texts (`"12.5"`), because a number of JSON or TOML may pass through a
//! float on its way. Whatever is wrong is named by its field.

use crate::contract::{PartyId, Purpose, RevenueContract, Rule, Step, Term, wrong};
use crate::error::SettlementError;
use novax_model::{Currency, Identity, Micros, Rounding, Timestamp};
use serde::{Deserialize, Serialize};

/// A contract as written; [`RevenueContract::try_from`] checks it.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ContractText {
    /// Its name.
    pub id: String,
    /// The first moment, RFC 3339.
    pub from: String,
    /// The moment after the last; open where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// Everyone who may get or pay something. Their order is part of the contract.
    pub parties: Vec<String>,
    /// Who gets what no step takes.
    pub residual: String,
    /// What the residual is for; the operator's revenue where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_purpose: Option<PurposeText>,
    /// The waterfall, in order.
    #[serde(default)]
    pub steps: Vec<StepText>,
    /// What is settled at the end of each period.
    #[serde(default)]
    pub terms: Vec<TermText>,
}

/// [`Purpose`] as written.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of Purpose")]
pub enum PurposeText {
    Operator,
    SiteHost,
    Electricity,
    Grid,
    Platform,
    Roaming,
    Payment,
    Partner,
}

/// One step as written.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct StepText {
    /// Who gets it.
    pub party: String,
    /// What for.
    pub purpose: PurposeText,
    /// How it is worked out.
    pub rule: RuleText,
    /// For the three rules that take a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
    /// For `fixed_per_session`, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// For `per_kwh`, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// For `cost_plus`: the cost of a kWh, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// For `cost_plus`: the margin in percent of the cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<String>,
    /// Taken only from sessions of roaming partners' drivers.
    #[serde(default)]
    pub roaming_only: bool,
}

/// The name of a [`Rule`].
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of Rule")]
pub enum RuleText {
    PercentOfGross,
    PercentOfNet,
    PercentOfRest,
    FixedPerSession,
    PerKwh,
    CostPlus,
}

/// One term as written.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TermText {
    /// `minimum_guarantee` or `fixed_fee`.
    pub term: TermName,
    /// Who gets it.
    pub party: String,
    /// Who pays it.
    pub payer: String,
    /// In major units.
    pub amount: String,
    /// What a fixed fee is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<PurposeText>,
}

/// The name of a [`Term`].
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of Term")]
pub enum TermName {
    MinimumGuarantee,
    FixedFee,
}

impl RevenueContract {
    /// Reads a contract from TOML and checks it.
    ///
    /// # Errors
    /// [`SettlementError::Contract`], which names the field or the line.
    pub fn from_toml(text: &str) -> Result<RevenueContract, SettlementError> {
        let text: ContractText =
            toml::from_str(text).map_err(|error| wrong("text", error.to_string().trim()))?;
        RevenueContract::try_from(&text)
    }
}

impl TryFrom<&ContractText> for RevenueContract {
    type Error = SettlementError;

    fn try_from(text: &ContractText) -> Result<RevenueContract, SettlementError> {
        let currency =
            Currency::new(&text.currency).map_err(|error| wrong("currency", &error.to_string()))?;
        let parties = (0..)
            .zip(&text.parties)
            .map(|(place, name): (usize, _)| identity(&format!("parties[{place}]"), name));
        let parties: Vec<Identity> = parties.collect::<Result<_, _>>()?;
        let named = Names { parties: &parties, currency };
        let steps = (0..).zip(&text.steps).map(|(place, step)| named.step(place, step));
        let steps = steps.collect::<Result<_, _>>()?;
        let terms = (0..).zip(&text.terms).map(|(place, term)| named.term(place, term));
        let terms = terms.collect::<Result<_, _>>()?;
        let contract = RevenueContract {
            id: identity("id", &text.id)?,
            from: time("from", &text.from)?,
            until: text
                .until
                .as_deref()
                .map_or(Ok(Timestamp::MAX), |until| time("until", until))?,
            currency,
            residual: named.party("residual", &text.residual)?,
            residual_purpose: text.residual_purpose.map_or(Purpose::Operator, Purpose::from),
            steps,
            terms,
            parties,
        };
        contract.check()?;
        Ok(contract)
    }
}

impl From<PurposeText> for Purpose {
    fn from(text: PurposeText) -> Purpose {
        match text {
            PurposeText::Operator => Purpose::Operator,
            PurposeText::SiteHost => Purpose::SiteHost,
            PurposeText::Electricity => Purpose::Electricity,
            PurposeText::Grid => Purpose::Grid,
            PurposeText::Platform => Purpose::Platform,
            PurposeText::Roaming => Purpose::Roaming,
            PurposeText::Payment => Purpose::Payment,
            PurposeText::Partner => Purpose::Partner,
        }
    }
}

/// What the fields of steps and terms are read against.
struct Names<'a> {
    parties: &'a [Identity],
    currency: Currency,
}

impl Names<'_> {
    fn party(&self, field: &str, name: &str) -> Result<PartyId, SettlementError> {
        let place = self.parties.iter().position(|party| party.as_str() == name);
        let place = place.and_then(|place| u8::try_from(place).ok());
        place.map(PartyId).ok_or_else(|| wrong(field, "it is no party of this contract"))
    }

    fn step(&self, place: usize, text: &StepText) -> Result<Step, SettlementError> {
        let field = |name: &str| format!("steps[{place}].{name}");
        let given = [
            ("percent", &text.percent),
            ("amount", &text.amount),
            ("price", &text.price),
            ("cost", &text.cost),
            ("margin", &text.margin),
        ];
        let wanted: &[&str] = match text.rule {
            RuleText::PercentOfGross | RuleText::PercentOfNet | RuleText::PercentOfRest => {
                &["percent"]
            }
            RuleText::FixedPerSession => &["amount"],
            RuleText::PerKwh => &["price"],
            RuleText::CostPlus => &["cost", "margin"],
        };
        let mut numbers = [Micros::ZERO; 2];
        for (name, value) in given {
            let at = wanted.iter().position(|wanted| *wanted == name);
            match (at, value) {
                (Some(at), Some(value)) => numbers[at] = decimal(&field(name), value)?,
                (Some(_), None) => return Err(wrong(&field(name), "the rule needs it")),
                (None, Some(_)) => return Err(wrong(&field(name), "the rule has no use for it")),
                (None, None) => {}
            }
        }
        let [first, second] = numbers;
        let ppm = |name: &str, percent| parts_per_million(&field(name), percent);
        let rule = match text.rule {
            RuleText::PercentOfGross => Rule::PercentOfGross { ppm: ppm("percent", first)? },
            RuleText::PercentOfNet => Rule::PercentOfNet { ppm: ppm("percent", first)? },
            RuleText::PercentOfRest => Rule::PercentOfRest { ppm: ppm("percent", first)? },
            RuleText::FixedPerSession => Rule::FixedPerSession { amount: first },
            RuleText::PerKwh => Rule::PerKwh { price: first },
            RuleText::CostPlus => {
                Rule::CostPlus { cost_per_kwh: first, margin_ppm: ppm("margin", second)? }
            }
        };
        let party = self.party(&field("party"), &text.party)?;
        let (purpose, roaming_only) = (text.purpose.into(), text.roaming_only);
        Ok(Step { party, purpose, rule, roaming_only })
    }

    fn term(&self, place: usize, text: &TermText) -> Result<Term, SettlementError> {
        let field = |name: &str| format!("terms[{place}].{name}");
        let party = self.party(&field("party"), &text.party)?;
        let payer = self.party(&field("payer"), &text.payer)?;
        let micros = decimal(&field("amount"), &text.amount)?;
        let amount = micros
            .to_minor(self.currency, Rounding::Down)
            .filter(|minor| Micros::from_minor(*minor, self.currency) == Some(micros))
            .ok_or_else(|| wrong(&field("amount"), "the currency has no such small unit"))?;
        match (text.term, text.purpose) {
            (TermName::MinimumGuarantee, None) => {
                Ok(Term::MinimumGuarantee { party, payer, amount })
            }
            (TermName::MinimumGuarantee, Some(_)) => {
                Err(wrong(&field("purpose"), "a guarantee has no use for it"))
            }
            (TermName::FixedFee, Some(purpose)) => {
                Ok(Term::FixedFee { party, payer, amount, purpose: purpose.into() })
            }
            (TermName::FixedFee, None) => Err(wrong(&field("purpose"), "a fixed fee needs it")),
        }
    }
}

fn identity(field: &str, text: &str) -> Result<Identity, SettlementError> {
    Identity::new(text).map_err(|error| wrong(field, &error.to_string()))
}

fn time(field: &str, text: &str) -> Result<Timestamp, SettlementError> {
    Timestamp::parse_rfc3339(text).map_err(|error| wrong(field, &error.to_string()))
}

/// A decimal with at most nine digits before and six after the point, never negative.
fn decimal(field: &str, text: &str) -> Result<Micros, SettlementError> {
    let refused = || wrong(field, "it is no decimal such as \"12.5\", with at most six places");
    let (whole, part) = text.split_once('.').map_or((text, "0"), |(whole, part)| (whole, part));
    let digits = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 9) || !digits(part, 6) {
        return Err(refused());
    }
    let number = format!("{whole}{part:0<6}");
    number.parse().map(Micros).map_err(|_| refused())
}

/// Percent in micros to parts per million: four places of a percent are kept.
fn parts_per_million(field: &str, percent: Micros) -> Result<u32, SettlementError> {
    if percent.0 % 100 != 0 {
        return Err(wrong(field, "a percentage has at most four decimal places"));
    }
    u32::try_from(percent.0 / 100).map_err(|_| wrong(field, "it is far too large"))
}
