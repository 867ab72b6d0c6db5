//! What a division of power promises.

use novax_model::Watts;
use novax_scheduler::{Demand, share};
use proptest::prelude::*;

fn demand(min: i64, max: Option<i64>) -> Demand {
    Demand { max: max.map(Watts), min: Watts(min) }
}

#[track_caller]
fn check(limit: i64, demands: &[(i64, Option<i64>)], expected: &[i64]) {
    let demands: Vec<Demand> = demands.iter().map(|(min, max)| demand(*min, *max)).collect();
    let found: Vec<i64> = share(Watts(limit), &demands).iter().map(|share| share.0).collect();
    assert_eq!(found, expected);
}

#[test]
fn nobody_asks_nobody_gets() {
    check(22_000, &[], &[]);
}

#[test]
fn one_alone_has_all_it_can_take() {
    check(22_000, &[(1_380, None)], &[22_000]);
    check(22_000, &[(1_380, Some(11_000))], &[11_000]);
}

#[test]
fn equals_share_equally_and_odd_watts_go_to_the_first() {
    check(22_000, &[(1_380, None), (1_380, None)], &[11_000, 11_000]);
    check(100, &[(0, None), (0, None), (0, None)], &[34, 33, 33]);
    check(101, &[(0, None), (0, None), (0, None)], &[34, 34, 33]);
}

#[test]
fn what_one_cannot_take_the_others_have() {
    check(22_000, &[(0, Some(3_700)), (0, None), (0, Some(11_000))], &[3_700, 9_150, 9_150]);
    // An odd watt passes over whoever is at its maximum.
    check(10, &[(0, Some(3)), (0, None), (0, None)], &[3, 4, 3]);
    check(11, &[(0, Some(3)), (0, None), (0, None)], &[3, 4, 4]);
}

#[test]
fn a_limit_wide_enough_binds_nobody() {
    check(100_000, &[(0, Some(11_000)), (0, Some(22_000))], &[11_000, 22_000]);
}

#[test]
fn a_minimum_above_the_even_share_is_given_in_full() {
    check(10_000, &[(6_000, None), (1_000, None), (1_000, None)], &[6_000, 2_000, 2_000]);
}

#[test]
fn when_the_minimums_do_not_fit_the_later_ones_wait() {
    check(4_000, &[(1_380, None), (1_380, None), (1_380, None)], &[2_000, 2_000, 0]);
    // A small one does not jump the queue.
    check(4_000, &[(3_000, None), (3_000, None), (500, None)], &[4_000, 0, 0]);
    check(1_000, &[(1_380, None), (0, None)], &[0, 0]);
}

#[test]
fn who_wants_nothing_takes_nobodys_place() {
    check(2_000, &[(1_380, Some(0)), (1_380, None)], &[0, 2_000]);
}

#[test]
fn limits_and_demands_below_zero_count_as_zero() {
    check(-5, &[(0, None), (1_380, None)], &[0, 0]);
    check(100, &[(-7, Some(-1)), (-7, None)], &[0, 100]);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let all = i64::MAX;
    check(all, &[(0, None), (0, None)], &[all / 2 + 1, all / 2]);
    check(all, &[(all, None), (all, None)], &[all, 0]);
    check(all, &[(0, Some(all)), (all, Some(all))], &[0, all]);
}

fn any_demands() -> impl Strategy<Value = Vec<Demand>> {
    let max = prop_oneof![1 => Just(None), 4 => (0_i64..30_000).prop_map(Some)];
    let min = prop_oneof![1 => Just(0), 2 => 0_i64..5_000];
    prop::collection::vec((min, max).prop_map(|(min, max)| demand(min, max)), 0..24)
}

/// Bounds of a share as the documentation gives them.
fn bounds(demand: &Demand) -> (i64, i64) {
    let max = demand.max.map_or(i64::MAX, |max| max.0);
    (demand.min.0.min(max), max)
}

/// How many from the front have their minimum.
fn count_served(limit: i64, demands: &[Demand]) -> usize {
    let mut left = limit;
    for (place, demand) in demands.iter().enumerate() {
        left -= bounds(demand).0;
        if left < 0 {
            return place;
        }
    }
    demands.len()
}

/// Gives one watt at a time to whoever has least and can take more; the first among equals.
fn watt_by_watt(limit: i64, demands: &[Demand]) -> Vec<i64> {
    let served = count_served(limit, demands);
    let mut shares: Vec<i64> = demands[..served].iter().map(|demand| bounds(demand).0).collect();
    let mut left = limit - shares.iter().sum::<i64>();
    while left > 0 {
        let open = (0..served).filter(|place| shares[*place] < bounds(&demands[*place]).1);
        let Some(least) = open.min_by_key(|place| (shares[*place], *place)) else { break };
        shares[least] += 1;
        left -= 1;
    }
    shares.resize(demands.len(), 0);
    shares
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_limit_and_each_bound_are_kept_and_nothing_is_wasted(
        limit in 0_i64..300_000, demands in any_demands(),
    ) {
        let shares = share(Watts(limit), &demands);
        prop_assert_eq!(shares.len(), demands.len());
        let sum: i64 = shares.iter().map(|share| share.0).sum();
        prop_assert!(sum <= limit);
        let served = count_served(limit, &demands);
        for (place, (share, demand)) in shares.iter().zip(&demands).enumerate() {
            let (min, max) = bounds(demand);
            if place < served {
                prop_assert!((min..=max).contains(&share.0));
            } else {
                prop_assert_eq!(share.0, 0);
            }
        }
        let is_sated = |(share, demand): (&Watts, &Demand)| share.0 == bounds(demand).1;
        let all_sated = shares.iter().zip(&demands).take(served).all(is_sated);
        prop_assert!(sum == limit || all_sated, "power is left while somebody could take it");
    }

    #[test]
    fn no_share_can_grow_but_at_the_cost_of_a_smaller_one(
        limit in 0_i64..300_000, demands in any_demands(),
    ) {
        let shares = share(Watts(limit), &demands);
        let served = count_served(limit, &demands);
        for (poor, demand) in shares.iter().zip(&demands).take(served) {
            if poor.0 == bounds(demand).1 {
                continue;
            }
            for (rich, demand) in shares.iter().zip(&demands).take(served) {
                // Whoever has more than one watt above somebody unsated has it as a minimum.
                prop_assert!(rich.0 <= poor.0 + 1 || rich.0 == bounds(demand).0);
            }
        }
    }

    #[test]
    fn shares_are_those_of_watt_by_watt(
        limit in 0_i64..400,
        demands in prop::collection::vec(
            (0_i64..40, prop_oneof![Just(None), (0_i64..120).prop_map(Some)])
                .prop_map(|(min, max)| demand(min, max)),
            0..10,
        ),
    ) {
        let found: Vec<i64> = share(Watts(limit), &demands).iter().map(|share| share.0).collect();
        prop_assert_eq!(found, watt_by_watt(limit, &demands));
    }

    #[test]
    fn a_wider_limit_takes_nothing_from_anybody_already_served(
        limit in 0_i64..300_000, more in 0_i64..50_000, mut demands in any_demands(),
    ) {
        // Only while no newcomer is let in: its minimum is taken from those before it.
        demands.truncate(count_served(limit, &demands));
        let (before, after) = (share(Watts(limit), &demands), share(Watts(limit + more), &demands));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(before <= after);
        }
    }
}
