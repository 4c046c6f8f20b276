//! Tests of the module above; they need a library of ONNX Runtime, and say so where there is none.

use std::sync::Barrier;

use super::*;
use crate::found;
use crate::nn::ErrorCode;
use crate::nn::engines::tests::{
    DOUBLE, TRAIN, batch, check_steps_lower_the_loss, f32s, settings, step, weights,
};

/// The engine; none, and a line that says so, where no library is found.
pub fn engine() -> Option<OnnxRuntime> {
    let settings = EngineSettings { memory_bytes: 1 << 30, ..settings(1) };
    match OnnxRuntime::open(&settings) {
        Ok(engine) => Some(engine),
        Err(reason) => {
            found::skipped(NAME, &reason);
            None
        }
    }
}

/// `let engine`, or an early return.
macro_rules! engine {
    () => {
        match engine() {
            Some(engine) => engine,
            None => return,
        }
    };
}

fn load(engine: &OnnxRuntime, onnx: &'static [u8]) -> Result<Arc<dyn Graph>, NnError> {
    engine.load(Bytes::from_static(onnx), &GraphOptions::default())
}

#[test]
fn steps_lower_the_loss() {
    let engine = engine!();
    check_steps_lower_the_loss(&*load(&engine, TRAIN).unwrap());
}

#[test]
fn outputs_go_back_in_as_the_values_that_they_are() {
    let engine = engine!();
    let graph = load(&engine, TRAIN).unwrap();
    let (_, _, weights) = step(&*graph, weights());
    for (name, tensor) in &weights {
        let output = tensor.engine_memory::<value::Output>().expect("an output is the engine's value");
        let input = Input::of(tensor.clone(), ElementType::F32).unwrap();
        assert_eq!(input.borrow().unwrap().as_ptr(), output.as_ptr(), "{name}");
    }
}

#[test]
fn inputs_are_lent_where_they_lie() {
    let _engine = engine!();
    let vector = f32s(&[2, 3], |at| at as f32);
    let copied = Tensor::from_bytes(DType::F32, &[3, 2], vector.bytes()).unwrap();
    for tensor in [vector, copied] {
        let input = Input::of(tensor.clone(), ElementType::F32).unwrap();
        let borrowed = input.borrow().unwrap();
        assert_eq!(value::data(&borrowed), tensor.bytes().as_ptr());
    }
}

#[test]
fn shared_weights_are_left_as_they_are() {
    let engine = engine!();
    let graph = load(&engine, TRAIN).unwrap();
    // The engine's own, as well.
    let (_, _, outputs) = step(&*graph, weights());
    for weights in [weights(), outputs] {
        let before: Vec<_> = weights.iter().map(|(_, tensor)| tensor.bytes().to_vec()).collect();
        let (first, ..) = step(&*graph, weights.clone());
        let (again, ..) = step(&*graph, weights.clone());
        assert_eq!(weights.iter().map(|(_, tensor)| tensor.bytes().to_vec()).collect::<Vec<_>>(), before);
        assert_eq!(first, again);
    }
}

#[test]
fn a_graph_computes_for_several_workers_at_a_time() {
    const WORKERS: usize = 8;
    let engine = engine!();
    let graph = load(&engine, TRAIN).unwrap();
    let train = |graph: &dyn Graph| {
        let mut weights = weights();
        (0..200)
            .map(|_| {
                let (loss, _, next) = step(graph, std::mem::take(&mut weights));
                weights = next;
                loss
            })
            .collect::<Vec<_>>()
    };
    let alone = train(&*graph);
    let together = Barrier::new(WORKERS);
    std::thread::scope(|scope| {
        let worker = || {
            together.wait();
            train(&*graph)
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), alone);
        }
    });
}

#[test]
fn options_are_taken_and_a_provider_that_is_not_there_is_named() {
    use std::num::NonZeroU16;

    use crate::nn::Optimization::{self, All, Basic, Extended};

    let engine = engine!();
    let load = |options: GraphOptions| engine.load(Bytes::from_static(TRAIN), &options);
    let (expected, ..) = step(&*load(GraphOptions::default()).unwrap(), weights());
    for optimization in [Optimization::None, Basic, Extended, All] {
        for threads in [1, 2] {
            let options = GraphOptions {
                threads: NonZeroU16::new(threads),
                optimization: Some(optimization),
                ..GraphOptions::default()
            };
            let (loss, ..) = step(&*load(options).unwrap(), weights());
            assert!((loss - expected).abs() < 1e-5, "{optimization:?}, {threads}: {loss}, not {expected}");
        }
    }
    let cuda = GraphOptions { provider: Provider::Cuda, ..GraphOptions::default() };
    if let Err(error) = load(cuda) {
        assert_eq!(error.code, ErrorCode::UnsupportedOperation);
        assert!(error.message.starts_with("the provider cuda is not there"), "{error}");
    }
}

