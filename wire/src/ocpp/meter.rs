//! Sampled values of both versions as ticks: one row of six measurands for each time stamp.
//!
//! The rules, for all versions:
//! * Defaults: measurand Energy.Active.Import.Register, unit by measurand, context Sample.Periodic,
//!   location Outlet. Samples at the outlet win; other places count only where it said nothing.
//! * **Voltage**: the unphased value, or the mean of the phases to neutral (L1-N, or L1 and so on).
//!   Phase-to-phase voltages are another quantity and are left out.
//! * **Current**: the unphased value, or the largest of L1, L2, L3: what a cable or fuse must bear.
//! * **Power**, **energy**: the unphased value, or the sum of the phases. Export counts negative
//!   where nothing is imported.
//! * **Temperature**: the hottest. **State of charge**: the last one.
//! * A sample that is junk costs only itself: it is counted, and the first one described.
//!
//! Arithmetic is exact until the one rounding to the unit of the model, to nearest.

use super::decimal::{Decimal, InvalidDecimal};
use super::{v16, v201};
use novax_model::{Measurand, MeterTick, Timestamp, WattHours};

/// Powers of ten beyond this are no electricity.
const MULTIPLIER_MAX: i32 = 12;

/// What a list of meter values says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// One for each time stamp that had a value, in the order sent.
    pub ticks: Vec<MeterTick>,
    /// The energy register with context Transaction.Begin.
    pub meter_start: Option<WattHours>,
    /// The energy register with context Transaction.End.
    pub meter_stop: Option<WattHours>,
    /// How many samples were junk.
    pub junk: u32,
    /// What was wrong with the first of them.
    pub first_junk: Option<MeterError>,
}

/// Why a sample cannot be used. The station's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The value is not a number.
    #[error("the value of a sample is not a decimal number")]
    Value,
    /// The unit is not one of the measurand's.
    #[error("the unit of a sample does not belong to its measurand")]
    Unit,
    /// The value does not fit the model's unit.
    #[error("the value of a sample is out of range")]
    Range,
}

impl From<InvalidDecimal> for MeterError {
    fn from(_: InvalidDecimal) -> Self {
        MeterError::Value
    }
}

