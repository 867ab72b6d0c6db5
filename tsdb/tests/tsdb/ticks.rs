//! Ticks to test with: as chargers send them, and as nobody would.

use novax_model::{MeterTick, Timestamp};
use novax_tsdb::{Flags, Remark};
use proptest::prelude::*;

/// A small generator of noise, so that series look real and are the same each time.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between `-spread` and `spread`.
    pub(crate) fn around(&mut self, spread: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let span = (2 * spread + 1).cast_unsigned();
        ((self.0 >> 33) % span).cast_signed() - spread
    }
}

/// A car at 11 kW, a tick each five seconds: all six values, stamps jittered by some milliseconds.
pub(crate) fn steady_charging(count: usize) -> Vec<MeterTick> {
    let mut noise = Noise::new(7);
    let mut energy_millis = 1_234_567_000_i64;
    (0_i64..)
        .take(count)
        .map(|n| {
            let voltage = 2_301 + noise.around(8);
            let current = 1_600 + noise.around(5);
            let power = voltage * current * 3 / 1_000;
            energy_millis += power * 5_000 / 3_600;
            let at_ms = 1_795_353_264_000 + n * 5_000 + noise.around(15);
            let temperature = 352 + n / 40;
            let soc = 400 + n / 9;
            let values =
                [voltage, current, power, energy_millis / 1_000, temperature, soc].map(Some);
            MeterTick { at: Timestamp::from_millis(at_ms.cast_unsigned()), values }
        })
        .collect()
}

fn any_value() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        3 => (-1_000_i64..1_000).prop_map(Some),
        2 => any::<i64>().prop_map(Some),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1)].prop_map(Some),
        2 => Just(None),
    ]
}

fn any_stamp() -> impl Strategy<Value = u64> {
    let near = 1_795_353_264_000_000_u64;
    prop_oneof![
        4 => (0_u64..1_000_000).prop_map(move |n| near + n * 1_000),
        2 => (0_u64..1_000).prop_map(move |n| near + n * 1_000_000),
        2 => any::<u64>(),
        1 => prop_oneof![Just(0_u64), Just(1), Just(u64::MAX), Just(u64::MAX - 1)],
    ]
}

pub(crate) fn any_tick() -> impl Strategy<Value = MeterTick> {
    (any_stamp(), prop::array::uniform6(any_value()))
        .prop_map(|(at, values)| MeterTick { at: Timestamp(at), values })
}

/// Stamps increase; each column has a habit of its own.
pub(crate) fn any_series() -> impl Strategy<Value = Vec<MeterTick>> {
    let habit = prop_oneof![
        2 => Just(0_u8), // as it comes
        1 => Just(1_u8), // always there
        1 => Just(2_u8), // never there
        1 => Just(3_u8), // constant
    ];
    (prop::collection::vec(any_tick(), 1..300), prop::array::uniform6(habit)).prop_map(
        |(mut ticks, habits)| {
            ticks.sort_by_key(|tick| tick.at);
            ticks.dedup_by_key(|tick| tick.at);
            for tick in &mut ticks {
                for (value, habit) in tick.values.iter_mut().zip(habits) {
                    *value = match habit {
                        1 => Some(value.unwrap_or(17)),
                        2 => None,
                        3 => Some(-3),
                        _ => *value,
                    };
                }
            }
            ticks
        },
    )
}

/// On the first row: whoever uses it says which.
pub(crate) fn any_remark() -> impl Strategy<Value = Remark> {
    (any::<u16>(), prop::option::of(any_stamp()), prop::array::uniform6(any_value())).prop_map(
        |(flags, raw_at, raw)| Remark {
            row: 0,
            flags: Flags(flags),
            raw_at: raw_at.map(Timestamp),
            raw,
        },
    )
}
