//! Telemetry: what a meter said and the hub acknowledged is in the series, once, under its time.

use crate::verdict::Verdict;
use std::collections::BTreeMap;

/// How telling a value ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The hub keeps it.
    Ok,
    /// It said no.
    Refused,
    /// Not known; it may have been told several times.
    Unknown,
}

/// A value of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The meter's time, in milliseconds since 1970: a name for the value at its meter.
    pub at_ms: u64,
    /// The register.
    pub register: i64,
}

/// Whether the series that were read in the end are what the meters said. Both by meter.
#[must_use]
pub fn check(
    told: &BTreeMap<String, Vec<(Tick, Told)>>,
    series: &BTreeMap<String, Vec<Tick>>,
) -> Verdict {
    if !told.values().flatten().any(|(_, told)| *told == Told::Ok) {
        return Verdict::broken("no value was acknowledged");
    }
    let mut findings = Vec::new();
    let nothing = Vec::new();
    for (meter, said) in told {
        let kept = series.get(meter).unwrap_or(&nothing);
        check_meter(meter, said, kept, &mut findings);
    }
    let unknown = series.keys().filter(|meter| !told.contains_key(*meter));
    findings.extend(unknown.map(|meter| format!("{meter} has a series and said nothing")));
    Verdict::of(findings)
}

fn check_meter(meter: &str, said: &[(Tick, Told)], kept: &[Tick], findings: &mut Vec<String>) {
    let mut by_time: BTreeMap<u64, i64> = BTreeMap::new();
    for pair in kept.windows(2) {
        if let [first, second] = pair
            && second.at_ms < first.at_ms
        {
            findings.push(format!("{meter}: {} stands before {}", first.at_ms, second.at_ms));
        }
    }
    for tick in kept {
        if by_time.insert(tick.at_ms, tick.register).is_some() {
            findings.push(format!("{meter}: two values of {}", tick.at_ms));
        }
    }
    let mut left = by_time.clone();
    for (tick, told) in said {
        let found = left.remove(&tick.at_ms);
        let (at, register) = (tick.at_ms, tick.register);
        findings.extend(match (told, found) {
            (_, Some(kept)) if kept != register => {
                Some(format!("{meter}: {register} Wh at {at} became {kept} Wh"))
            }
            (Told::Ok, None) => Some(format!("{meter}: {register} Wh at {at} is lost")),
            (Told::Refused, Some(_)) => {
                Some(format!("{meter}: the value of {at} was refused and is kept"))
            }
            _ => None,
        });
    }
    findings.extend(
        left.iter().map(|(at, register)| format!("{meter}: nobody said {register} Wh at {at}")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at_ms: u64, register: i64) -> Tick {
        Tick { at_ms, register }
    }

    fn judge(kept: &[Tick]) -> Verdict {
        let said = vec![
            (tick(1, 10), Told::Ok),
            (tick(2, 20), Told::Unknown),
            (tick(3, 30), Told::Refused),
            (tick(4, 40), Told::Ok),
        ];
        check(
            &BTreeMap::from([("m".to_owned(), said)]),
            &BTreeMap::from([("m".to_owned(), kept.to_vec())]),
        )
    }

    #[track_caller]
    fn check_finds(kept: &[Tick], finding: &str) {
        assert_eq!(judge(kept), Verdict::of(vec![finding.to_owned()]));
    }

    #[test]
    fn the_series_is_what_the_meter_said() {
        assert!(judge(&[tick(1, 10), tick(4, 40)]).is_pass());
        assert!(judge(&[tick(1, 10), tick(2, 20), tick(4, 40)]).is_pass());
        check_finds(&[tick(4, 40)], "m: 10 Wh at 1 is lost");
        check_finds(&[tick(1, 11), tick(4, 40)], "m: 10 Wh at 1 became 11 Wh");
        check_finds(
            &[tick(1, 10), tick(3, 30), tick(4, 40)],
            "m: the value of 3 was refused and is kept",
        );
        check_finds(&[tick(1, 10), tick(4, 40), tick(5, 50)], "m: nobody said 50 Wh at 5");
        check_finds(&[tick(1, 10), tick(1, 10), tick(4, 40)], "m: two values of 1");
        check_finds(&[tick(4, 40), tick(1, 10)], "m: 4 stands before 1");
    }

    #[test]
    fn strangers_are_found_and_silence_says_nothing() {
        let said = BTreeMap::from([("m".to_owned(), vec![(tick(1, 1), Told::Ok)])]);
        let kept = vec![tick(1, 1)];
        let series = BTreeMap::from([("m".to_owned(), kept.clone()), ("x".to_owned(), kept)]);
        let finding = "x has a series and said nothing".to_owned();
        assert_eq!(check(&said, &series), Verdict::of(vec![finding]));
        assert!(matches!(check(&BTreeMap::new(), &series), Verdict::Broken { .. }));
    }
}
