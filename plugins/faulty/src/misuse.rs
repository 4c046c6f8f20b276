//! Calls that the host must refuse, each with a reason that helps. What it says is printed: `CALL: REASON`.

use sedge_sdk::bindings::capabilities::wasi::nn::graph;
use sedge_sdk::dataset::{self, Batching, Split};
use sedge_sdk::{Error, Graph, NamedTensor, Tensor, TensorType, Weights};

pub fn all(start: &Weights) {
    let load = graph::load(&[b"a graph".to_vec()], graph::GraphEncoding::Onnx, graph::ExecutionTarget::Cpu);
    print("load", load.map_err(Error::from));
    print("unknown graph", Graph::load("nowhere"));
    print("bind to unknown graph", Graph::bind(start, "nowhere"));
    print("bind to graph without weights", Graph::bind(start, "sedge:lerp"));

    let one = || Tensor::scalar(1.0);
    let f32s = |shape: &[u32]| {
        Tensor::new(shape, TensorType::Fp32, &vec![0; 4 * shape.iter().product::<u32>() as usize])
    };
    print("overflowing size", lerp(vec![("x", Tensor::new(&[u32::MAX; 4], TensorType::Fp32, &[0; 4]))]));
    print("short bytes", lerp(vec![("x", Tensor::new(&[2, 3], TensorType::Fp32, &[0; 23]))]));
    print("many dimensions", lerp(vec![("x", Tensor::new(&[1; 33], TensorType::Fp32, &[0; 4]))]));
    print("wrong name", lerp(vec![("z", one())]));
    print("missing input", lerp(vec![("x", one()), ("t", one())]));
    print("given twice", lerp(vec![("x", one()), ("x", one())]));
    print(
        "wrong type",
        lerp(vec![("x", Tensor::new(&[1], TensorType::Fp16, &[0; 2])), ("y", one()), ("t", one())]),
    );
    print("wrong shape", lerp(vec![("x", f32s(&[2, 3])), ("y", f32s(&[3, 2])), ("t", one())]));

    let batching = |size| Batching { size, shuffle: None };
    print("unknown dataset", dataset::read("nowhere", Split::All, batching(1)));
    print("empty batches", dataset::read("train", Split::All, batching(0)));
}

/// Of n numbers the graph makes n² in between.
pub fn huge() {
    let square = |count: u32| {
        let x = Tensor::from_f32(&[count], &vec![1.0; count as usize])?;
        Graph::load("square")?.compute(vec![("x".to_owned(), x)]).map(drop)
    };
    print("a hundred gigabytes", square(160_000));
    match square(100) {
        Ok(()) => println!("forty kilobytes: fine"),
        Err(error) => println!("forty kilobytes: {error}"),
    }
}

fn lerp(inputs: Vec<(&str, Tensor)>) -> Result<(), Error> {
    let inputs: Vec<NamedTensor> =
        inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    Graph::load("sedge:lerp")?.compute(inputs).map(drop)
}

fn print<T>(call: &str, result: Result<T, Error>) {
    match result {
        Ok(_) => println!("{call}: the host took it"),
        Err(error) => println!("{call}: {error}"),
    }
}