#[test]
fn batches_of_ever_other_sizes_are_not_remembered_for_ever() {
    let engine = engine!();
    let library = engine.library;
    let load = move |onnx: &[u8], patterns| {
        let threads = session::Threads { count: 1, shared: false };
        library.session(onnx, &GraphOptions::default(), threads, patterns)
    };
    let graph = Patterned::load(Bytes::from_static(TRAIN), Box::new(load)).unwrap();
    let shaped = |size: usize| graph.session(&[f32s(&[size, 4], |_| 0.0)]).unwrap();
    for _ in 0..1000 {
        shaped(7);
    }
    assert!(graph.remembers());
    (1..=64).for_each(|size| drop(shaped(size)));
    assert!(graph.remembers());
    shaped(65);
    assert!(!graph.remembers());
}

#[test]
fn what_is_no_graph_is_refused() {
    let engine = engine!();
    assert_eq!(load(&engine, b"no graph at all").err().unwrap().code, ErrorCode::InvalidEncoding);
    assert_eq!(load(&engine, &TRAIN[..TRAIN.len() / 2]).err().unwrap().code, ErrorCode::InvalidEncoding);
}

#[test]
fn doubles_are_computed_with() {
    let engine = engine!();
    let graph = load(&engine, DOUBLE).unwrap();
    let port = &graph.inputs()[0];
    let rank = port.shape.as_ref().map_or(1, Vec::len);
    let x = Tensor::from_vec(&vec![1; rank], vec![0.1f64]).unwrap();
    let outputs = graph.compute(vec![(port.name.clone(), x.clone())]).unwrap();
    assert_eq!(outputs[0].1.as_slice::<f64>().unwrap(), [0.1]);
    // What goes in is not what comes out: the caller may write over it.
    assert!(!outputs[0].1.same_storage(&x));
}

#[test]
fn wrong_inputs_are_an_error_and_the_next_compute_is_right() {
    type Change<'a> = &'a dyn Fn(&mut Vec<(String, Tensor)>);

    let engine = engine!();
    let graph = load(&engine, TRAIN).unwrap();
    let (expected, ..) = step(&*graph, weights());
    let with = |change: Change<'_>| {
        let mut inputs: Vec<_> = batch().into_iter().chain(weights()).collect();
        change(&mut inputs);
        let error = graph.compute(inputs).unwrap_err();
        (error.code, error.message)
    };
    let invalid = |change: Change<'_>, words: &str| {
        let (code, message) = with(change);
        assert_eq!(code, ErrorCode::InvalidArgument, "{message}");
        assert!(message.contains(words), "{message}");
    };
    invalid(&|inputs| inputs[0].0 = "z".into(), "unknown input \"z\"");
    invalid(&|inputs| drop(inputs.remove(0)), "missing input \"x\"");
    invalid(&|inputs| inputs[1].1 = f32s(&[12], |_| 0.0), "input \"y\": expected i64");
    invalid(&|inputs| inputs[0].1 = f32s(&[12, 4, 1], |_| 0.0), "expected f32[?, 4], got f32[12, 4, 1]");
    invalid(&|inputs| inputs[0].1 = f32s(&[12, 5], |_| 0.0), "expected f32[?, 4], got f32[12, 5]");
    // What the ports do not say the engine finds out.
    let (code, message) = with(&|inputs| inputs[1].1 = Tensor::from_vec(&[5], vec![0i64; 5]).unwrap());
    assert!(matches!(code, ErrorCode::RuntimeError | ErrorCode::InvalidArgument), "{message}");
    assert_eq!(step(&*graph, weights()).0, expected);
}

#[test]
fn an_output_outlives_its_graph() {
    let engine = engine!();
    let graph = load(&engine, TRAIN).unwrap();
    let (_, _, weights) = step(&*graph, weights());
    let before = weights[0].1.bytes().to_vec();
    drop(graph);
    assert_eq!(weights[0].1.bytes(), before);
}

