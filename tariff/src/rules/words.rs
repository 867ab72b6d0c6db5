//! A quote in words: what the driver pays more or less, and why. Stable, in every language.

use super::book::{Compare, Condition, Effect, Fallback};
use super::evaluate::{Bound, Quote, Reason, SignalFault};
use super::signals::SignalKind;
use crate::language::{Language, clock, date};
use novax_model::Currency;

impl Quote {
    /// The reasons, a sentence each.
    #[must_use]
    pub fn sentences(&self, language: Language) -> Vec<String> {
        self.reasons.iter().map(|reason| reason.sentence(language, self.currency)).collect()
    }

    /// The reasons as one text.
    #[must_use]
    pub fn words(&self, language: Language) -> String {
        self.sentences(language).join(language.pick(" ", " ", ""))
    }
}

impl Reason {
    /// The reason as a sentence; amounts are of `currency`.
    #[must_use]
    pub fn sentence(&self, language: Language, currency: Currency) -> String {
        match self {
            Reason::Applied { rule, because, effects, followed } => {
                let effects: Vec<String> = effects
                    .iter()
                    .map(|effect| effect_words(effect, *followed, language, currency))
                    .collect();
                let effects = language.join(&effects);
                let because: Vec<String> = because
                    .iter()
                    .map(|(condition, seen)| condition_words(condition, *seen, language, currency))
                    .collect();
                let because = match language {
                    Language::Zh => because.join("，且"),
                    Language::En | Language::De => language.join(&because),
                };
                match (because.is_empty(), language) {
                    (true, Language::Zh) => format!("{rule}：{effects}。"),
                    (true, _) => format!("{rule}: {effects}."),
                    (false, Language::En) => format!("{rule}: {effects}, because {because}."),
                    (false, Language::De) => format!("{rule}: {effects}, denn {because}."),
                    (false, Language::Zh) => format!("{rule}：因为{because}，{effects}。"),
                }
            }
            Reason::Signal { kind, fault, fallback } => {
                signal_words(*kind, *fault, *fallback, language, currency)
            }
            Reason::Bounded { bound, wanted, given } => {
                bound_words(*bound, *wanted, *given, language, currency)
            }
            Reason::Listed => language
                .pick(
                    "The price is as listed: no rule applies now.",
                    "Der Preis gilt wie ausgewiesen: derzeit greift keine Regel.",
                    "按公示价格计费：当前没有适用的规则。",
                )
                .into(),
        }
    }
}

fn effect_words(
    effect: &Effect,
    followed: Option<i64>,
    language: Language,
    currency: Currency,
) -> String {
    let money = |micros: i64| per_kwh(micros, language, currency);
    match effect {
        Effect::Factor(ppm) => change(i128::from(*ppm) - 1_000_000, language),
        Effect::TimeFactor(ppm) => {
            let change = change(i128::from(*ppm) - 1_000_000, language);
            match language {
                Language::En => format!("time {change}"),
                Language::De => format!("Zeit {change}"),
                Language::Zh => format!("时间费{change}"),
            }
        }
        Effect::Add(micros) => added(*micros, language, currency),
        Effect::Follow { from, share_ppm } => {
            let share = language.percent(i128::from(*share_ppm));
            let from = per_mwh(*from, language, currency);
            let words = match language {
                Language::En => {
                    format!("follows the market by {share} of its distance from {from}")
                }
                Language::De => format!("folgt dem Markt mit {share} des Abstands zu {from}"),
                Language::Zh => format!("随市场价浮动（与{from}差额的{share}）"),
            };
            match followed {
                Some(micros) => {
                    let open = language.pick(" (", " (", "（");
                    let close = language.pick(")", ")", "）");
                    format!("{words}{open}{}{close}", added(micros, language, currency))
                }
                None => words,
            }
        }
        Effect::Floor(micros) => match language {
            Language::En => format!("at least {}", money(*micros)),
            Language::De => format!("mindestens {}", money(*micros)),
            Language::Zh => format!("不低于{}", money(*micros)),
        },
        Effect::Ceiling(micros) => match language {
            Language::En => format!("at most {}", money(*micros)),
            Language::De => format!("höchstens {}", money(*micros)),
            Language::Zh => format!("不高于{}", money(*micros)),
        },
    }
}

/// A change in parts per million of the listed price.
fn change(ppm: i128, language: Language) -> String {
    let by = language.percent(i128::try_from(ppm.unsigned_abs()).unwrap_or(i128::MAX));
    match (ppm.signum(), language) {
        (0, _) => language.pick("the listed price", "der ausgewiesene Preis", "按公示价格").into(),
        (1, Language::En) => format!("{by} dearer"),
        (1, Language::De) => format!("{by} teurer"),
        (1, Language::Zh) => format!("上浮{by}"),
        (_, Language::En) => format!("{by} cheaper"),
        (_, Language::De) => format!("{by} günstiger"),
        (_, Language::Zh) => format!("下浮{by}"),
    }
}

