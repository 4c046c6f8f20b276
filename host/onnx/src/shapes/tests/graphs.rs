use super::super::*;
use crate::outline::tests::{f32s, graph, i64s, inner, int, ints, node, outline, port};
use crate::proto::{GraphProto, NodeProto};

fn of(outline: &Outline, shapes: &[(&str, &[usize])]) -> Bound {
    let given = |&(name, shape)| Given { name, element: ElementType::F32, shape, elements: None };
    outline.bound(&shapes.iter().map(given).collect::<Vec<_>>(), 1)
}

fn bytes(bound: Bound) -> u64 {
    match bound {
        Bound::Bytes { bytes, .. } => bytes,
        Bound::Unknown { why } => panic!("{why}"),
    }
}

fn why(bound: Bound) -> String {
    match bound {
        Bound::Unknown { why } => why,
        Bound::Bytes { bytes, .. } => panic!("{bytes} bytes"),
    }
}

/// A constant shape of a hundred gigabytes.
fn huge(more: NodeProto) -> GraphProto {
    let fill = node("ConstantOfShape", &["shape"], &["big"], &[]);
    let add = node("Add", &["x", "more"], &["y"], &[]);
    graph(&[("x", &[-1])], &[i64s("shape", &[2], &[160_000, 160_000])], &[fill, more, add], &["y"])
}

#[test]
fn a_hundred_gigabytes_that_depend_on_no_input_are_seen_before_loading() {
    let outline = outline(huge(node("ReduceSum", &["big"], &["more"], &[])));
    let Bound::Bytes { bytes, largest } = outline.load_bound().0 else { panic!("known") };
    assert!(bytes >= 102_400_000_000, "{bytes}");
    assert_eq!(
        largest,
        "the node that makes \"big\" (ConstantOfShape) makes float32[160000, 160000], 102400000000 bytes"
    );
    // They are no part of a compute.
    assert!(self::bytes(of(&outline, &[("x", &[3])])) < 1 << 20);
}

#[test]
fn a_hundred_gigabytes_that_depend_on_an_input_are_seen_before_computing() {
    let shape = node("Shape", &["x"], &["s"], &[]);
    let twice = node("Concat", &["s", "s"], &["ss"], &[int("axis", 0)]);
    let fill = node("ConstantOfShape", &["ss"], &["big"], &[]);
    let sum = node("ReduceSum", &["big"], &["y"], &[]);
    let outline = outline(graph(&[("x", &[-1])], &[], &[shape, twice, fill, sum], &["y"]));
    assert!(bytes(outline.load_bound().0) < 1 << 20);
    let Bound::Bytes { bytes, largest } = of(&outline, &[("x", &[160_000])]) else { panic!("known") };
    assert!(bytes >= 102_400_000_000, "{bytes}");
    assert!(largest.contains("(ConstantOfShape) makes float32[160000, 160000]"), "{largest}");
    assert!(self::bytes(of(&outline, &[("x", &[10])])) < 1 << 20);
    assert!(outline.deciding().is_empty(), "only its shape matters");
}

#[test]
fn sizes_that_overflow_are_the_most_there_is() {
    let expand = node("Expand", &["x", "shape"], &["y"], &[]);
    let shape = i64s("shape", &[8], &[i64::MAX; 8]);
    let outline = outline(graph(&[("x", &[1])], &[shape], &[expand], &["y"]));
    assert_eq!(bytes(of(&outline, &[("x", &[1])])), u64::MAX);
}

#[test]
fn elements_of_an_input_decide_where_a_graph_says_so() {
    let mut reshaped = graph(
        &[("x", &[-1])],
        &[],
        &[node("Add", &["n", "n"], &["m"], &[]), node("Expand", &["x", "m"], &["y"], &[])],
        &["y"],
    );
    reshaped.input.push(port("n", 7, Some(&[1])));
    let outline = outline(reshaped);
    assert_eq!(outline.deciding(), ["n"]);
    let with = |elements| {
        let n = Given { name: "n", element: ElementType::I64, shape: &[1], elements };
        let x = Given { name: "x", element: ElementType::F32, shape: &[1], elements: None };
        outline.bound(&[x, n], 1)
    };
    assert!(bytes(with(Some(vec![5e8]))) > 4_000_000_000);
    assert_eq!(
        why(with(None)),
        "the node that makes \"y\" (Expand): it makes float32 of an unknown number of dimensions"
    );
}

