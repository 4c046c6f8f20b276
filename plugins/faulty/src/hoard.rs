//! Holds on to one kind of thing that the host keeps for a guest, without end.

use sedge_sdk::dataset::{self, Batching, Split};
use sedge_sdk::{Error, Graph, Tensor, TensorType, Update, Weights};

const MEBIBYTE: u32 = 1 << 20;

/// Call `make` for ever and drop nothing of what it gives.
fn hoard<T>(mut make: impl FnMut() -> Result<T, Error>) -> Result<Update, Error> {
    let mut held = Vec::new();
    loop {
        held.push(make()?);
    }
}

pub fn tensors() -> Result<Update, Error> {
    let data = vec![0; MEBIBYTE as usize];
    hoard(|| Ok(Tensor::new(&[MEBIBYTE], TensorType::U8, &data)))
}

pub fn dimensions() -> Result<Update, Error> {
    let dimensions = vec![0; MEBIBYTE as usize / 4];
    hoard(|| Ok(Tensor::new(&dimensions, TensorType::U8, &[])))
}

pub fn names() -> Result<Update, Error> {
    let name = "n".repeat(MEBIBYTE as usize);
    hoard(|| Ok(Weights::new(vec![(name.clone(), Tensor::scalar(0.0))])))
}

pub fn graphs() -> Result<Update, Error> {
    let zeros = vec![0.0; MEBIBYTE as usize / 4];
    hoard(|| {
        let y = Tensor::from_f32(&[MEBIBYTE / 4], &zeros)?;
        Graph::bind(&Weights::new(vec![("y".to_owned(), y)]), "sedge:lerp")
    })
}

pub fn orders() -> Result<Update, Error> {
    hoard(|| dataset::read("train", Split::Train, Batching { size: 1, shuffle: Some(0) }))
}

pub fn handles() -> Result<Update, Error> {
    hoard(|| Graph::load("sedge:lerp"))
}
