//! Waking from other threads.

use super::super::RingHandle;
use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

#[test]
fn no_wake_is_lost_between_looking_and_sleeping() {
    const ROUNDS: u64 = 20_000;
    let mut ring = Ring::new(small()).unwrap();
    let handle = ring.handle();
    let asked = Arc::new(AtomicU64::new(0));
    let (answer, answers) = mpsc::channel();
    let asker = thread::spawn({
        let asked = Arc::clone(&asked);
        move || {
            for round in 1..=ROUNDS {
                asked.store(round, Ordering::Relaxed);
                handle.wake();
                // The ring sleeps without a timeout: a lost wake is a hang, which this turns into a failure.
                let got: u64 = answers.recv_timeout(PATIENCE).expect("the wake was lost");
                assert_eq!(got, round);
            }
        }
    });
    let mut out = Vec::new();
    let mut last = 0;
    while last < ROUNDS {
        ring.submit_and_wait(None, &mut out).unwrap();
        for completion in out.drain(..) {
            assert!(matches!(completion, Completion::Woken));
            last = asked.load(Ordering::Relaxed);
            answer.send(last).unwrap();
        }
    }
    asker.join().unwrap();
}

#[test]
fn wakes_of_many_threads_are_taken_together_but_never_all_missed() {
    const THREADS: u64 = 8;
    const WAKES: u64 = 5_000;
    let mut ring = Ring::new(small()).unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let wakers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (handle, count) = (ring.handle(), Arc::clone(&count));
            thread::spawn(move || {
                for _ in 0..WAKES {
                    count.fetch_add(1, Ordering::Relaxed);
                    handle.wake();
                }
            })
        })
        .collect();
    let mut woken = 0u64;
    run_until(&mut ring, |_, completion| {
        assert!(matches!(completion, Completion::Woken));
        woken += 1;
        count.load(Ordering::Relaxed) == THREADS * WAKES
    });
    wakers.into_iter().for_each(|waker| waker.join().unwrap());
    assert!((1..=THREADS * WAKES).contains(&woken));
}

#[test]
fn a_wake_before_the_turn_is_seen_without_waiting() {
    let mut ring = Ring::new(small()).unwrap();
    ring.handle().wake();
    ring.handle().wake();
    let mut out = Vec::new();
    let start = Instant::now();
    ring.submit_and_wait(Some(PATIENCE), &mut out).unwrap();
    assert!(matches!(out[..], [Completion::Woken]));
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn a_turn_with_nothing_to_report_ends_at_its_timeout() {
    let mut ring = Ring::new(small()).unwrap();
    assert!(run_for(&mut ring, Duration::from_millis(20)).is_empty());
    let start = Instant::now();
    let mut out = Vec::new();
    ring.submit_and_wait(Some(Duration::from_millis(100)), &mut out).unwrap();
    assert!(out.is_empty());
    assert!((90..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    ring.submit_and_wait(Some(Duration::ZERO), &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn a_handle_outlives_its_ring_harmlessly() {
    fn assert_shared<T: Send + Sync + Clone>(_: &T) {}
    let ring = Ring::new(small()).unwrap();
    let handle: RingHandle = ring.handle();
    assert_shared(&handle);
    drop(ring);
    handle.wake();
    handle.wake();
}