fn added(micros: i64, language: Language, currency: Currency) -> String {
    let size = i64::try_from(micros.unsigned_abs()).unwrap_or(i64::MAX);
    let amount = per_kwh(size, language, currency);
    match (micros < 0, language) {
        (false, Language::En) => format!("{amount} more"),
        (false, Language::De) => format!("{amount} mehr"),
        (false, Language::Zh) => format!("每度加{}", amount_words(size, language, currency)),
        (true, Language::En) => format!("{amount} less"),
        (true, Language::De) => format!("{amount} weniger"),
        (true, Language::Zh) => format!("每度减{}", amount_words(size, language, currency)),
    }
}

fn condition_words(
    condition: &Condition,
    seen: Option<i64>,
    language: Language,
    currency: Currency,
) -> String {
    let names = |names: &[Box<str>]| names.join(language.pick(", ", ", ", "、"));
    match condition {
        Condition::Time { from, until } => {
            let (from, until) = (clock(*from), clock(*until));
            match language {
                Language::En => format!("it is between {from} and {until}"),
                Language::De => format!("es ist zwischen {from} und {until} Uhr"),
                Language::Zh => format!("当前时段为{from}至{until}"),
            }
        }
        Condition::Days(days) => {
            let days = language.weekdays(*days);
            match language {
                Language::En => format!("the day is one of {days}"),
                Language::De => format!("der Tag ist einer von {days}"),
                Language::Zh => format!("当天属于{days}"),
            }
        }
        Condition::Dates { first, last } => {
            let (first, last) = (date(*first), date(*last));
            match language {
                Language::En => format!("the date is from {first} to {last}"),
                Language::De => format!("das Datum liegt von {first} bis {last}"),
                Language::Zh => format!("日期在{first}至{last}之间"),
            }
        }
        Condition::Site(sites) => match language {
            Language::En => format!("the site is one of {}", names(sites)),
            Language::De => format!("der Standort ist einer von {}", names(sites)),
            Language::Zh => format!("站点为{}", names(sites)),
        },
        Condition::Tag(tags) => match language {
            Language::En => format!("the place is marked {}", names(tags)),
            Language::De => format!("der Ladepunkt trägt das Merkmal {}", names(tags)),
            Language::Zh => format!("充电点标记为{}", names(tags)),
        },
        Condition::NoTag(tags) => match language {
            Language::En => format!("the place is not marked {}", names(tags)),
            Language::De => format!("der Ladepunkt trägt nicht das Merkmal {}", names(tags)),
            Language::Zh => format!("充电点未标记为{}", names(tags)),
        },
        Condition::Signal { kind, compare, threshold } => {
            let name = signal_name(*kind, language);
            let seen = value(*kind, seen.unwrap_or(*threshold), language, currency);
            let limit = value(*kind, *threshold, language, currency);
            let side = match compare {
                Compare::Below => language.pick("below", "unter", "低于"),
                Compare::AtMost => language.pick("at most", "höchstens", "不高于"),
                Compare::AtLeast => language.pick("at least", "mindestens", "不低于"),
                Compare::Above => language.pick("above", "über", "高于"),
            };
            match language {
                Language::En => format!("{name} is {seen} ({side} {limit})"),
                Language::De => format!("{name} beträgt {seen} ({side} {limit})"),
                Language::Zh => format!("{name}为{seen}（{side}{limit}）"),
            }
        }
    }
}

