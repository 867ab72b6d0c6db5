//! Sampled values as ticks, from payloads as stations send them.

use novax_model::{Measurand, Timestamp, WattHours};
use novax_wire::ocpp::meter::{MeterError, Readings, readings_v16, readings_v201};
use novax_wire::ocpp::{parse_payload, v16, v201};
use proptest::prelude::*;

const AT: &str = "2026-11-22T13:14:24Z";

/// The readings of one 1.6 meter value with these samples.
fn v16(samples: &str) -> Readings {
    let payload = format!(r#"{{"timestamp":"{AT}","sampledValue":[{samples}]}}"#);
    let value: v16::MeterValue<'_> = parse_payload(&payload).expect(samples);
    readings_v16(&[value])
}

fn v201(samples: &str) -> Readings {
    let payload = format!(r#"{{"timestamp":"{AT}","sampledValue":[{samples}]}}"#);
    let value: v201::MeterValue<'_> = parse_payload(&payload).expect(samples);
    readings_v201(&[value])
}

/// The values of the only tick: voltage, current, power, energy, temperature, state of charge.
#[track_caller]
fn check(readings: &Readings, expected: [Option<i64>; 6]) {
    assert_eq!((readings.junk, readings.first_junk), (0, None));
    let values: Vec<_> = readings.ticks.iter().map(|tick| tick.values).collect();
    if expected == [None; 6] {
        assert_eq!(values, [[None; 6]; 0]);
    } else {
        assert_eq!(values, [expected]);
        assert_eq!(readings.ticks[0].at, Timestamp::parse_rfc3339(AT).unwrap());
    }
}

#[track_caller]
fn check_one(sample: &str, measurand: Measurand, expected: i64) {
    let readings = v16(sample);
    let found = readings.ticks.first().and_then(|tick| tick.get(measurand));
    assert_eq!(found, Some(expected), "{sample}: {readings:?}");
}

#[test]
fn a_sample_without_a_name_is_the_energy_register_in_watt_hours() {
    check(&v16(r#"{"value":"1500"}"#), [None, None, None, Some(1500), None, None]);
    check(&v201(r#"{"value":1500.4}"#), [None, None, None, Some(1500), None, None]);
}

#[test]
fn units_are_converted_exactly() {
    let energy = r#""measurand":"Energy.Active.Import.Register""#;
    check_one(
        &format!(r#"{{"value":"12.3456",{energy},"unit":"kWh"}}"#),
        Measurand::Energy,
        12_346,
    );
    check_one(&format!(r#"{{"value":"1.2e3",{energy}}}"#), Measurand::Energy, 1_200);
    check_one(
        r#"{"value":"11.04","measurand":"Power.Active.Import","unit":"kW"}"#,
        Measurand::Power,
        11_040,
    );
    check_one(r#"{"value":"229.95","measurand":"Voltage","unit":"V"}"#, Measurand::Voltage, 2_300);
    check_one(r#"{"value":"15.999","measurand":"Current.Import"}"#, Measurand::Current, 1_600);
    check_one(r#"{"value":"55.5","measurand":"SoC","unit":"Percent"}"#, Measurand::Soc, 555);
    let temperature = r#""measurand":"Temperature""#;
    check_one(
        &format!(r#"{{"value":"21.46",{temperature},"unit":"Celcius"}}"#),
        Measurand::Temperature,
        215,
    );
    check_one(
        &format!(r#"{{"value":"-4",{temperature},"unit":"Fahrenheit"}}"#),
        Measurand::Temperature,
        -200,
    );
    check_one(
        &format!(r#"{{"value":"300","unit":"K",{temperature}}}"#),
        Measurand::Temperature,
        269,
    );
    let multiplied = r#"{"value":1.5,"unitOfMeasure":{"unit":"Wh","multiplier":3}}"#;
    check(&v201(multiplied), [None, None, None, Some(1500), None, None]);
}

#[test]
fn phases_are_averaged_summed_or_the_largest_by_quantity() {
    let phased = |measurand: &str, values: [&str; 3], suffix: &str| {
        let sample = |line: usize| {
            let value = values[line];
            let phase = line + 1;
            format!(r#"{{"value":"{value}","measurand":"{measurand}","phase":"L{phase}{suffix}"}}"#)
        };
        [sample(0), sample(1), sample(2)].join(",")
    };
    let samples = [
        phased("Voltage", ["230", "231", "233"], "-N"),
        phased("Current.Import", ["16", "15.5", "10"], ""),
        phased("Power.Active.Import", ["3680", "3580", "2330"], ""),
        phased("Energy.Active.Import.Register", ["1000", "1001", "1002"], ""),
        r#"{"value":"400","measurand":"Voltage","phase":"L1-L2"}"#.to_owned(),
        r#"{"value":"2","measurand":"Current.Import","phase":"N"}"#.to_owned(),
    ]
    .join(",");
    let expected = [Some(2313), Some(1600), Some(9590), Some(3003), None, None];
    check(&v16(&samples), expected);
    let total = r#"{"value":"9600","measurand":"Power.Active.Import"}"#;
    let with_total = [Some(2313), Some(1600), Some(9600), Some(3003), None, None];
    check(&v16(&format!("{samples},{total}")), with_total);
    check(&v16(r#"{"value":"400","measurand":"Voltage","phase":"L1-L2"}"#), [None; 6]);
}

#[test]
fn the_outlet_wins_and_other_places_fill_in() {
    let inlet = r#"{"value":"9000","measurand":"Power.Active.Import","location":"Inlet"}"#;
    let outlet = r#"{"value":"7000","measurand":"Power.Active.Import","location":"Outlet"}"#;
    let soc = r#"{"value":"80","measurand":"SoC","location":"EV"}"#;
    let expected = [None, None, Some(7000), None, None, Some(800)];
    check(&v16(&[outlet, inlet, soc].join(",")), expected);
    check(&v16(&[inlet, outlet, soc].join(",")), expected);
    check(&v16(inlet), [None, None, Some(9000), None, None, None]);
}

#[test]
fn feeding_the_grid_is_negative() {
    let import = |value| format!(r#"{{"value":"{value}","measurand":"Power.Active.Import"}}"#);
    let export = |value| format!(r#"{{"value":"{value}","measurand":"Power.Active.Export"}}"#);
    let power = |readings: Readings| readings.ticks[0].get(Measurand::Power);
    assert_eq!(power(v16(&export("5000"))), Some(-5000));
    assert_eq!(power(v16(&format!("{},{}", import("0"), export("5000")))), Some(-5000));
    assert_eq!(power(v16(&format!("{},{}", import("70"), export("0")))), Some(70));
    assert_eq!(power(v16(&format!("{},{}", import("0"), export("0")))), Some(0));
}

#[test]
fn quantities_we_do_not_keep_are_passed_over_without_a_complaint() {
    let samples = [
        r#"{"value":"50","measurand":"Frequency","unit":"Hertz"}"#,
        r#"{"value":"32","measurand":"Current.Offered","unit":"A"}"#,
        r#"{"value":"1","measurand":"Energy.Active.Import.Interval"}"#,
        r#"{"value":"AP;0;3;...","format":"SignedData"}"#,
    ];
    check(&v16(&samples.join(",")), [None; 6]);
}

#[test]
fn junk_costs_only_itself() {
    let readings = v16(r#"{"value":"NaN"},{"value":"5","measurand":"Voltage","unit":"A"},
           {"value":"1e40","measurand":"SoC"},{"value":"16","measurand":"Current.Import"}"#);
    assert_eq!(readings.junk, 3);
    assert_eq!(readings.first_junk, Some(MeterError::Value));
    assert_eq!(readings.ticks[0].values, [None, Some(1600), None, None, None, None]);
    let multiplied = v201(r#"{"value":1,"unitOfMeasure":{"multiplier":2147483647}}"#);
    assert_eq!((multiplied.junk, multiplied.first_junk), (1, Some(MeterError::Range)));
}

#[test]
fn a_transactions_begin_and_end_are_found_by_context() {
    let payload = r#"[
        {"timestamp":"2026-11-22T13:00:00Z","sampledValue":[
            {"value":"1.5","unit":"kWh","context":"Transaction.Begin"},
            {"value":"9","context":"Transaction.Begin","measurand":"Voltage"}]},
        {"timestamp":"2026-11-22T13:30:00Z","sampledValue":[{"value":"5000","context":"Sample.Periodic"}]},
        {"timestamp":"2026-11-22T14:00:00Z","sampledValue":[
            {"value":"8000","context":"Transaction.End","location":"Inlet"},
            {"value":"7999","context":"Transaction.End"}]},
        {"timestamp":"2026-11-22T14:00:00Z","sampledValue":[{"value":"230","measurand":"Voltage"}]}]"#;
    let values: Vec<v16::MeterValue<'_>> = parse_payload(payload).unwrap();
    let readings = readings_v16(&values);
    assert_eq!(readings.meter_start, Some(WattHours(1500)));
    assert_eq!(readings.meter_stop, Some(WattHours(7999)));
    let energy: Vec<_> =
        readings.ticks.iter().map(|tick| tick.get(Measurand::Energy).unwrap()).collect();
    assert_eq!(energy, [1500, 5000, 7999], "elements of one moment make one tick");
    assert_eq!(readings.ticks[2].get(Measurand::Voltage), Some(2300));
}

proptest! {
    #[test]
    fn any_sample_is_a_value_or_junk(
        value in "[0-9.eE+-]{0,12}",
        measurand in prop::sample::select(vec!["Voltage", "Temperature", "SoC", "Power.Active.Export", ""]),
        unit in prop::sample::select(vec!["", "V", "kW", "K", "Fahrenheit", "Percent"]),
        multiplier in any::<i32>(),
        phase in prop::sample::select(vec!["", "L1", "L2-N", "L1-L2", "x"]),
    ) {
        let samples = format!(
            r#"{{"value":"{value}","measurand":"{measurand}","phase":"{phase}",
                "unitOfMeasure":{{"unit":"{unit}","multiplier":{multiplier}}}}}"#
        );
        let readings = v201(&samples);
        prop_assert!(readings.ticks.len() + readings.junk as usize <= 1);
    }
}