#[test]
fn what_depends_on_the_data_is_bounded_or_unknown() {
    let alone =
        |node: NodeProto| outline(graph(&[("x", &[-1, -1])], &[i64s("k", &[1], &[3])], &[node], &["y"]));
    let x: &[(&str, &[usize])] = &[("x", &[1000, 1000])];
    // Two indices for each element.
    let found = bytes(of(&alone(node("NonZero", &["x"], &["y"], &[])), x));
    assert!((16_000_000..20_000_000).contains(&found), "{found}");
    assert!(bytes(of(&alone(node("TopK", &["x", "k"], &["y", "i"], &[])), x)) < 20_000_000);
    let foreign = why(of(&alone(node("SomethingNew", &["x"], &["y"], &[])), x));
    assert!(foreign.starts_with("the node that makes \"y\" (SomethingNew)"), "{foreign}");
}

#[test]
fn a_branch_counts_where_it_may_be_taken() {
    let branch = |size: i64| {
        let expand = node("Expand", &["x", "to"], &["t"], &[]);
        graph(&[], &[i64s("to", &[1], &[size])], &[expand], &["t"])
    };
    let choose = |condition: &str, constants: &[_]| {
        let branches = [inner("then_branch", branch(1 << 24)), inner("else_branch", branch(1))];
        let choose = node("If", &[condition], &["y"], &branches);
        outline(graph(&[("x", &[1]), ("c", &[])], constants, &[choose], &["y"]))
    };
    let given: &[(&str, &[usize])] = &[("x", &[1]), ("c", &[])];
    assert!(bytes(of(&choose("c", &[]), given)) > 64 << 20);
    assert!(bytes(of(&choose("never", &[i64s("never", &[], &[0])]), given)) < 1 << 20);
    assert_eq!(choose("c", &[]).deciding(), ["c"]);
}

#[test]
fn a_loop_counts_with_all_its_rounds() {
    let repeat = |grows: bool, rounds: i64| {
        let next = match grows {
            true => node("Concat", &["s", "s"], &["s.next"], &[int("axis", 0)]),
            false => node("Neg", &["s"], &["s.next"], &[]),
        };
        let last = node("Identity", &["s.next"], &["each"], &[]);
        let go = node("Identity", &["go"], &["go.next"], &[]);
        let mut body = graph(&[], &[], &[next, last, go], &["go.next", "s.next", "each"]);
        body.input = vec![port("i", 7, Some(&[])), port("go", 9, Some(&[])), port("s", 1, None)];
        let repeat = node("Loop", &["n", "", "x"], &["y", "all"], &[inner("body", body)]);
        outline(graph(&[("x", &[-1])], &[i64s("n", &[], &[rounds])], &[repeat], &["y", "all"]))
    };
    let x: &[(&str, &[usize])] = &[("x", &[1000])];
    // 4,000 bytes each round, kept and then put together.
    let steady = bytes(of(&repeat(false, 1_000), x));
    assert!((8_000_000..10_000_000).contains(&steady), "{steady}");
    let doubled = bytes(of(&repeat(true, 20), x));
    assert!(doubled > 4_000 << 20, "{doubled}");
    let endless = why(of(&repeat(true, i64::MAX), x));
    assert!(endless.contains("(Concat)"), "{endless}");
}