/// A graph of one node: `y = op(x, initializers…)`, where `x` is a vector of `int64` and `y` of `float32`.
fn one_node(op: &str, input: bool, initializers: &[&[i64]]) -> Bytes {
    use prost::Message as _;
    use sedge_onnx::proto::tensor_proto::DataType;
    use sedge_onnx::proto::*;

    let port = |name: &str, of: DataType| {
        let tensor = type_proto::Tensor { elem_type: Some(of.into()), shape: None };
        let of_type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: Some(name.to_owned()), r#type: Some(of_type), ..Default::default() }
    };
    let names = (0..initializers.len()).map(|at| format!("c{at}"));
    let tensors = names.clone().zip(initializers).map(|(name, values)| TensorProto {
        name: Some(name),
        data_type: Some(DataType::Int64.into()),
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..Default::default()
    });
    let graph = GraphProto {
        name: Some("one".to_owned()),
        node: vec![NodeProto {
            op_type: Some(op.to_owned()),
            input: input.then(|| "x".to_owned()).into_iter().chain(names).collect(),
            output: vec!["y".to_owned()],
            ..Default::default()
        }],
        initializer: tensors.collect(),
        input: input.then(|| port("x", DataType::Int64)).into_iter().collect(),
        output: vec![port("y", DataType::Float)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(13), ..Default::default() };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..Default::default() }
        .encode_to_vec()
        .into()
}

fn zeros(graph: &dyn Graph, count: i64) -> Result<Tensor, NnError> {
    let count = Tensor::from_vec(&[1], vec![count])?;
    graph.compute(vec![("x".to_owned(), count)]).map(|mut outputs| outputs.remove(0).1)
}

#[test]
fn more_memory_than_there_is_is_an_error_and_the_next_compute_is_right() {
    let engine = engine!();
    let graph = engine.load(one_node("ConstantOfShape", true, &[]), &GraphOptions::default()).unwrap();
    for count in [25_000_000_000, 1 << 29, i64::MAX, i64::MAX / 4] {
        let error = zeros(&*graph, count).unwrap_err();
        assert!(matches!(error.code, ErrorCode::TooLarge | ErrorCode::RuntimeError), "{count}: {error}");
    }
    assert_eq!(zeros(&*graph, 25_000_000_000).unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(zeros(&*graph, 3).unwrap().as_slice::<f32>().unwrap(), [0.0; 3]);
}

#[test]
fn a_constant_of_a_hundred_gigabytes_is_an_error() {
    let engine = engine!();
    let onnx = one_node("ConstantOfShape", false, &[&[25_000_000_000]]);
    let outcome =
        engine.load(onnx, &GraphOptions::default()).and_then(|graph| graph.compute(Vec::new()).map(drop));
    let error = outcome.unwrap_err();
    assert!(matches!(error.code, ErrorCode::TooLarge | ErrorCode::InvalidEncoding), "{error}");
}

#[test]
fn an_input_that_is_an_output_is_not_lent_to_it() {
    use sedge_onnx::{read, write};

    let engine = engine!();
    // `y = x` with `x` and `y` of `int64`, and a graph whose output is its input, with no node at all.
    let mut model = read(one_node("Identity", true, &[])).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.output[0].r#type = graph.input[0].r#type.clone();
    let identity = write(&model);
    let graph = model.graph.as_mut().unwrap();
    graph.node.clear();
    graph.output[0].name = Some("x".to_owned());
    for onnx in [identity.clone(), write(&model)] {
        // A graph of no node may be refused.
        let loaded = engine.load(onnx.clone(), &GraphOptions::default());
        let graph = match loaded {
            Err(_) if onnx != identity => continue,
            loaded => loaded.unwrap(),
        };
        let x = Tensor::from_vec(&[3], vec![1i64, 2, 3]).unwrap();
        let outputs = graph.compute(vec![("x".to_owned(), x.clone())]).unwrap();
        assert!(!outputs[0].1.same_storage(&x));
        drop(x);
        assert_eq!(outputs[0].1.as_slice::<i64>().unwrap(), [1, 2, 3]);
    }
}

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_loaded_or_refused(at in 0..TRAIN.len(), byte in proptest::prelude::any::<u8>()) {
        if let Some(engine) = engine() {
            let mut damaged = TRAIN.to_vec();
            damaged[at] = byte;
            let _ = engine.load(damaged.into(), &GraphOptions::default());
        }
    }
}