/// What the meter values of OCPP 1.6 say.
#[must_use]
pub fn readings_v16(values: &[v16::MeterValue<'_>]) -> Readings {
    let mut readings = Readings::default();
    for value in values {
        let samples = value.sampled_value.iter().filter_map(sample_v16);
        readings.add(value.timestamp, samples);
    }
    readings
}

/// What the meter values of OCPP 2.0.1 say.
#[must_use]
pub fn readings_v201(values: &[v201::MeterValue<'_>]) -> Readings {
    let mut readings = Readings::default();
    for value in values {
        let samples = value.sampled_value.iter().map(sample_v201);
        readings.add(value.timestamp, samples);
    }
    readings
}

/// A sample of either version.
#[derive(Clone, Copy, Debug)]
struct Sample<'a> {
    value: &'a str,
    context: &'a str,
    measurand: &'a str,
    phase: &'a str,
    location: &'a str,
    unit: Option<&'a str>,
    multiplier: i32,
}

const DEFAULT_MEASURAND: &str = "Energy.Active.Import.Register";

/// `None` for signed data, which is not a number but a document.
fn sample_v16<'a>(sample: &'a v16::SampledValue<'_>) -> Option<Sample<'a>> {
    if sample.format.as_deref() == Some("SignedData") {
        return None;
    }
    Some(Sample {
        value: &sample.value,
        context: sample.context.as_deref().unwrap_or_default(),
        measurand: sample.measurand.as_deref().unwrap_or(DEFAULT_MEASURAND),
        phase: sample.phase.as_deref().unwrap_or_default(),
        location: sample.location.as_deref().unwrap_or("Outlet"),
        unit: sample.unit.as_deref(),
        multiplier: 0,
    })
}

fn sample_v201<'a>(sample: &'a v201::SampledValue<'_>) -> Sample<'a> {
    let unit = sample.unit_of_measure.as_ref();
    Sample {
        value: sample.value.as_str(),
        context: sample.context.as_deref().unwrap_or_default(),
        measurand: sample.measurand.as_deref().unwrap_or(DEFAULT_MEASURAND),
        phase: sample.phase.as_deref().unwrap_or_default(),
        location: sample.location.as_deref().unwrap_or("Outlet"),
        unit: unit.and_then(|unit| unit.unit.as_deref()),
        multiplier: unit.and_then(|unit| unit.multiplier).unwrap_or(0),
    }
}

impl Readings {
    /// Adds the samples of one time stamp.
    fn add<'a>(&mut self, at: Timestamp, samples: impl Iterator<Item = Sample<'a>>) {
        // Best first: at the outlet, then anywhere else.
        let (mut outlet, mut elsewhere) = (Places::default(), Places::default());
        let (mut start, mut stop) = (Phases::default(), Phases::default());
        for sample in samples {
            let Some((quantity, sign)) = quantity_of(sample.measurand) else { continue };
            let value = match model_value(quantity, &sample) {
                Ok(value) => value,
                Err(error) => {
                    self.junk = self.junk.saturating_add(1);
                    self.first_junk.get_or_insert(error);
                    continue;
                }
            };
            let at_outlet = sample.location == "Outlet";
            if quantity == Measurand::Energy && sign == Sign::Import && at_outlet {
                match sample.context {
                    "Transaction.Begin" => start.add(sample.phase, value),
                    "Transaction.End" => stop.add(sample.phase, value),
                    _ => {}
                }
            }
            let places = if at_outlet { &mut outlet } else { &mut elsewhere };
            places.add(quantity, sign, sample.phase, value);
        }
        let register = |phases: &Phases| phases.total().map(WattHours);
        self.meter_start = register(&start).or(self.meter_start);
        self.meter_stop = register(&stop).or(self.meter_stop);
        self.push(at, &outlet, &elsewhere);
    }

    fn push(&mut self, at: Timestamp, outlet: &Places, elsewhere: &Places) {
        let mut tick = MeterTick { at, values: [None; 6] };
        for measurand in novax_model::MEASURANDS {
            if let Some(value) = outlet.value(measurand).or_else(|| elsewhere.value(measurand)) {
                tick.set(measurand, value);
            }
        }
        if tick.values == [None; 6] {
            return;
        }
        // Stations split one moment over several elements, one for each measurand or context.
        match self.ticks.last_mut() {
            Some(last) if last.at == at => {
                for (old, new) in last.values.iter_mut().zip(tick.values) {
                    *old = new.or(*old);
                }
            }
            _ => self.ticks.push(tick),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Import,
    Export,
}

/// The quantity of the model that a measurand is, and its direction. Offered, reactive and
/// interval values are others.
fn quantity_of(measurand: &str) -> Option<(Measurand, Sign)> {
    let found = match measurand {
        "Energy.Active.Import.Register" => (Measurand::Energy, Sign::Import),
        "Power.Active.Import" => (Measurand::Power, Sign::Import),
        "Power.Active.Export" => (Measurand::Power, Sign::Export),
        "Current.Import" => (Measurand::Current, Sign::Import),
        "Current.Export" => (Measurand::Current, Sign::Export),
        "Voltage" => (Measurand::Voltage, Sign::Import),
        "Temperature" => (Measurand::Temperature, Sign::Import),
        "SoC" => (Measurand::Soc, Sign::Import),
        _ => return None,
    };
    Some(found)
}

/// The sample's value in the model's unit.
fn model_value(quantity: Measurand, sample: &Sample<'_>) -> Result<i64, MeterError> {
    let value = Decimal::parse(sample.value)?;
    if sample.multiplier.abs() > MULTIPLIER_MAX {
        return Err(MeterError::Range);
    }
    let unit = sample.unit.map(str::trim);
    // What the unit is worth in the model's, as a power of ten.
    let places = match (quantity, unit) {
        (Measurand::Energy, None | Some("Wh")) | (Measurand::Power, None | Some("W")) => 0,
        (Measurand::Energy, Some("kWh")) | (Measurand::Power, Some("kW")) => 3,
        (Measurand::Energy, Some("MWh")) | (Measurand::Power, Some("MW")) => 6,
        (Measurand::Voltage, None | Some("V")) | (Measurand::Soc, None | Some("Percent" | "%")) => {
            1
        }
        (Measurand::Voltage, Some("kV")) => 4,
        (Measurand::Current, None | Some("A")) => 2,
        (Measurand::Current, Some("mA")) => -1,
        (Measurand::Temperature, _) => return decicelsius(value, unit, sample.multiplier),
        _ => return Err(MeterError::Unit),
    };
    scaled(value, places + sample.multiplier)
}

fn scaled(value: Decimal, places: i32) -> Result<i64, MeterError> {
    let places = i8::try_from(places).map_err(|_| MeterError::Range)?;
    value.scaled(places).ok_or(MeterError::Range)
}

fn decicelsius(value: Decimal, unit: Option<&str>, multiplier: i32) -> Result<i64, MeterError> {
    // Thousandths keep the one rounding below a tenth of a degree.
    let milli = scaled(value, 3 + multiplier)?;
    let tenths = |milli: i64| {
        let half = if milli < 0 { -50 } else { 50 };
        milli.checked_add(half).map(|rounded| rounded / 100)
    };
    let milli_celsius = match unit {
        // "Celcius" is how the 1.6 schemas spell it.
        None | Some("Celsius" | "Celcius" | "C" | "°C") => Some(milli),
        Some("K") => milli.checked_sub(273_150),
        Some("Fahrenheit" | "F") => {
            milli.checked_sub(32_000).and_then(|milli| milli.checked_mul(5)).map(|nine| nine / 9)
        }
        Some(_) => return Err(MeterError::Unit),
    };
    milli_celsius.and_then(tenths).ok_or(MeterError::Range)
}

/// What was measured at one kind of place.
#[derive(Default)]
struct Places {
    voltage: Phases,
    current: [Phases; 2],
    power: [Phases; 2],
    energy: Phases,
    temperature: Option<i64>,
    soc: Option<i64>,
}

impl Places {
    fn add(&mut self, quantity: Measurand, sign: Sign, phase: &str, value: i64) {
        let [import, export] = match quantity {
            Measurand::Voltage => return self.voltage.add(phase, value),
            Measurand::Energy => return self.energy.add(phase, value),
            Measurand::Temperature => {
                self.temperature = self.temperature.max(Some(value));
                return;
            }
            Measurand::Soc => {
                self.soc = Some(value);
                return;
            }
            Measurand::Current => &mut self.current,
            Measurand::Power => &mut self.power,
        };
        match sign {
            Sign::Import => import.add(phase, value),
            Sign::Export => export.add(phase, value),
        }
    }

    fn value(&self, quantity: Measurand) -> Option<i64> {
        match quantity {
            Measurand::Voltage => self.voltage.mean(),
            Measurand::Current => directed(&self.current, Phases::largest),
            Measurand::Power => directed(&self.power, Phases::total),
            Measurand::Energy => self.energy.total(),
            Measurand::Temperature => self.temperature,
            Measurand::Soc => self.soc,
        }
    }
}

/// Import, or export as a negative value where nothing is imported.
fn directed(phases: &[Phases; 2], of: fn(&Phases) -> Option<i64>) -> Option<i64> {
    let [import, export] = phases;
    match (of(import), of(export)) {
        (None | Some(0), Some(export)) if export != 0 => export.checked_neg(),
        (import, export) => import.or(export),
    }
}

/// The values of one measurand by phase. A later value for the same phase replaces an earlier one.
#[derive(Default)]
struct Phases {
    whole: Option<i64>,
    lines: [Option<i64>; 3],
}

impl Phases {
    fn add(&mut self, phase: &str, value: i64) {
        let [l1, l2, l3] = &mut self.lines;
        match phase {
            "" => self.whole = Some(value),
            "L1" | "L1-N" => *l1 = Some(value),
            "L2" | "L2-N" => *l2 = Some(value),
            "L3" | "L3-N" => *l3 = Some(value),
            // The neutral's own, and phase to phase.
            _ => {}
        }
    }

    fn total(&self) -> Option<i64> {
        self.whole.or_else(|| {
            let mut lines = self.lines.iter().flatten();
            let first = *lines.next()?;
            lines.try_fold(first, |sum, line| sum.checked_add(*line))
        })
    }

    fn largest(&self) -> Option<i64> {
        self.whole.or_else(|| self.lines.iter().flatten().copied().max())
    }

    fn mean(&self) -> Option<i64> {
        self.whole.or_else(|| {
            let count = i64::try_from(self.lines.iter().flatten().count()).ok()?;
            let total = self.total()?;
            let half = if total < 0 { -(count / 2) } else { count / 2 };
            total.checked_add(half)?.checked_div(count)
        })
    }
}