#[test]
fn a_loop_that_never_ends_is_told_from_one_that_may() {
    let loops = |rounds: &str, begins: &str, goes_on: &str| {
        let next = node("Neg", &["s"], &["s.next"], &[]);
        let go = node("Identity", &[goes_on], &["go.next"], &[]);
        let mut body = graph(&[], &[], &[next, go], &["go.next", "s.next"]);
        body.input = vec![port("i", 7, Some(&[])), port("go", 9, Some(&[])), port("s", 1, Some(&[1]))];
        let repeat = node("Loop", &[rounds, begins, "s0"], &["y"], &[inner("body", body)]);
        let constants = [
            i64s("many", &[], &[i64::MAX]),
            i64s("some", &[], &[1 << 30]),
            i64s("true", &[], &[1]),
            i64s("false", &[], &[0]),
            f32s("s0", &[1], &[1.0]),
        ];
        let mut graph = graph(&[("x", &[1])], &constants, &[repeat], &["y"]);
        graph.input.push(port("given", 9, Some(&[])));
        outline(graph).load_bound().1
    };
    for (rounds, begins) in [("", ""), ("many", ""), ("", "true"), ("many", "true")] {
        assert!(loops(rounds, begins, "go").endless.is_some(), "{rounds}, {begins}");
        assert!(loops(rounds, begins, "true").endless.is_some(), "{rounds}, {begins}");
        assert_eq!(loops(rounds, begins, "false").endless, None);
        assert_eq!(loops(rounds, begins, "given").endless, None);
    }
    for (rounds, begins) in [("some", ""), ("some", "true"), ("", "false"), ("many", "given")] {
        assert_eq!(loops(rounds, begins, "go").endless, None, "{rounds}, {begins}");
    }
    assert!(loops("some", "", "go").constant && !loops("some", "given", "go").constant);
}

#[test]
fn nested_loops_end() {
    let body = |inner_nodes: Vec<NodeProto>| {
        let go = node("Identity", &["go"], &["go.next"], &[]);
        let mut nodes = vec![go];
        nodes.extend(inner_nodes);
        let mut body = graph(&[], &[], &nodes, &["go.next", "s.next"]);
        body.input = vec![port("i", 7, Some(&[])), port("go", 9, Some(&[])), port("s", 1, None)];
        body
    };
    let mut graph_in = body(vec![node("Concat", &["s", "s"], &["s.next"], &[int("axis", 0)])]);
    for depth in 0..6 {
        // Names of the graph inside are its own.
        let rename = |name: &mut String| name.insert_str(0, &format!("d{depth}."));
        graph_in.input.iter_mut().chain(&mut graph_in.output).for_each(|v| rename(v.name.as_mut().unwrap()));
        graph_in
            .node
            .iter_mut()
            .for_each(|n| n.input.iter_mut().chain(&mut n.output).filter(|s| !s.is_empty()).for_each(rename));
        graph_in = body(vec![node("Loop", &["", "", "s"], &["s.next"], &[inner("body", graph_in)])]);
    }
    let all = node("Loop", &["", "", "x"], &["y"], &[inner("body", graph_in)]);
    why(of(&outline(graph(&[("x", &[-1])], &[], &[all], &["y"])), &[("x", &[2])]));
}

#[test]
fn many_branches_are_held_at_once_as_rten_runs_them() {
    let mut nodes = Vec::new();
    let names: Vec<_> = (0..20).map(|at| (format!("big{at}"), format!("sum{at}"))).collect();
    for (big, sum) in &names {
        nodes.push(node("Gather", &["table", "x"], &[big], &[]));
        nodes.push(node("ReduceSum", &[big], &[sum], &[]));
    }
    let sums: Vec<&str> = names.iter().map(|(_, sum)| sum.as_str()).collect();
    nodes.push(node("Sum", &sums, &["y"], &[]));
    let mut graph = graph(&[], &[f32s("table", &[1, 1], &[0.0])], &nodes, &["y"]);
    graph.input.push(port("x", 7, Some(&[-1])));
    let held = bytes(of(&outline(graph), &[("x", &[1_000_000])]));
    assert!(held > 20 * 4_000_000, "{held}");
}

