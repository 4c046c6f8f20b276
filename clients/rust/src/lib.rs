#![doc = include_str!("../README.md")]

mod client;
mod error;
mod tensor;
mod wire;

pub use client::{Answer, Client, Versions};
pub use error::Error;
pub use tensor::{DType, Element, Tensor};
