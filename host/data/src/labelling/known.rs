//! What a dataset has already, which a file that is to come into it is held against: its labels, and the columns of its files.

use std::collections::{HashMap, HashSet};

use super::Import;
use crate::draft::Chunk;
use crate::error::DataError;
use crate::layout::FileLayout;
use crate::plan::Column;
use crate::tensor::Values;

/// A dataset with more different labels than these has no classes.
const MAX_CLASSES: usize = 4096;

/// Labels that a dataset has.
pub(super) struct Labels<'a> {
    /// The tensor.
    tensor: Option<usize>,
    /// None: any will do.
    known: Option<HashSet<i64>>,
    /// Of classes.
    names: &'a [String],
}

impl<'a> Labels<'a> {
    pub fn of(wanted: &Import<'a>, layout: &FileLayout) -> Self {
        let tensor = layout.label_tensor();
        let description = wanted.description;
        let name = tensor.map(|tensor| layout.tensors[tensor].name.as_str());
        let classes = match description.tensors.iter().find(|spec| Some(spec.name.as_str()) == name) {
            Some(spec) => spec.classes.as_ref(),
            None => description.classes.as_ref(),
        };
        let names = classes.map(|classes| classes.names.as_slice()).unwrap_or_default();
        let mut known: HashSet<i64> = (0..names.len() as i64).collect();
        if let (Some(samples), Some(tensor)) = (wanted.known, tensor) {
            for chunk in samples.chunks() {
                if let Some(Values::I64(values)) = chunk.values.get(tensor) {
                    known.extend(values);
                }
                if known.len() > MAX_CLASSES {
                    break;
                }
            }
        }
        let any = wanted.new_labels || known.is_empty() || known.len() > MAX_CLASSES;
        Self { tensor, known: (!any).then_some(known), names }
    }

    /// The label of a sample, where the dataset has none like it.
    pub fn strange(&self, chunk: &Chunk, row: usize) -> Option<i64> {
        let known = self.known.as_ref()?;
        let Some(Values::I64(values)) = chunk.values.get(self.tensor?) else { return None };
        Some(values[row]).filter(|label| !known.contains(label))
    }

    /// Why it is refused.
    pub fn refusal(&self, found: &str) -> String {
        let mut known: Vec<i64> = self.known.iter().flatten().copied().collect();
        known.sort_unstable();
        let name = |number: &i64| {
            let class = usize::try_from(*number).ok().and_then(|number| self.names.get(number));
            class.map_or_else(|| number.to_string(), |class| format!("{class:.40}"))
        };
        let more = if known.len() > 16 { ", …" } else { "" };
        let known: Vec<String> = known.iter().take(16).map(name).collect();
        format!(
            "the label \"{found}\" is none of those that the dataset has ({}{more}); if it is a new one, import with --new-labels",
            known.join(", ")
        )
    }
}

/// Whether a file's columns are those of the dataset's files.
pub(super) fn compare(file: &str, known: &FileLayout, found: &FileLayout) -> Result<(), DataError> {
    let wrong = |what: String| Err(DataError::NoSuchColumn { file: file.to_owned(), what });
    let named = |layout: &FileLayout| -> Vec<String> {
        layout.fields.iter().filter(|field| field.target.is_some()).map(|field| field.name.clone()).collect()
    };
    if known.tensors != found.tensors {
        let (there, here) = (named(known), named(found));
        let list = |names: &[String], others: &[String]| -> Option<String> {
            let others: HashSet<&String> = others.iter().collect();
            let odd = names
                .iter()
                .filter(|name| !others.contains(name))
                .take(8)
                .map(|name| format!("\"{name:.40}\""));
            Some(odd.collect::<Vec<_>>().join(", ")).filter(|odd| !odd.is_empty())
        };
        let missing = list(&there, &here).map(|names| format!("{names} missing"));
        let more = list(&here, &there).map(|names| format!("{names} not known there"));
        let differing: Vec<String> = missing.into_iter().chain(more).collect();
        let one = |column: &Column| format!("{} {}{:?}", column.name, column.dtype, column.shape);
        let show =
            |layout: &FileLayout| layout.tensors.iter().take(8).map(one).collect::<Vec<_>>().join(", ");
        let why = match differing.is_empty() {
            true => format!("{} instead of {}", show(found), show(known)),
            false => differing.join(", "),
        };
        return wrong(format!("its columns are not those of the dataset: {why}"));
    }
    if !(known.heading && found.heading) {
        return Ok(());
    }
    let targets: HashMap<_, _> =
        known.fields.iter().filter_map(|field| Some((field.target?, field.name.as_str()))).collect();
    for (at, field) in found.fields.iter().enumerate() {
        let Some(expected) = field.target.and_then(|target| targets.get(&target)) else { continue };
        if *expected != field.name {
            return wrong(format!(
                "column {} is \"{:.60}\" where the dataset's files have \"{expected:.60}\"",
                at + 1,
                field.name
            ));
        }
    }
    Ok(())
}
