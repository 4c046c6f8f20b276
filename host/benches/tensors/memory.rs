//! What a process holds when it computes a case: measured in one of its own, for memory that an earlier case gave back
//! stays with a process.

use std::process::Command;

use super::cases::Case;
use super::ways::Bench;

/// The first argument of such a process.
pub const WORD: &str = "held";
/// Calls after which all that stays has been allocated.
const CALLS: usize = 20;

/// Most bytes that the graph, its weights and its calls took, beside what a process has that computes nothing; `None`
/// where the system does not tell.
pub fn of(case: &Case, engine: &str, way: &str) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let output = Command::new(this).args([WORD, case.name, engine, way]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// What such a process does: it prints the bytes.
pub fn child(case: &Case, engine: &str, way: &str) {
    let bench = Bench::new();
    let before = peak();
    let ready = bench.ready(case, engine).unwrap_or_else(|reason| panic!("{reason}"));
    let way = if way == "guest" { ready.guest() } else { ready.direct() };
    way.run(&bench, CALLS);
    if let (Some(before), Some(after)) = (before, peak()) {
        println!("{}", after.saturating_sub(before));
    }
}

/// The most memory that this process has held, in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}
