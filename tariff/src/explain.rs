//! A tariff in words: the text that goes with it as OCPI's `tariff_alt_text`.
//!
//! It says exactly what rating does: for each dimension the first price whose restrictions hold,
//! then "otherwise" the next. A price that can never hold is left out.

use crate::language::{Language, clock, date};
use crate::model::{
    ALL_DAYS, Component, DAY_MINUTES, Day, Dimension, Element, Reservation, Restrictions, Tariff,
    TaxIncluded,
};
use novax_model::{Currency, Micros};

/// A tariff in words, one text.
#[must_use]
pub fn explain(tariff: &Tariff, language: Language) -> String {
    sentences(tariff, language).join(language.pick(" ", " ", ""))
}

/// A tariff in words, a sentence for each kind of price.
#[must_use]
pub fn sentences(tariff: &Tariff, language: Language) -> Vec<String> {
    let stop = language.pick(".", ".", "。");
    let mut out = Vec::new();
    for kind in [None, Some(Reservation::Reservation), Some(Reservation::Expires)] {
        for dimension in
            [Dimension::Energy, Dimension::Time, Dimension::ParkingTime, Dimension::Flat]
        {
            if let Some(words) = of_dimension(tariff, dimension, kind, language) {
                out.push(format!("{words}{stop}"));
            }
        }
    }
    if out.is_empty() {
        out.push(language.pick("Free of charge.", "Kostenlos.", "免费。").into());
    }
    out.extend(limits(tariff, language).map(|words| format!("{words}{stop}")));
    out.extend(taxes(tariff, language).map(|words| format!("{words}{stop}")));
    out
}

/// All prices of one dimension, in the order in which they are looked at.
fn of_dimension(
    tariff: &Tariff,
    dimension: Dimension,
    kind: Option<Reservation>,
    language: Language,
) -> Option<String> {
    let is_kind =
        |element: &&Element| element.restrictions.as_ref().and_then(|r| r.reservation) == kind;
    let priced = tariff.elements.iter().filter(is_kind);
    let priced = priced.filter_map(|element| Some((element, element.component(dimension)?)));
    let otherwise = language.pick("otherwise ", "sonst ", "其他情况");
    let mut clauses = Vec::new();
    let mut always = false;
    for (element, component) in priced {
        let when = element.restrictions.as_ref().map_or(Vec::new(), |r| when(r, language));
        let price = price(component, tariff.currency, language);
        always = when.is_empty();
        let lead = if always && !clauses.is_empty() { otherwise } else { "" };
        clauses.push(match (language, when.is_empty()) {
            (_, true) => format!("{lead}{price}"),
            (Language::Zh, false) => format!("{} {price}", when.join("且")),
            (_, false) => format!("{price} {}", when.join(language.pick(" and ", " und ", ""))),
        });
        if always {
            break;
        }
    }
    if clauses.is_empty() {
        return None;
    }
    if !always {
        clauses.push(format!("{otherwise}{}", language.pick("free", "kostenlos", "免费")));
    }
    let name = name(dimension, kind, language);
    let colon = language.pick(": ", ": ", "：");
    Some(format!("{name}{colon}{}", clauses.join(language.pick("; ", "; ", "；"))))
}

fn name(dimension: Dimension, kind: Option<Reservation>, language: Language) -> String {
    let of_charge = match dimension {
        Dimension::Energy => language.pick("Energy", "Energie", "电费"),
        Dimension::Time => language.pick("Charging time", "Ladezeit", "充电时长"),
        Dimension::ParkingTime => {
            language.pick("Parking without charging", "Parken ohne Laden", "占位")
        }
        Dimension::Flat => language.pick("Session fee", "Startgebühr", "每次服务费"),
    };
    let fee = dimension == Dimension::Flat;
    match (kind, fee) {
        (None, _) => of_charge,
        (Some(Reservation::Reservation), false) => {
            language.pick("Reserved time", "Reservierte Zeit", "预约时长")
        }
        (Some(Reservation::Reservation), true) => {
            language.pick("Reservation fee", "Reservierungsgebühr", "预约费")
        }
        (Some(Reservation::Expires), false) => language.pick(
            "Time of a reservation not used",
            "Zeit einer nicht genutzten Reservierung",
            "未使用的预约时长",
        ),
        (Some(Reservation::Expires), true) => language.pick(
            "Fee of a reservation not used",
            "Gebühr einer nicht genutzten Reservierung",
            "未使用的预约费",
        ),
    }
    .into()
}

