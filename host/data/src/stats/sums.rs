//! Counts, extremes, means and variances of many places at once, in one pass.

use crate::tensor::Element;

/// Count, extremes, mean and sum of squared distances from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Values seen.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Sum of (value − mean)².
    pub m2: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0, m2: 0.0 }
    }
}

impl Moments {
    /// With all that another has seen.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        self.count += other.count;
        self.mean += delta * m / (n + m);
        self.m2 += other.m2 + delta * delta * n * m / (n + m);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Sums of distances from `shift`, for each place.
pub struct Sums<T> {
    /// Whole rows.
    rows: u64,
    /// Values of other rows.
    more: Vec<u64>,
    shift: Vec<f64>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    /// Of places that have values.
    min: Vec<T>,
    max: Vec<T>,
}

impl<T: Element> Sums<T> {
    /// Of nothing yet; `any` is any value.
    pub fn new(shift: Vec<f64>, any: T) -> Self {
        let places = shift.len();
        Self {
            rows: 0,
            more: vec![0; places],
            shift,
            sum: vec![0.0; places],
            squares: vec![0.0; places],
            min: vec![any; places],
            max: vec![any; places],
        }
    }

    /// Values of every place, row after row; the last one may end early, where a tensor is looked at as a whole.
    pub fn add_rows(&mut self, values: &[T]) {
        let places = self.shift.len();
        if self.rows == 0 && values.len() >= places {
            for (place, &value) in
                values[..places].iter().enumerate().filter(|(place, _)| self.more[*place] == 0)
            {
                (self.min[place], self.max[place]) = (value, value);
            }
        }
        let mut fours = values.chunks_exact(4 * places);
        for rows in &mut fours {
            let (first, rows) = rows.split_at(places);
            let (second, rows) = rows.split_at(places);
            let (third, fourth) = rows.split_at(places);
            self.add_four([first, second, third, fourth]);
        }
        for row in fours.remainder().chunks(places) {
            row.iter().enumerate().for_each(|(place, &value)| self.add(place, value));
        }
    }

    /// Four rows at once: sums are read and written once for them.
    #[inline(always)]
    fn add_four(&mut self, rows: [&[T]; 4]) {
        self.rows += 4;
        let places = self.shift.len();
        // Of the same length each: the compiler sees it, and takes several places at once.
        let rows = rows.map(|row| &row[..places]);
        let (sum, squares) = (&mut self.sum[..places], &mut self.squares[..places]);
        let (min, max) = (&mut self.min[..places], &mut self.max[..places]);
        let shift = &self.shift[..places];
        for place in 0..places {
            let values = rows.map(|row| row[place]);
            let [a, b, c, d] = values.map(|value| value.to_f64() - shift[place]);
            sum[place] += (a + b) + (c + d);
            squares[place] += (a * a + b * b) + (c * c + d * d);
            for value in values {
                min[place] = if value < min[place] { value } else { min[place] };
                max[place] = if value > max[place] { value } else { max[place] };
            }
        }
    }

    /// A value of a place.
    pub fn add(&mut self, place: usize, value: T) {
        if self.rows + self.more[place] == 0 {
            (self.min[place], self.max[place]) = (value, value);
        }
        let distance = value.to_f64() - self.shift[place];
        self.more[place] += 1;
        self.sum[place] += distance;
        self.squares[place] += distance * distance;
        if value < self.min[place] {
            self.min[place] = value;
        }
        if value > self.max[place] {
            self.max[place] = value;
        }
    }

    /// What the values of a place come to.
    pub fn moments(&self, place: usize) -> Moments {
        let count = self.rows + self.more[place];
        if count == 0 {
            return Moments::default();
        }
        let (n, sum) = (count as f64, self.sum[place]);
        Moments {
            count,
            min: self.min[place].to_f64(),
            max: self.max[place].to_f64(),
            mean: self.shift[place] + sum / n,
            m2: (self.squares[place] - sum * sum / n).max(0.0),
        }
    }
}
