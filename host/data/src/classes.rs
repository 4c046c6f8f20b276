//! Names of classes to numbers, and back into the description.

use std::collections::HashMap;

use crate::description::Classes;
use crate::error::shown;

/// Longest name of a class, in bytes.
const MAX_NAME: usize = 1024;

/// Numbers of classes, given or learnt in the order in which they are first seen.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    numbers: HashMap<String, i64>,
    classes: Classes,
    limit: usize,
}

impl Encoder {
    /// From what is known; learns up to `limit` classes, unless they are fixed.
    pub fn new(classes: &Classes, limit: usize) -> Self {
        let numbers = classes.names.iter().zip(0..).map(|(name, number)| (name.clone(), number)).collect();
        Self { numbers, classes: classes.clone(), limit }
    }

    /// What is known now.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Number of a class. Err: what is wrong with it.
    pub fn encode(&mut self, name: &[u8]) -> Result<i64, String> {
        let Ok(text) = std::str::from_utf8(name) else {
            return Err(format!("the class \"{}\" is not UTF-8", shown(name)));
        };
        if let Some(&number) = self.numbers.get(text) {
            return Ok(number);
        }
        if self.classes.fixed {
            let known: Vec<_> = self.classes.names.iter().take(8).map(String::as_str).collect();
            return Err(format!("\"{}\" is none of the given classes ({})", shown(name), known.join(", ")));
        }
        if name.len() > MAX_NAME || self.numbers.len() >= self.limit {
            return Err(format!(
                "\"{}\" would be class {} of at most {}; is this column a label?",
                shown(name),
                self.numbers.len(),
                self.limit
            ));
        }
        let number = self.numbers.len() as i64;
        self.numbers.insert(text.to_owned(), number);
        self.classes.names.push(text.to_owned());
        Ok(number)
    }
}
