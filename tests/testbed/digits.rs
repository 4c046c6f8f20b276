//! The handwritten digits, spread over nodes as federated learning meets data: unevenly.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Gamma};

use crate::root;

/// Share of the samples that no trainer sees.
const HELD_OUT: f64 = 0.2;
/// A node with fewer samples than this could not fill a batch.
const FEWEST: usize = 16;

/// Rows of the CSV file, cut up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    heading: String,
    /// One share for each node.
    pub shares: Vec<Vec<String>>,
    /// Held out for evaluation.
    pub test: Vec<String>,
}

/// Cut the digits up: a fifth is held out, and for each class the rest is divided among `nodes` in proportions
/// drawn from Dirichlet(`alpha`), as in Hsu et al. 2019 (arXiv:1909.06335). The smaller `alpha`, the less alike
/// the nodes. The same seed gives the same partition.
pub fn partition(nodes: usize, alpha: f64, seed: u64) -> Result<Partition> {
    let path = root().join("tests/data/digits.csv");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines();
    let heading = lines.next().context("digits.csv is empty")?.to_owned();
    let mut rows: Vec<&str> = lines.collect();
    let mut random = StdRng::seed_from_u64(seed);
    rows.shuffle(&mut random);
    let (test, train) = rows.split_at((rows.len() as f64 * HELD_OUT).round() as usize);
    let shares = loop {
        let shares = draw(train, nodes, alpha, &mut random)?;
        if shares.iter().all(|share| share.len() >= FEWEST) {
            break shares;
        }
    };
    Ok(Partition { heading, shares, test: test.iter().map(|row| (*row).to_owned()).collect() })
}

fn draw(rows: &[&str], nodes: usize, alpha: f64, random: &mut StdRng) -> Result<Vec<Vec<String>>> {
    let gamma = Gamma::new(alpha, 1.0).context("alpha is above zero")?;
    let mut shares = vec![Vec::new(); nodes];
    for class in '0'..='9' {
        // Gamma variates divided by their sum are Dirichlet distributed.
        let weights: Vec<f64> = (0..nodes).map(|_| gamma.sample(random)).collect();
        let sum: f64 = weights.iter().sum();
        for row in rows.iter().filter(|row| row.ends_with(&format!(",{class}"))) {
            let mut at = random.random::<f64>() * sum;
            let node = weights.iter().position(|weight| {
                at -= weight;
                at <= 0.0
            });
            shares[node.unwrap_or(nodes - 1)].push((*row).to_owned());
        }
    }
    Ok(shares)
}

impl Partition {
    /// Write rows as a CSV file.
    pub fn write(&self, rows: &[String], path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let text =
            std::iter::once(&self.heading).chain(rows).fold(String::new(), |text, row| text + row + "\n");
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_exactly_one_place() {
        let partition = partition(10, 0.5, 7).unwrap();
        let mut all: Vec<&String> = partition.shares.iter().flatten().chain(&partition.test).collect();
        let text = fs::read_to_string(root().join("tests/data/digits.csv")).unwrap();
        let mut rows: Vec<&str> = text.lines().skip(1).collect();
        all.sort();
        rows.sort();
        assert_eq!(all, rows);
        assert_eq!(partition.test.len(), 359);
    }

    #[test]
    fn the_same_seed_gives_the_same_partition() {
        assert_eq!(partition(5, 0.5, 1).unwrap(), partition(5, 0.5, 1).unwrap());
        assert_ne!(partition(5, 0.5, 1).unwrap(), partition(5, 0.5, 2).unwrap());
    }
}
