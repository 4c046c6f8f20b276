//! Ask a node's service about handwritten digits, one by one, and count who answered:
//! `cargo run -p sedge-client --example digits -- [URL] [SERVICE]` (http://127.0.0.1:7501 digits).
//!
//! The digits are those that the example's models were not trained on: every fourth of tests/data/digits.csv.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use sedge_client::{Client, Tensor};

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/digits.csv");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:7501".to_owned());
    let service = arguments.next().unwrap_or_else(|| "digits".to_owned());
    let client = Client::new(&url)?;
    let (mut answered, mut asked, mut hard, mut right) = (BTreeMap::<String, u32>::new(), 0, 0, 0);
    for line in std::fs::read_to_string(DIGITS)?.lines().skip(1).skip(3).step_by(4) {
        let numbers = line.split(',').map(str::parse).collect::<Result<Vec<f32>, _>>()?;
        let (label, pixels) = numbers.split_last().ok_or("a line without numbers")?;
        let x = Tensor::new(&[1, pixels.len() as u64], pixels)?;
        let answer = client.infer(&service, &[("x", x)], Duration::from_secs(1))?;
        let probabilities = answer.output("probabilities")?.elements::<f32>()?;
        let likeliest =
            (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
        asked += 1;
        right += u32::from(likeliest == Some(*label as usize));
        hard += u32::from(answer.hard);
        *answered.entry(answer.answered_by.unwrap_or_else(|| "somebody".to_owned())).or_default() += 1;
    }
    println!("{asked} digits: {:.1} % right, {hard} hard", 100.0 * f64::from(right) / f64::from(asked));
    for (who, count) in answered {
        println!("  answered by {who}: {count}");
    }
    Ok(())
}