fn signal_words(
    kind: SignalKind,
    fault: SignalFault,
    fallback: Fallback,
    language: Language,
    currency: Currency,
) -> String {
    let name = signal_name(kind, language);
    let shown = |one: i64| value(kind, one, language, currency);
    let fault = match (fault, language) {
        (SignalFault::Missing, Language::En) => format!("{name} is not known"),
        (SignalFault::Missing, Language::De) => format!("{name} ist nicht bekannt"),
        (SignalFault::Missing, Language::Zh) => format!("{name}未知"),
        (SignalFault::Stale { age_s }, Language::En) => {
            format!("{name} was last heard {} min ago", age_s / 60)
        }
        (SignalFault::Stale { age_s }, Language::De) => {
            format!("{name} wurde zuletzt vor {} min gemeldet", age_s / 60)
        }
        (SignalFault::Stale { age_s }, Language::Zh) => {
            format!("{name}最近一次上报在{}分钟前", age_s / 60)
        }
        (SignalFault::Ahead, Language::En) => format!("{name} carries a time still to come"),
        (SignalFault::Ahead, Language::De) => format!("{name} trägt eine künftige Zeit"),
        (SignalFault::Ahead, Language::Zh) => format!("{name}的时间晚于当前时间"),
        (SignalFault::Impossible(one), Language::En) => {
            format!("{name} is reported as {}, which cannot be", shown(one))
        }
        (SignalFault::Impossible(one), Language::De) => {
            format!("{name} wird mit {} gemeldet, was nicht sein kann", shown(one))
        }
        (SignalFault::Impossible(one), Language::Zh) => {
            format!("{name}上报为{}，不可信", shown(one))
        }
    };
    let outcome = match (fallback, language) {
        (Fallback::Skip, Language::En) => "rules that read it do not apply".into(),
        (Fallback::Skip, Language::De) => "Regeln dazu gelten nicht".into(),
        (Fallback::Skip, Language::Zh) => "相关规则不适用".into(),
        (Fallback::Listed, Language::En) => "the listed price holds".into(),
        (Fallback::Listed, Language::De) => "es gilt der ausgewiesene Preis".into(),
        (Fallback::Listed, Language::Zh) => "按公示价格计费".into(),
        (Fallback::Assume(one), Language::En) => format!("{} is taken", shown(one)),
        (Fallback::Assume(one), Language::De) => format!("angenommen wird {}", shown(one)),
        (Fallback::Assume(one), Language::Zh) => format!("按{}计算", shown(one)),
    };
    let mut sentence = match language {
        Language::Zh => format!("{fault}，{outcome}。"),
        _ => format!("{fault}: {outcome}."),
    };
    if let Some(first) = sentence.get(..1).map(str::to_ascii_uppercase) {
        sentence.replace_range(..1, &first);
    }
    sentence
}

fn bound_words(
    bound: Bound,
    wanted: i64,
    given: i64,
    language: Language,
    currency: Currency,
) -> String {
    match bound {
        Bound::Factor | Bound::TimeFactor => {
            let wanted = change(i128::from(wanted) - 1_000_000, language);
            let given = change(i128::from(given) - 1_000_000, language);
            match language {
                Language::En => {
                    format!("Limited to {given}: the rules together asked for {wanted}.")
                }
                Language::De => {
                    format!("Begrenzt auf {given}: die Regeln verlangten zusammen {wanted}.")
                }
                Language::Zh => format!("限制为{given}：各规则合计为{wanted}。"),
            }
        }
        Bound::Add => {
            let wanted = added(wanted, language, currency);
            let given = added(given, language, currency);
            match language {
                Language::En => {
                    format!("Limited to {given}: the rules together asked for {wanted}.")
                }
                Language::De => {
                    format!("Begrenzt auf {given}: die Regeln verlangten zusammen {wanted}.")
                }
                Language::Zh => format!("限制为{given}：各规则合计为{wanted}。"),
            }
        }
        Bound::Ceiling => {
            let wanted = per_kwh(wanted, language, currency);
            let given = per_kwh(given, language, currency);
            match language {
                Language::En => {
                    format!("The floor of {wanted} stands above the ceiling: {given} holds.")
                }
                Language::De => {
                    format!(
                        "Der Mindestpreis {wanted} liegt über dem Höchstpreis: es gilt {given}."
                    )
                }
                Language::Zh => format!("最低价{wanted}高于最高价，按{given}计。"),
            }
        }
    }
}

fn signal_name(kind: SignalKind, language: Language) -> &'static str {
    match kind {
        SignalKind::Temperature => {
            language.pick("the outside temperature", "die Außentemperatur", "室外温度")
        }
        SignalKind::Load => language.pick(
            "the load of the transformer",
            "die Auslastung des Transformators",
            "变压器负载率",
        ),
        SignalKind::DayAhead => {
            language.pick("the day-ahead price", "der Day-Ahead-Preis", "日前电价")
        }
        SignalKind::Renewable => language.pick(
            "the share of renewable energy",
            "der Anteil erneuerbarer Energie",
            "可再生能源占比",
        ),
    }
}

fn value(kind: SignalKind, value: i64, language: Language, currency: Currency) -> String {
    match kind {
        SignalKind::Temperature => {
            let degrees = language.decimal(value.into(), 1, 0);
            format!("{degrees}{}", language.pick(" °C", " °C", "°C"))
        }
        SignalKind::Load | SignalKind::Renewable => language.percent(value.into()),
        SignalKind::DayAhead => per_mwh(value, language, currency),
    }
}

fn amount_words(micros: i64, language: Language, currency: Currency) -> String {
    let least = u32::from(currency.exponent()).min(6);
    format!("{} {currency}", language.decimal(micros.into(), 6, least))
}

fn per_kwh(micros: i64, language: Language, currency: Currency) -> String {
    let amount = amount_words(micros, language, currency);
    format!("{amount}{}", language.pick(" per kWh", " je kWh", "/kWh"))
}

fn per_mwh(micros: i64, language: Language, currency: Currency) -> String {
    let amount = amount_words(micros, language, currency);
    format!("{amount}{}", language.pick(" per MWh", " je MWh", "/MWh"))
}
