//! The formulas against implementations that are not ours: scipy, river and numpy. The numbers are what
//! `reference_tests.py`, beside this file, prints.

use crate::adwin::{self, Adwin};
use crate::ks;
use crate::page_hinkley::{self, Direction, PageHinkley};
use crate::psi::Histogram;
use crate::sampling::uniform;

fn uniforms(start: u64, count: u64) -> impl Iterator<Item = f64> + Clone {
    (start..start + count).map(uniform)
}

/// Errors of a model: 10 %, from 2,000 on 30 %, from 4,000 on 20 %.
fn errors() -> impl Iterator<Item = f64> {
    (0..6_000).map(|at| {
        let chance = if at < 2_000 {
            0.1
        } else if at < 4_000 {
            0.3
        } else {
            0.2
        };
        if uniform(at) < chance { 1.0 } else { 0.0 }
    })
}

/// A mean that creeps from 0 to 2 and falls back at 3,000.
fn creep() -> impl Iterator<Item = f64> {
    (0..4_000).map(|at| uniform(10_000 + at) + if at < 3_000 { at as f64 / 1_500.0 } else { 0.0 })
}

fn positions(mut update: impl FnMut(f64) -> bool, stream: impl Iterator<Item = f64>) -> Vec<usize> {
    stream.enumerate().filter_map(|(at, value)| update(value).then_some(at)).collect()
}

#[test]
fn the_index_is_that_of_numpy() {
    let close = |reference: &[f64], current: &mut dyn Iterator<Item = f64>, expected: f64| {
        let reference = Histogram::of_quantiles(reference, 10).unwrap();
        let mut now = reference.emptied();
        current.for_each(|value| now.add(value));
        let index = reference.stability(&now, 1e-4).unwrap().unwrap();
        assert!((index - expected).abs() < 1e-12, "{index} {expected}");
    };
    let reference: Vec<f64> = uniforms(0, 1_000).collect();
    let current = uniforms(5_000, 500);
    close(&reference, &mut current.clone(), 0.011343535664672758);
    close(&reference, &mut current.clone().map(|value| value + 0.1), 0.977798314020895);
    close(&reference, &mut current.clone().map(|value| value * 0.5 + 0.25), 3.012662783787864);
    let coarse: Vec<f64> = reference.iter().map(|value| (value * 4.0).floor()).collect();
    close(&coarse, &mut current.map(|value| (value * value * 4.0).floor()), 0.331305269531882);
}

#[test]
fn the_exact_p_value_is_that_of_scipy() {
    for (n, m, shift, statistic, p) in [
        (5, 7, 0.3, 0.5714285714285714, 0.23737373737373738),
        (20, 30, 0.2, 0.4, 0.03452032044186146),
        (100, 80, 0.0, 0.1225, 0.48114567407174985),
        (100, 80, 0.25, 0.3775, 3.825185292645482e-06),
        (1000, 500, 0.05, 0.076, 0.04177637251461382),
        (1000, 1000, 0.02, 0.046, 0.24068202486600215),
    ] {
        let one: Vec<f64> = uniforms(0, n).collect();
        let other: Vec<f64> = uniforms(5_000, m).map(|value| value + shift).collect();
        for found in [ks::test(&one, &other).unwrap(), ks::test(&other, &one).unwrap()] {
            assert!((found.statistic - statistic).abs() < 1e-15, "{n} {m}: {found:?}");
            assert!((found.p_value - p).abs() < 1e-12, "{n} {m}: {found:?}");
        }
    }
    let one: Vec<f64> = uniforms(0, 60).map(|value| (value * 5.0).floor()).collect();
    let other: Vec<f64> = uniforms(5_000, 40).map(|value| (value * 5.0 + 0.5).floor()).collect();
    let ties = ks::test(&one, &other).unwrap();
    assert!((ties.statistic - 0.23333333333333334).abs() < 1e-15, "{ties:?}");
    assert!((ties.p_value - 0.13155488423493572).abs() < 1e-12, "{ties:?}");
}

#[test]
fn the_limit_is_scipy_s_kstwobign() {
    for (shift, statistic, p) in [
        (0.0, 0.01983333333333337, 0.7326766769217932),
        (0.02, 0.030333333333333323, 0.21949026638652122),
        (0.1, 0.11283333333333334, 1.0741038895315136e-13),
    ] {
        let one: Vec<f64> = uniforms(0, 2_000).collect();
        let other: Vec<f64> = uniforms(5_000, 3_000).map(|value| value + shift).collect();
        let found = ks::test(&one, &other).unwrap();
        assert!((found.statistic - statistic).abs() < 1e-15, "{found:?}");
        assert!((found.p_value - p).abs() < 1e-9 * p, "{found:?}");
    }
}

#[test]
fn adwin_finds_what_river_finds() {
    let check = |settings: adwin::Settings, stream: &mut dyn Iterator<Item = f64>| {
        let mut adwin = Adwin::new(settings);
        let found = positions(|value| adwin.update(value), stream);
        (found, adwin.width(), adwin.mean())
    };
    let close = |mean: f64, expected: f64| assert!((mean - expected).abs() < 1e-9, "{mean} {expected}");

    let (found, width, mean) = check(adwin::Settings::default(), &mut errors());
    assert_eq!((found, width), (vec![2111, 2175, 4447], 2224));
    close(mean, 0.20413669064748202);

    let often = adwin::Settings { delta: 0.05, clock: 1, max_buckets: 3, min_window: 1, grace_period: 30 };
    let (found, width, mean) = check(often, &mut errors());
    assert_eq!((found, width), (vec![2035, 2037, 2055, 2071, 2176, 4129, 4427], 2096));
    close(mean, 0.19513358778625955);

    let (found, width, mean) = check(adwin::Settings::default(), &mut creep());
    assert_eq!((found.len(), &found[..6], width), (40, &[511, 543, 607, 671, 767, 863][..], 1008));
    assert_eq!(found[37..], [2847, 2975, 3039]);
    close(mean, 0.5269818598819883);
}

#[test]
fn page_hinkley_finds_what_river_finds() {
    let check = |settings: page_hinkley::Settings, stream: &mut dyn Iterator<Item = f64>| {
        let mut detector = PageHinkley::new(settings);
        positions(|value| detector.update(value), stream)
    };
    let default = page_hinkley::Settings::default();
    assert_eq!(check(default.clone(), &mut errors()), [2174, 4401]);
    let up =
        page_hinkley::Settings { threshold: 20.0, delta: 0.05, direction: Direction::Up, ..default.clone() };
    assert_eq!(check(up, &mut errors()), [2126]);
    let down = page_hinkley::Settings {
        threshold: 10.0,
        delta: 0.01,
        alpha: 1.0,
        direction: Direction::Down,
        ..default.clone()
    };
    assert_eq!(check(down, &mut errors()), [4129, 4371, 4843, 4988, 5686, 5984]);
    let late = page_hinkley::Settings { min_instances: 100, ..default };
    assert_eq!(check(late, &mut creep()), [527, 1091, 1659, 2248, 2751, 3026]);
}