fn price(component: &Component, currency: Currency, language: Language) -> String {
    if component.price == Micros(0) {
        return language.pick("free", "kostenlos", "免费").into();
    }
    let amount = money(component.price, currency, language);
    let unit = match component.dimension {
        Dimension::Energy => language.pick(" per kWh", " je kWh", "/kWh"),
        Dimension::Time | Dimension::ParkingTime => {
            language.pick(" per hour", " je Stunde", "/小时")
        }
        Dimension::Flat => "",
    };
    let step = match (component.step, component.dimension) {
        (1, _) | (_, Dimension::Flat) => String::new(),
        (step, Dimension::Energy) => {
            let step = format!("{} kWh", language.decimal(step.into(), 3, 0));
            in_steps(&step, language)
        }
        (step, _) => in_steps(&duration(step, language), language),
    };
    format!("{amount}{unit}{step}")
}

fn in_steps(step: &str, language: Language) -> String {
    match language {
        Language::En => format!(" in steps of {step}"),
        Language::De => format!(" in Schritten von {step}"),
        Language::Zh => format!("（按{step}计费）"),
    }
}

/// What must hold, a phrase each.
fn when(r: &Restrictions, language: Language) -> Vec<String> {
    let mut out = Vec::new();
    if r.days != 0 && r.days != ALL_DAYS {
        let days = language.weekdays(r.days);
        out.push(format!("{}{days}", language.pick("on ", "am ", "")));
    }
    out.extend(of_day(r, language));
    out.extend(of_dates(r.start_date, r.end_date, language));
    let kwh = |wh: i64| format!("{} kWh", language.decimal(wh.into(), 3, 0));
    out.extend(used(r.min_wh.map(kwh), r.max_wh.map(kwh), language));
    let time = |s: u32| duration(s, language);
    out.extend(used(r.min_s.map(time), r.max_s.map(time), language));
    let kw = |w: i64| format!("{} kW", language.decimal(w.into(), 3, 0));
    out.extend(at(r.min_w.map(kw), r.max_w.map(kw), language));
    let ampere = |ma: i64| format!("{} A", language.decimal(ma.into(), 3, 0));
    out.extend(at(r.min_ma.map(ampere), r.max_ma.map(ampere), language));
    out
}

fn of_day(r: &Restrictions, language: Language) -> Option<String> {
    let end = r.end_time.filter(|end| *end != 0 && *end != DAY_MINUTES);
    if r.start_time.is_none() && end.is_none() {
        return None;
    }
    let from = clock(r.start_time.unwrap_or(0));
    let until = end.map_or_else(|| "24:00".to_owned(), clock);
    Some(match language {
        Language::En => format!("from {from} to {until}"),
        Language::De => format!("von {from} bis {until} Uhr"),
        Language::Zh => format!("{from}至{until}"),
    })
}

fn of_dates(start: Option<Day>, end: Option<Day>, language: Language) -> Option<String> {
    // People name the last day, not the first after it.
    let last = end.map(|end| date(Day(end.0.saturating_sub(1))));
    match (start.map(date), last) {
        (None, None) => None,
        (Some(first), None) => Some(match language {
            Language::En => format!("since {first}"),
            Language::De => format!("ab {first}"),
            Language::Zh => format!("{first}起"),
        }),
        (None, Some(last)) => Some(match language {
            Language::En => format!("until {last}"),
            Language::De => format!("bis {last}"),
            Language::Zh => format!("{last}前（含）"),
        }),
        (Some(first), Some(last)) => Some(match language {
            Language::En => format!("from {first} until {last}"),
            Language::De => format!("vom {first} bis {last}"),
            Language::Zh => format!("{first}至{last}"),
        }),
    }
}

/// Of what the session has used: energy or time.
fn used(min: Option<String>, max: Option<String>, language: Language) -> Option<String> {
    match (min, max) {
        (None, None) => None,
        (Some(min), None) => Some(match language {
            Language::En => format!("after the first {min}"),
            Language::De => format!("nach den ersten {min}"),
            Language::Zh => format!("超过{min}后"),
        }),
        (None, Some(max)) => Some(match language {
            Language::En => format!("for the first {max}"),
            Language::De => format!("für die ersten {max}"),
            Language::Zh => format!("前{max}"),
        }),
        (Some(min), Some(max)) => Some(match language {
            Language::En => format!("after the first {min} and up to {max}"),
            Language::De => format!("nach den ersten {min} und bis {max}"),
            Language::Zh => format!("{min}至{max}"),
        }),
    }
}

