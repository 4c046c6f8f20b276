//! What cannot be trained is said so that a person knows what to do.

use super::*;

fn refusal(net: &Net, loss: Loss) -> String {
    trainable(net.model(), &options(loss, Optimizer::Sgd)).unwrap_err().to_string()
}

fn dense() -> Net {
    Net::new(&[-1, 4]).weight("first.weight", &[4, 4], vec![0.1; 16])
}

#[test]
fn an_operator_without_gradient_is_named_with_what_to_freeze() {
    let net = dense()
        .weight("last.weight", &[4, 2], vec![0.1; 8])
        .nodes("a = MatMul(x, first.weight)\nb = CumSum(a, <1>)\ny = MatMul(b, last.weight)");
    assert_eq!(
        refusal(&net, Loss::Mse),
        "node 1 \"/CumSum_1\" (CumSum) has no gradient here, and it lies between the loss and \"first.weight\""
    );
    let frozen = Options { freeze: vec!["first.*".into()], ..options(Loss::Mse, Optimizer::Sgd) };
    let made = trainable(net.model(), &frozen).unwrap();
    assert_eq!((made.weights.len(), &made.frozen[..]), (1, &["first.weight".to_owned()][..]));
}

#[test]
fn an_operator_off_the_path_needs_no_gradient() {
    let net =
        dense().nodes("c = CumSum(x, <1>)\na = MatMul(c, first.weight)\nm = ArgMax(a) axis=1\ny = Relu(a)");
    assert!(trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd)).is_ok());
}

#[test]
fn a_pattern_that_names_nothing_is_refused() {
    let net = dense().nodes("y = MatMul(x, first.weight)");
    let freeze =
        |pattern: &str| Options { freeze: vec![pattern.into()], ..options(Loss::Mse, Optimizer::Sgd) };
    let told = |pattern: &str| trainable(net.model(), &freeze(pattern)).unwrap_err().to_string();
    assert_eq!(told("frist*"), "no weight is called \"frist*\"; the weights are \"first.weight\"");
    assert_eq!(told("*"), "all weights are frozen: there is nothing to train");
}

#[test]
fn what_is_no_weight_is_not_trained() {
    // A divisor of one element, an exponent, bounds, and a scale that a `Constant` node gives.
    let net = dense().weight("divisor", &[1], vec![16.0]).nodes(
        "d = Div(x, divisor)\np = Pow(d, {2.0})\nc = Clip(p, {0.0}, {1.0})\ny = MatMul(c, first.weight)",
    );
    let made = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd)).unwrap();
    assert_eq!(made.weights.iter().map(|weight| weight.name.as_str()).collect::<Vec<_>>(), ["first.weight"]);
    let net = Net::new(&[-1, 4]).nodes("y = Mul(x, {2.0})");
    assert_eq!(
        refusal(&net, Loss::Mse),
        "the model has no weight that its output depends on: there is nothing to train"
    );
}

#[test]
fn weights_within_operators_of_other_sets_are_named() {
    // As scikit-learn's LogisticRegression is exported.
    let mut model = Net::new(&[-1, 4]).nodes("y = LinearClassifier(x)").model();
    model.graph.as_mut().unwrap().node[0].domain = Some("ai.onnx.ml".to_owned());
    let error = trainable(model, &options(Loss::Mse, Optimizer::Sgd)).unwrap_err().to_string();
    assert!(error.contains("the operator LinearClassifier of ai.onnx.ml"), "{error}");
}

#[test]
fn weights_of_other_types_are_refused_by_name() {
    let net = dense().nodes("y = MatMul(x, first.weight)");
    let mut model = net.model();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.data_type = Some(DataType::Double.into());
    tensor.raw_data = Some(vec![0; 128].into());
    let error = trainable(model, &options(Loss::Mse, Optimizer::Sgd)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the weight \"first.weight\" is double; weights are trained as float32: export the model so, or freeze it"
    );
}

#[test]
fn values_that_are_not_there_are_refused() {
    let net = dense().nodes("y = MatMul(x, first.weight)");
    let told = |change: &dyn Fn(&mut TensorProto)| {
        let mut model = net.model();
        change(&mut model.graph.as_mut().unwrap().initializer[0]);
        trainable(model, &options(Loss::Mse, Optimizer::Sgd)).unwrap_err().to_string()
    };
    assert_eq!(
        told(&|tensor| tensor.raw_data = Some(vec![0; 60].into())),
        "\"first.weight\" has not as many values as its shape says"
    );
    assert_eq!(
        told(&|tensor| tensor.data_location = Some(crate::proto::tensor_proto::DataLocation::External.into())),
        "the values of \"first.weight\" lie in another file"
    );
}

#[test]
fn models_that_no_loss_fits_are_refused() {
    let batch_of_two = Net::new(&[2, 4])
        .weight("first.weight", &[8, 3], vec![0.1; 24])
        .nodes("r = Reshape(x, [1, 8])\ny = MatMul(r, first.weight)");
    assert_eq!(
        refusal(&batch_of_two, Loss::Mse),
        "the model gives 1 rows whatever the batch: export it with a batch of any size (dynamic_axes or \
         dynamic_shapes in PyTorch)"
    );
    let sequence = Net::new(&[-1, 3, 4]).weight("w", &[4, 2], vec![0.1; 8]).nodes("y = MatMul(x, w)");
    assert_eq!(
        refusal(&sequence, Loss::SoftmaxCrossEntropy),
        "softmax-cross-entropy is of scores [batch, classes] with a known number of classes, which \"y.value\" is not"
    );
    let mut two = dense().nodes("y = MatMul(x, first.weight)").model();
    let graph = two.graph.as_mut().unwrap();
    graph.output.push(ValueInfoProto { name: Some("y".into()), ..graph.output[0].clone() });
    let error = trainable(two, &options(Loss::Mse, Optimizer::Sgd)).unwrap_err();
    assert!(error.to_string().starts_with("the model has several outputs: say which"), "{error}");
    let old = dense().opset(10).nodes("y = MatMul(x, first.weight)");
    assert!(refusal(&old, Loss::Mse).starts_with("the model is of opset 10"));
}

#[test]
fn a_cycle_is_refused() {
    let net = dense().nodes("a = Add(b, x)\nb = MatMul(a, first.weight)\ny = Relu(b)");
    assert_eq!(
        refusal(&net, Loss::Mse),
        "node 0 \"/Add_0\" (Add): it reads \"b\", which nothing before it gives"
    );
}

#[test]
fn shapes_that_overflow_are_no_panic() {
    for shape in ["[0, 9223372036854775807, 9223372036854775807]", "[-1, -1]", "[-5, 4]"] {
        let net = dense().nodes(&format!("a = MatMul(x, first.weight)\ny = Reshape(a, {shape})"));
        let _ = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd));
    }
    for attributes in
        ["strides=0,0", "dilations=9223372036854775807,1", "pads=-1,0,0,0", "kernel_shape=0,0", "group=0"]
    {
        let net = Net::new(&[-1, 1, 4, 4])
            .weight("w", &[1, 1, 2, 2], vec![0.1; 4])
            .nodes(&format!("y = Conv(x, w) {attributes}"));
        let _ = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd));
    }
}
