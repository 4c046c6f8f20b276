//! What images become.

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::tensor::DType;

/// What images become: the tensor `x`, beside the labels `y` (i64).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageSpec {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Colour or not.
    pub colour: Colour,
    /// Order of the dimensions.
    pub layout: Layout,
    /// How an image of other proportions is made to fit.
    pub fit: Fit,
    /// Of `x`: floating point, whose elements are (value / 255 − mean) / std, or u8, values as they are.
    pub dtype: DType,
    /// Per channel, or one for all; empty: 0.
    pub mean: Vec<f32>,
    /// Per channel, or one for all; empty: 1.
    pub std: Vec<f32>,
}

impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            width: 224,
            height: 224,
            colour: Colour::Rgb,
            layout: Layout::Chw,
            fit: Fit::Stretch,
            dtype: DType::F32,
            mean: Vec::new(),
            std: Vec::new(),
        }
    }
}

/// Channels of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Colour {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// One, of luminance.
    Grey,
}

impl Colour {
    /// How many.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }
}

/// Order of an image's dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layout {
    /// Channels, height, width.
    #[default]
    Chw,
    /// Height, width, channels.
    Hwc,
}

/// How an image of other proportions is made to fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fit {
    /// Distorted.
    #[default]
    Stretch,
    /// Its middle.
    Cover,
    /// All of it, with black beside it.
    Contain,
}

impl ImageSpec {
    /// Whether it can be followed.
    pub(super) fn check(&self) -> Result<(), DataError> {
        /// Pixels of a side of what images become.
        const MAX_SIDE: u32 = 8192;
        let channels = self.colour.channels();
        let one_each = |values: &[f32]| [0, 1, channels].contains(&values.len());
        let what = if !(1..=MAX_SIDE).contains(&self.width) || !(1..=MAX_SIDE).contains(&self.height) {
            format!("image: {} × {} pixels are not from 1 to {MAX_SIDE}", self.width, self.height)
        } else if !one_each(&self.mean) || !one_each(&self.std) {
            format!("image: mean and std have one value, or one for each of {channels} channels")
        } else if self.std.iter().any(|&std| !std.is_normal()) {
            "image: a std is not a number other than 0".to_owned()
        } else if !self.dtype.is_float() && self.dtype != DType::U8 {
            format!("image: pixels as {}; use u8 or a floating-point type", self.dtype)
        } else {
            return Ok(());
        };
        Err(DataError::description(what))
    }
}