/// Of what is measured now: power or current.
fn at(min: Option<String>, max: Option<String>, language: Language) -> Option<String> {
    match (min, max) {
        (None, None) => None,
        (Some(min), None) => Some(match language {
            Language::En => format!("at {min} or more"),
            Language::De => format!("ab {min}"),
            Language::Zh => format!("{min}及以上"),
        }),
        (None, Some(max)) => Some(match language {
            Language::En => format!("below {max}"),
            Language::De => format!("unter {max}"),
            Language::Zh => format!("{max}以下"),
        }),
        (Some(min), Some(max)) => Some(match language {
            Language::En => format!("from {min} to below {max}"),
            Language::De => format!("ab {min} und unter {max}"),
            Language::Zh => format!("{min}至{max}以下"),
        }),
    }
}

fn limits(tariff: &Tariff, language: Language) -> impl Iterator<Item = String> {
    let amount = |limit: Option<crate::PriceLimit>| {
        // What people pay is what they are told: with tax, where the limit says it.
        limit.map(|limit| {
            let micros = limit.after_taxes.unwrap_or(limit.before_taxes);
            let words = money(micros, tariff.currency, language);
            let taxed = limit.after_taxes.is_some() && tariff.tax_included != TaxIncluded::Yes;
            let with = language.pick(" with tax", " mit Steuer", "（含税）");
            if taxed { format!("{words}{with}") } else { words }
        })
    };
    let least = amount(tariff.min_price).map(|amount| match language {
        Language::En => format!("A session costs at least {amount}"),
        Language::De => format!("Ein Ladevorgang kostet mindestens {amount}"),
        Language::Zh => format!("每次充电最低{amount}"),
    });
    let most = amount(tariff.max_price).map(|amount| match language {
        Language::En => format!("A session costs at most {amount}"),
        Language::De => format!("Ein Ladevorgang kostet höchstens {amount}"),
        Language::Zh => format!("每次充电最高{amount}"),
    });
    least.into_iter().chain(most)
}

fn taxes(tariff: &Tariff, language: Language) -> Option<String> {
    let components = || tariff.elements.iter().flat_map(|element| &element.components);
    let first = components().next()?.vat_ppm;
    let same = components().all(|component| component.vat_ppm == first);
    let rate = first.filter(|ppm| same && *ppm > 0).map(|ppm| language.percent(ppm.into()));
    let words = match (tariff.tax_included, rate, language) {
        (TaxIncluded::NotApplicable, _, _) => {
            language.pick("No tax applies", "Es fällt keine Steuer an", "不适用税费").into()
        }
        (TaxIncluded::Yes, Some(rate), Language::En) => format!("Prices include {rate} tax"),
        (TaxIncluded::Yes, Some(rate), Language::De) => {
            format!("Preise einschließlich {rate} Steuer")
        }
        (TaxIncluded::Yes, Some(rate), Language::Zh) => format!("价格含{rate}税"),
        (TaxIncluded::Yes, None, _) => {
            language.pick("Prices include tax", "Preise einschließlich Steuer", "价格含税").into()
        }
        (TaxIncluded::No, Some(rate), Language::En) => format!("Prices exclude {rate} tax"),
        (TaxIncluded::No, Some(rate), Language::De) => format!("Preise zuzüglich {rate} Steuer"),
        (TaxIncluded::No, Some(rate), Language::Zh) => format!("价格不含{rate}税"),
        (TaxIncluded::No, None, _) => {
            language.pick("Prices exclude tax", "Preise zuzüglich Steuer", "价格不含税").into()
        }
    };
    Some(words)
}

/// An amount as people write it, exactly.
pub(crate) fn money(micros: Micros, currency: Currency, language: Language) -> String {
    let least = u32::from(currency.exponent()).min(6);
    format!("{} {currency}", language.decimal(micros.0, 6, least))
}

