//! Graphs by hand, and every operator against the examples that ONNX itself gives of it.

mod backend;
mod graphs;
