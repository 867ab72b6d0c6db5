//! What a station is told to show: costs and texts.

use crate::explain::explain;
use crate::language::Language;
use crate::model::{Dimension, Tariff};
use crate::ocpi::write::{Object, list};
use crate::rating::{Adjustment, Cost, Rating, ratio};
use crate::zone::Zone;
use novax_model::Micros;

/// Who the messages of the California paper belong to.
pub const COSTMSG_VENDOR: &str = "org.openchargealliance.costmsg";

/// Most decimals of a currency's minor unit.
const EXPONENT_MAX: u32 = 6;

/// What the driver owes in minor units, halves up: with tax where the tariff says it.
#[must_use]
pub fn total_minor(cost: &Cost) -> i128 {
    let total = cost.after_taxes.unwrap_or(cost.total);
    let exponent = u32::from(cost.currency.exponent()).min(EXPONENT_MAX);
    ratio(total.0, 1, 10_i128.pow(EXPONENT_MAX - exponent))
}

fn total(o: &mut Object, name: &str, cost: &Cost) {
    let places = u32::from(cost.currency.exponent()).min(EXPONENT_MAX);
    o.number(name, total_minor(cost), places);
}

/// A `CostUpdatedRequest` of OCPP 2.x.
#[must_use]
pub fn cost_updated(transaction_id: &str, cost: &Cost) -> String {
    let mut o = Object::new();
    total(&mut o, "totalCost", cost);
    o.text("transactionId", transaction_id);
    o.end()
}

/// The tariff's texts as OCPP's messages: its own, and for languages it has none in, ours.
#[must_use]
pub fn price_texts(tariff: &Tariff) -> String {
    let own = tariff.words.iter().map(|words| (words.language.to_string(), words.text.to_string()));
    let ours = Language::ALL.into_iter().filter(|language| {
        let has = |words: &crate::Words| Language::from_tag(&words.language) == Some(*language);
        !tariff.words.iter().any(has)
    });
    let ours = ours.map(|language| (language.code().to_owned(), explain(tariff, language)));
    let texts = own.chain(ours).map(|(language, content)| {
        let mut o = Object::new();
        o.text("format", "UTF8");
        o.text("language", &language);
        o.text("content", &content);
        o.end()
    });
    list(texts)
}

/// OCPP 1.6: `DataTransfer` that tells a driver who has just shown a token the price.
#[must_use]
pub fn set_user_price(id_token: &str, price_text: &str) -> String {
    let mut data = Object::new();
    data.text("idToken", id_token);
    data.text("priceText", price_text);
    data_transfer("SetUserPrice", &data.end())
}

/// OCPP 1.6: `DataTransfer` with the cost so far, the prices that hold now, and when to report
/// the meter because they may change.
#[must_use]
pub fn running_cost(
    transaction_id: i32,
    tariff: &Tariff,
    zone: &Zone,
    rating: &Rating,
    adjust: &Adjustment,
) -> String {
    let last = rating.last();
    let mut data = Object::new();
    data.number("transactionId", transaction_id, 0);
    data.text("timestamp", &last.at.to_rfc3339());
    data.number("meterValue", last.register_wh.0, 0);
    total(&mut data, "cost", &rating.cost(tariff, adjust, false));
    data.text("state", if last.charging { "Charging" } else { "Idle" });
    let price = |dimension: Dimension| -> Option<Micros> {
        let element = rating.active().element(dimension)?;
        let listed = tariff.component(element, dimension)?.price;
        Some(match dimension {
            Dimension::Energy => adjust.energy(listed),
            Dimension::Flat => listed,
            Dimension::Time | Dimension::ParkingTime => adjust.time(listed),
        })
    };
    let mut charging = Object::new();
    for (name, dimension) in [
        ("kWhPrice", Dimension::Energy),
        ("hourPrice", Dimension::Time),
        ("flatFee", Dimension::Flat),
    ] {
        if let Some(price) = price(dimension) {
            charging.number(name, price.0, 6);
        }
    }
    data.raw("chargingPrice", &charging.end());
    if let Some(parking) = price(Dimension::ParkingTime) {
        let mut idle = Object::new();
        idle.number("graceMinutes", 0, 0);
        idle.number("hourPrice", parking.0, 6);
        data.raw("idlePrice", &idle.end());
    }
    if let Some(at) = rating.next_boundary(tariff, zone) {
        let mut trigger = Object::new();
        trigger.text("atTime", &at.to_rfc3339());
        data.raw("triggerMeterValue", &trigger.end());
    }
    data_transfer("RunningCost", &data.end())
}

/// OCPP 1.6: `DataTransfer` with what the session cost, and where its receipt is.
#[must_use]
pub fn final_cost(
    transaction_id: i32,
    cost: &Cost,
    price_text: &str,
    qr_code_text: Option<&str>,
) -> String {
    let mut data = Object::new();
    data.number("transactionId", transaction_id, 0);
    total(&mut data, "cost", cost);
    data.text("priceText", price_text);
    if let Some(text) = qr_code_text {
        data.text("qrCodeText", text);
    }
    data_transfer("FinalCost", &data.end())
}

/// The data of these messages is JSON within a string.
fn data_transfer(message: &str, data: &str) -> String {
    let mut o = Object::new();
    o.text("vendorId", COSTMSG_VENDOR);
    o.text("messageId", message);
    o.text("data", data);
    o.end()
}