/// A duration in the largest unit that says it exactly.
pub(crate) fn duration(seconds: u32, language: Language) -> String {
    match seconds {
        s if s > 0 && s % 3_600 == 0 => {
            format!("{}{}", s / 3_600, language.pick(" h", " h", "小时"))
        }
        s if s > 0 && s % 60 == 0 => format!("{}{}", s / 60, language.pick(" min", " min", "分钟")),
        s => format!("{s}{}", language.pick(" s", " s", "秒")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(components: Vec<Component>, restrictions: Option<Restrictions>) -> Element {
        Element { components, restrictions }
    }

    fn priced(dimension: Dimension, micros: i128) -> Component {
        Component::new(dimension, Micros(micros))
    }

    /// Cheap at night, dear otherwise; parking costs after four hours.
    fn sample() -> Tariff {
        let night = Restrictions {
            start_time: Some(22 * 60),
            end_time: Some(6 * 60),
            ..Restrictions::default()
        };
        let late = Restrictions { min_s: Some(4 * 3_600), ..Restrictions::default() };
        let parking = Component { step: 900, ..priced(Dimension::ParkingTime, 2_000_000) };
        let mut tariff = Tariff::of(
            "sample",
            Currency::EUR,
            vec![
                element(vec![priced(Dimension::Energy, 290_000)], Some(night)),
                element(vec![parking], Some(late)),
                element(vec![priced(Dimension::Energy, 390_000)], None),
                element(vec![priced(Dimension::Energy, 1)], None),
            ],
        );
        tariff.tax_included = TaxIncluded::Yes;
        tariff
    }

    #[test]
    fn the_words_say_what_rating_does() {
        let tariff = sample();
        assert_eq!(
            explain(&tariff, Language::En),
            "Energy: 0.29 EUR per kWh from 22:00 to 06:00; otherwise 0.39 EUR per kWh. \
             Parking without charging: 2.00 EUR per hour in steps of 15 min after the first 4 h; \
             otherwise free. Prices include tax."
        );
        assert_eq!(
            explain(&tariff, Language::De),
            "Energie: 0,29 EUR je kWh von 22:00 bis 06:00 Uhr; sonst 0,39 EUR je kWh. \
             Parken ohne Laden: 2,00 EUR je Stunde in Schritten von 15 min nach den ersten 4 h; \
             sonst kostenlos. Preise einschließlich Steuer."
        );
        assert_eq!(
            explain(&tariff, Language::Zh),
            "电费：22:00至06:00 0.29 EUR/kWh；其他情况0.39 EUR/kWh。\
             占位：超过4小时后 2.00 EUR/小时（按15分钟计费）；其他情况免费。价格含税。"
        );
    }

    #[test]
    fn every_restriction_has_words() {
        let all = Restrictions {
            start_time: Some(480),
            end_time: Some(0),
            start_date: Some(Day(20_779)),
            end_date: Some(Day(20_781)),
            min_wh: Some(20_000),
            max_wh: Some(50_500),
            min_ma: Some(5_000),
            max_ma: None,
            min_w: None,
            max_w: Some(22_000),
            min_s: None,
            max_s: Some(5_400),
            days: 0b001_1111,
            reservation: None,
        };
        let tariff = Tariff::of(
            "all",
            Currency::EUR,
            vec![element(vec![priced(Dimension::Flat, 500_000)], Some(all))],
        );
        assert_eq!(
            explain(&tariff, Language::En),
            "Session fee: 0.50 EUR on Monday to Friday and from 08:00 to 24:00 and from 2026-11-22 \
             until 2026-11-23 and after the first 20 kWh and up to 50.5 kWh and for the first \
             90 min and below 22 kW and at 5 A or more; otherwise free. Prices exclude tax."
        );
    }

    #[test]
    fn reservations_limits_and_taxes_are_told() {
        let reserved =
            Restrictions { reservation: Some(Reservation::Reservation), ..Restrictions::default() };
        let vat = |c: Component| Component { vat_ppm: Some(190_000), ..c };
        let mut tariff = Tariff::of(
            "r",
            Currency::EUR,
            vec![
                element(vec![vat(priced(Dimension::Time, 5_000_000))], Some(reserved)),
                element(vec![vat(priced(Dimension::Energy, 0))], None),
            ],
        );
        tariff.max_price = Some(crate::PriceLimit {
            before_taxes: Micros(10_000_000),
            after_taxes: Some(Micros(11_900_000)),
        });
        assert_eq!(
            explain(&tariff, Language::En),
            "Energy: free. Reserved time: 5.00 EUR per hour. A session costs at most 11.90 EUR \
             with tax. Prices exclude 19 % tax."
        );
        assert_eq!(explain(&Tariff::of("none", Currency::EUR, vec![]), Language::De), "Kostenlos.");
    }
}