#[test]
fn buffers_are_used_again() {
    let chain: Vec<_> =
        (0..100).map(|at| node("Relu", &[&format!("v{at}")], &[&format!("v{}", at + 1)], &[])).collect();
    let outline = outline(graph(&[("v0", &[-1])], &[], &chain, &["v100"]));
    let held = bytes(of(&outline, &[("v0", &[1_000_000])]));
    assert!((8_000_000..9_000_000).contains(&held), "two buffers: {held}");
}

#[test]
fn images_through_a_small_network() {
    let conv = node("Conv", &["x", "k"], &["c"], &[ints("pads", &[1, 1, 1, 1])]);
    let pool = node("MaxPool", &["c"], &["p"], &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]);
    let flat = node("Flatten", &["p"], &["f"], &[]);
    let dense = node("Gemm", &["f", "w"], &["y"], &[]);
    let weights = [("k", &[8, 1, 3, 3][..]), ("w", &[1568, 10])];
    let inputs = [("x", &[-1, 1, 28, 28][..]), weights[0], weights[1]];
    let outline = outline(graph(&inputs, &[], &[conv, pool, flat, dense], &["y"]));
    let given: &[(&str, &[usize])] = &[("x", &[32, 1, 28, 28]), ("k", &[8, 1, 3, 3]), ("w", &[1568, 10])];
    let held = bytes(of(&outline, given));
    // The images of the first layer, those of the second, and little else.
    let (first, second) = (32 * 8 * 28 * 28 * 4, 32 * 8 * 14 * 14 * 4);
    assert!((first + second..2 * first).contains(&held), "{held}");
}

/// PyTorch's `pad`, as its older exporter spells it: pairs of the last axis first are turned round and laid flat.
#[test]
fn pads_that_are_turned_round_are_followed() {
    let pads = |first: i64, numbers: &[i64]| {
        let nodes = [
            node("Reshape", &["pairs", "rows"], &["p"], &[]),
            node("Slice", &["p", "last", "begin", "axis", "back"], &["turned"], &[]),
            node("Transpose", &["turned"], &["columns"], &[ints("perm", &[1, 0])]),
            node("Reshape", &["columns", "flat"], &["pads"], &[]),
            node("Pad", &["x", "pads"], &["y"], &[]),
        ];
        let constants = [
            i64s("pairs", &[numbers.len() as i64], numbers),
            i64s("rows", &[2], &[-1, 2]),
            i64s("last", &[1], &[first]),
            i64s("begin", &[1], &[-i64::MAX]),
            i64s("axis", &[1], &[0]),
            i64s("back", &[1], &[-1]),
            i64s("flat", &[1], &[-1]),
        ];
        let outline = outline(graph(&[("x", &[-1, -1])], &constants, &nodes, &["y"]));
        match of(&outline, &[("x", &[10, 1000])]) {
            Bound::Bytes { largest, .. } => largest,
            Bound::Unknown { why } => why,
        }
    };
    // Of the last axis 0 before and 64 behind, of the first 3 and 4.
    let largest = pads(-1, &[0, 64, 3, 4]);
    assert!(largest.contains("(Pad) makes float32[17, 1064]"), "{largest}");
    // Turned round from the second pair from the end on: one pair is too few for two axes.
    let largest = pads(-2, &[0, 64, 3, 4]);
    assert!(largest.contains("(Pad): it makes float32 of an unknown number of dimensions"), "{largest}");
}

#[test]
fn elements_of_a_slice_of_nothing_are_none_however_long_its_axes() {
    let nodes = [
        node("Slice", &["none", "zero", "one", "zero"], &["s"], &[]),
        node("Transpose", &["s"], &["t"], &[]),
        node("Concat", &["t", "t"], &["c"], &[int("axis", 0)]),
        node("Size", &["c"], &["y"], &[]),
    ];
    let constants =
        [i64s("none", &[1 << 40, 0], &[]), i64s("zero", &[1], &[0]), i64s("one", &[1], &[1 << 39])];
    let outline = outline(graph(&[("x", &[-1])], &constants, &nodes, &["y"]));
    assert!(bytes(of(&outline, &[("x", &[1])])) < 1 << 20);
}
