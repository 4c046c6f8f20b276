//! What goes to whom: the edge's outputs to the cloud, and requests that come together as one batch to the plugin.

use std::sync::Barrier;

use anyhow::Result;
use sedge_client::{Answer, Tensor};
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, service};
use sedge_testbed::{Built, Platform};

use super::{MINING, PATIENT, QUICK, change, serving};

const EDGE: &str = "plugin: onnx-inferencer:0.1.0\n    model: digits-small:1";
const CLOUD: &str = "plugin: onnx-inferencer:0.1.0\n    model: digits-large:1";
/// A plugin that answers with what it is asked.
const ECHO: &str = "plugin: faulty-inferencer:0.1.0\n    parameters: {echo: true}";

/// Ask so many at once, each about a sample of two numbers that is its own.
fn at_once(platform: &Platform, requests: u16) -> Result<Vec<Result<Answer, sedge_client::Error>>> {
    let barrier = Barrier::new(requests.into());
    std::thread::scope(|scope| {
        let asked = (0..requests).map(|request| {
            let client = platform.client("edge-1")?;
            let barrier = &barrier;
            Ok(scope.spawn(move || {
                let x = Tensor::new(&[1, 2], &[f32::from(request), 0.5])?;
                barrier.wait();
                client.infer("digits", &[("x", x)], PATIENCE)
            }))
        });
        let asked: Vec<_> = asked.collect::<Result<_>>()?;
        let answers = asked.into_iter().map(|it| it.join().map_err(|_| anyhow::anyhow!("a client broke")));
        answers.collect()
    })
}

#[test]
fn the_cloud_goes_on_from_outputs_and_requests_are_computed_as_one() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &(service(&[])? + QUICK))?;
    platform.push_plugins(&["faulty-inferencer"])?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let sample = &digits.samples[0];

    // A cloud that answers with what it was sent: the input, or what the edge's model made of it.
    let all = (MINING, "miner: always");
    change(&platform, &(service(&[all, (CLOUD, ECHO), PATIENT])? + QUICK))?;
    let inputs = ask(&client, "digits", sample)?;
    assert_eq!(inputs.output("x")?.elements::<f32>()?, *sample);
    let outputs = ("cloudAbsent: edge", "cloudAbsent: edge, send: outputs");
    change(&platform, &(service(&[all, (CLOUD, ECHO), PATIENT, outputs])? + QUICK))?;
    let sent = ask(&client, "digits", sample)?;
    assert_eq!(sent.answered_by.as_deref(), Some("cloud"));
    assert_eq!(sent.output("probabilities")?.shape(), [1, 10]);

    // Eight requests are one call: the plugin fails at its second. Each has its own answer out of it.
    let once = "plugin: faulty-inferencer:0.1.0\n    parameters: {echo: true, fault: error, at: 2}\n    \
                batching: {maxBatch: 8, maxDelay: 10s}";
    let batched = [
        (EDGE, once),
        (MINING, "miner: never"),
        ("minimum: 1, maximum: 2}\n  cloud", "maximum: 1}\n  cloud"),
    ];
    change(&platform, &(service(&batched)? + "  rollout: {probation: 500ms, errorBudget: 1}\n"))?;
    for (request, answer) in (0..).zip(at_once(&platform, 8)?) {
        assert_eq!(answer?.output("x")?.elements::<f32>()?, [request as f32, 0.5]);
    }
    let failed = at_once(&platform, 8)?;
    assert!(
        failed.iter().all(|answer| matches!(answer, Err(sedge_client::Error::Internal(_)))),
        "{failed:?}"
    );
    Ok(())
}
