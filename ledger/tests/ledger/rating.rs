//! What any tariff and any split keep to.

use novax_ledger::{SplitRule, Tariff};
use novax_model::{Currency, WattHours};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_split_loses_nothing_and_is_fair_to_a_minor_unit(
        site in 0_u32..=10_000, rest in 0_u32..=10_000, net in any::<u128>(), small in any::<bool>(),
    ) {
        let net = if small { net % 100_000 } else { net };
        let platform = rest.min(10_000 - site);
        let rule = SplitRule { site_host_basis_points: site, platform_basis_points: platform };
        let shares = rule.split(net);
        prop_assert_eq!(shares.site_host + shares.operator + shares.platform, net);
        if small {
            for (share, points) in [
                (shares.site_host, site),
                (shares.platform, platform),
                (shares.operator, 10_000 - site - platform),
            ] {
                // Less than one minor unit from the exact share.
                let exact = net * u128::from(points);
                prop_assert!((share * 10_000).abs_diff(exact) < 10_000);
            }
        }
    }

    #[test]
    fn any_tariff_rates_any_energy_without_panic(
        price in any::<u64>(), fee in any::<u128>(), tax in any::<u32>(), energy in any::<i64>(),
    ) {
        let tariff = Tariff {
            currency: Currency::EUR,
            energy_millis_per_kwh: price,
            session_fee: fee,
            tax_basis_points: tax,
            hold: 0,
        };
        let charges = tariff.rate(WattHours(energy));
        prop_assert_eq!(charges.total(), charges.energy + charges.fee + charges.tax);
    }

    #[test]
    fn more_energy_never_costs_less(
        price in 0_u64..1_000_000, a in 0_i64..1_000_000, b in 0_i64..1_000_000,
    ) {
        let tariff = Tariff {
            currency: Currency::EUR,
            energy_millis_per_kwh: price,
            session_fee: 50,
            tax_basis_points: 1_900,
            hold: 0,
        };
        let (less, more) = (tariff.rate(WattHours(a.min(b))), tariff.rate(WattHours(a.max(b))));
        prop_assert!(less.total() <= more.total());
        // Rounded once: within half a minor unit of the exact price.
        let exact = u128::from(price) * u128::from(a.max(b).cast_unsigned());
        prop_assert!((more.energy * 1_000_000).abs_diff(exact) <= 500_000);
    }
}
