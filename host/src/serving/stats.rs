//! What a service counts: requests, samples, hard ones, and how long answers took in the latest minute.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counters of a service since it began.
#[derive(Default)]
pub(super) struct Stats {
    pub requests: AtomicU64,
    pub failed: AtomicU64,
    pub refused: AtomicU64,
    pub samples: AtomicU64,
    pub hard: AtomicU64,
    pub offloaded: AtomicU64,
    pub offload_failures: AtomicU64,
    latencies: Mutex<Window>,
}

/// Of the latest minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub per_second: f64,
}

/// Slices of the window, and how long each is.
const SLICES: usize = 12;
const SLICE: Duration = Duration::from_secs(5);
/// Buckets of one power of two: the error of a percentile is below one in 16.
const FINE: u64 = 16;
/// 2³² µs is over an hour.
const BUCKETS: usize = 29 * FINE as usize;

struct Window {
    began: Instant,
    /// The slice written last, counted from the beginning.
    latest: u64,
    slices: Vec<[u32; BUCKETS]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { began: Instant::now(), latest: 0, slices: vec![[0; BUCKETS]; SLICES] }
    }
}

impl Stats {
    /// Add to a counter.
    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    /// An answer took so long.
    pub fn took(&self, latency: Duration) {
        let now = Instant::now();
        self.latencies.lock().record(now, latency);
    }

    /// Percentiles and rate of the latest minute.
    pub fn latency(&self) -> Latency {
        self.latencies.lock().summary(Instant::now())
    }
}

impl Window {
    fn record(&mut self, now: Instant, latency: Duration) {
        self.advance(now);
        let slice = (self.latest % SLICES as u64) as usize;
        let count = &mut self.slices[slice][bucket(latency)];
        *count = count.saturating_add(1);
    }

    /// Clear the slices that have passed since the last word.
    fn advance(&mut self, now: Instant) {
        let slice = (now - self.began).as_secs() / SLICE.as_secs();
        let passed = slice.saturating_sub(self.latest).min(SLICES as u64);
        for back in 0..passed {
            self.slices[((slice - back) % SLICES as u64) as usize] = [0; BUCKETS];
        }
        self.latest = self.latest.max(slice);
    }

    fn summary(&mut self, now: Instant) -> Latency {
        self.advance(now);
        let mut sums = [0u64; BUCKETS];
        for slice in &self.slices {
            sums.iter_mut().zip(slice).for_each(|(sum, &count)| *sum += u64::from(count));
        }
        let total: u64 = sums.iter().sum();
        if total == 0 {
            return Latency::default();
        }
        let percentile = |share: f64| {
            let rank = (total as f64 * share).ceil() as u64;
            let mut seen = 0;
            let at = sums.iter().position(|&count| {
                seen += count;
                seen >= rank.max(1)
            });
            upper(at.unwrap_or(BUCKETS - 1))
        };
        let age = (now - self.began).as_secs_f64();
        let open = SLICE.as_secs_f64() * (SLICES - 1) as f64 + age % SLICE.as_secs_f64();
        let seconds = age.min(open).max(1.0);
        Latency {
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            per_second: total as f64 / seconds,
        }
    }
}

/// Where a latency is counted: by its power of two, and in that by its next four bits.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min((1 << 32) - 1);
    if micros < FINE {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2());
    let fine = (micros >> (power - 4)) & (FINE - 1);
    ((power - 3) * FINE + fine) as usize
}

/// The largest latency that is counted there.
fn upper(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    if bucket < FINE {
        return Duration::from_micros(bucket);
    }
    let (power, fine) = (bucket / FINE + 3, bucket % FINE);
    Duration::from_micros(((FINE + fine + 1) << (power - 4)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_counted_where_it_is_not_above_the_bucket_and_near_it() {
        for micros in (0..100_000).chain([1 << 20, 1 << 31, (1 << 32) - 1]) {
            let counted = upper(bucket(Duration::from_micros(micros))).as_micros() as u64;
            assert!(counted >= micros && counted <= micros + micros / 16, "{micros} as {counted}");
        }
        assert!(bucket(Duration::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_are_of_the_latest_minute() {
        let mut window = Window::default();
        let began = window.began;
        for micros in 1..=100 {
            window.record(began, Duration::from_micros(micros));
        }
        let now = window.summary(began);
        assert_eq!((now.p50.as_micros(), now.p90.as_micros()), (51, 91));
        assert_eq!(window.summary(began + Duration::from_secs(54)).p50, now.p50);
        assert_eq!(window.summary(began + Duration::from_secs(60)), Latency::default());
        window.record(began + Duration::from_secs(600), Duration::from_micros(7));
        assert_eq!(window.summary(began + Duration::from_secs(601)).p99.as_micros(), 7);
    }
}
