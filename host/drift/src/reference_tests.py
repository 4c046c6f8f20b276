"""Prints the numbers that `reference_tests.rs` compares to, by implementations that are not ours:
`pip install scipy==1.17.1 river==0.26.1 numpy==2.4.6`, then `python reference_tests.py`.

The streams are made of SplitMix64, as `reference_tests.rs` makes them, so that no data need be kept.
"""

import numpy as np
from river._river_rust.drift import AdaptiveWindowing  # what river.drift.ADWIN wraps, and clears after drift
from river.drift import PageHinkley
from scipy import stats

MASK = (1 << 64) - 1


def uniform(at):
    state = (at + 1) * 0x9E3779B97F4A7C15 & MASK
    mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & MASK
    return ((mixed ^ mixed >> 31) >> 11) / (1 << 53)


def uniforms(start, count):
    return np.array([uniform(start + i) for i in range(count)])


def errors(at, chance):
    return 1.0 if uniform(at) < chance else 0.0


# Errors of a model: 10 %, from 2,000 on 30 %, from 4,000 on 20 %.
ERRORS = [errors(i, 0.1 if i < 2000 else 0.3 if i < 4000 else 0.2) for i in range(6000)]
# A mean that creeps from 0 to 2 and falls back at 3,000.
CREEP = [uniform(10_000 + i) + (i / 1500 if i < 3000 else 0.0) for i in range(4000)]


def psi(reference, current, bins, smoothing):
    """Numpy's own quantiles and digitize; bins closed above, one more below the smallest and above the largest."""
    edges = np.unique(np.quantile(reference, np.arange(1, bins) / bins).tolist() + [reference.max()])

    def shares(values):
        place = np.where(values < reference.min(), 0, 1 + np.digitize(values, edges, right=True))
        share = np.bincount(place, minlength=len(edges) + 2) / len(values)
        return (share + smoothing) / (1 + smoothing * len(share))

    p, q = shares(reference), shares(current)
    return float(np.sum((q - p) * np.log(q / p)))


print("psi")
reference = uniforms(0, 1000)
for name, current in {
    "same": uniforms(5000, 500),
    "shifted": uniforms(5000, 500) + 0.1,
    "narrower": uniforms(5000, 500) * 0.5 + 0.25,
}.items():
    print(f"  {name} {psi(reference, current, 10, 1e-4)!r}")
coarse = np.floor(reference * 4)
print(f"  discrete {psi(coarse, np.floor(uniforms(5000, 500) ** 2 * 4), 10, 1e-4)!r}")

print("ks, exact")
for n, m, shift in [(5, 7, 0.3), (20, 30, 0.2), (100, 80, 0.0), (100, 80, 0.25), (1000, 500, 0.05), (1000, 1000, 0.02)]:
    one, other = uniforms(0, n), uniforms(5000, m) + shift
    result = stats.ks_2samp(one, other, method="exact")
    print(f"  {n} {m} {shift} {float(result.statistic)!r} {float(result.pvalue)!r}")
print("ks, with ties")
one, other = np.floor(uniforms(0, 60) * 5), np.floor(uniforms(5000, 40) * 5 + 0.5)
result = stats.ks_2samp(one, other, method="exact")
print(f"  {float(result.statistic)!r} {float(result.pvalue)!r}")
print("ks, limit: scipy's own kstwobign at the statistic of ks_2samp")
for n, m, shift in [(2000, 3000, 0.0), (2000, 3000, 0.02), (2000, 3000, 0.1)]:
    one, other = uniforms(0, n), uniforms(5000, m) + shift
    statistic = stats.ks_2samp(one, other, method="asymp").statistic
    p = stats.kstwobign.sf(np.sqrt(n * m / (n + m)) * statistic)
    print(f"  {n} {m} {shift} {float(statistic)!r} {float(p)!r}")

print("adwin: values counted from 0 at which it finds drift, then width and mean at the end")
for name, stream, settings in [
    ("errors", ERRORS, dict(delta=0.002, clock=32, max_buckets=5, min_window_length=5, grace_period=10)),
    ("errors, each value", ERRORS, dict(delta=0.05, clock=1, max_buckets=3, min_window_length=1, grace_period=30)),
    ("creep", CREEP, dict(delta=0.002, clock=32, max_buckets=5, min_window_length=5, grace_period=10)),
]:
    adwin = AdaptiveWindowing(**settings)
    found = [i for i, value in enumerate(stream) if adwin.update(value)]
    width = int(adwin.get_width())
    print(f"  {name}: {len(found)} {found[:6]} {found[-3:]} {width} {float(adwin.get_total() / width)!r}")

print("page-hinkley: values counted from 0 at which it finds drift")
for name, stream, settings in [
    ("errors", ERRORS, dict(threshold=50.0)),
    ("errors, up", ERRORS, dict(threshold=20.0, delta=0.05, mode="up")),
    ("errors, down", ERRORS, dict(threshold=10.0, delta=0.01, alpha=1.0, mode="down")),
    ("creep", CREEP, dict(threshold=50.0, min_instances=100)),
]:
    detector, found = PageHinkley(**settings), []
    for i, value in enumerate(stream):
        detector.update(value)
        if detector.drift_detected:
            found.append(i)
    print(f"  {name}: {found}")
