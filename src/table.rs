//! Tables: aligned columns, the heading dim, states in colour, fitted to the terminal's width.
//!
//! What does not fit gives way in this order: wide gaps, columns that say nothing, the ends of long texts.
//! Names, states and numbers stay whole, as half of one says nothing or, worse, something else.

use anstyle::Style;

use crate::screen;
use crate::wrap::wrapped;

/// Blanks between two columns.
const GAP: usize = 3;
/// The same where room is scarce.
const NARROW_GAP: usize = 2;
/// No column is cut below this.
const NARROWEST: usize = 8;
/// No wrapped column is made narrower than this.
const NARROWEST_WRAPPED: usize = 20;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    /// Text as it is; a word that tells a state gets its colour.
    pub fn new(text: impl Into<String>) -> Self {
        let text: String = text.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { style: screen::style_of_state(&text), text, right: false }
    }

    /// A number: aligned at its right end.
    pub fn number(text: impl Into<String>) -> Self {
        Self { right: true, ..Self::new(text) }
    }

    /// In another style.
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// Whether its end may be left out.
    fn may_be_cut(&self) -> bool {
        !self.right && self.style == screen::PLAIN
    }
}

/// Rows under a heading. It remembers its columns' widths, so that rows that come later align.
#[derive(Debug, Clone)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
    gap: usize,
    grows: bool,
    wraps: bool,
}

impl Table {
    /// A table with these headings.
    pub fn new(heading: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            heading: heading.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
            widths: Vec::new(),
            gap: GAP,
            grows: false,
            wraps: false,
        }
    }

    /// Rows will come after it is rendered: no column is left out, as it may yet be filled.
    pub fn growing(mut self) -> Self {
        self.grows = true;
        self
    }

    /// The last column is continued below itself where it does not fit, so that nothing of it is lost.
    pub fn wrapping(mut self) -> Self {
        self.wraps = true;
        self
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The heading and all rows, within `width` columns if the columns allow.
    pub fn render(&mut self, width: Option<usize>) -> String {
        self.fit(width);
        let right = |at: usize| self.rows.iter().any(|row| row.get(at).is_some_and(|cell| cell.right));
        let heading = self.heading.iter().enumerate().map(|(at, text)| {
            let cell = Cell::new(text.clone()).style(screen::DIM);
            Cell { right: right(at), ..cell }
        });
        let heading: Vec<Cell> = heading.collect();
        let mut text = self.line(&heading);
        for row in std::mem::take(&mut self.rows) {
            text.push_str(&self.line(&row));
        }
        text
    }

    /// One row that comes after [`Self::render`], in the same columns.
    pub fn render_row(&mut self, cells: &[Cell]) -> String {
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.width());
        }
        self.line(cells)
    }

    /// Set the widths: what the widest cell needs, and less where that is too much.
    fn fit(&mut self, width: Option<usize>) {
        self.measure();
        let Some(width) = width else { return };
        if self.over(width) > 0 {
            self.gap = NARROW_GAP;
        }
        if self.over(width) > 0 && !self.grows {
            self.leave_out_what_is_empty();
        }
        while let (over @ 1.., Some(at)) = (self.over(width), self.next_to_give_way()) {
            let narrowest = if self.wraps_at(at) { NARROWEST_WRAPPED } else { NARROWEST };
            // Little by little, so that columns of like width are cut alike.
            self.widths[at] -= over.min(4).min(self.widths[at] - narrowest);
        }
        if self.over(width) > 0 {
            self.gap = 1;
        }
    }

    fn measure(&mut self) {
        let widest = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(Cell::width).max();
        self.widths = self
            .heading
            .iter()
            .enumerate()
            .map(|(at, heading)| widest(at).unwrap_or(0).max(heading.chars().count()))
            .collect();
    }

    /// Columns of the terminal that are wanted beyond `width`.
    fn over(&self, width: usize) -> usize {
        let total = self.widths.iter().sum::<usize>() + self.gap * self.widths.len().saturating_sub(1);
        total.saturating_sub(width)
    }

    fn leave_out_what_is_empty(&mut self) {
        let keep: Vec<bool> = (0..self.heading.len())
            .map(|at| self.rows.iter().any(|row| row.get(at).is_some_and(|cell| !cell.text.is_empty())))
            .collect();
        let kept = |at: usize| keep.get(at).copied().unwrap_or(true);
        fn pick<T>(list: &mut Vec<T>, kept: impl Fn(usize) -> bool) {
            let mut at = 0..;
            list.retain(|_| at.next().is_none_or(&kept));
        }
        pick(&mut self.heading, kept);
        self.rows.iter_mut().for_each(|row| pick(row, kept));
        self.measure();
    }

    fn wraps_at(&self, at: usize) -> bool {
        self.wraps && at + 1 == self.widths.len()
    }

    /// The column to make narrower: the one that wraps, else the widest of those that may be cut. The first
    /// is the name, which people copy.
    fn next_to_give_way(&self) -> Option<usize> {
        let last = self.widths.len().checked_sub(1)?;
        if self.wraps_at(last) && self.widths[last] > NARROWEST_WRAPPED {
            return Some(last);
        }
        let whole = |at: usize| self.rows.iter().any(|row| row.get(at).is_some_and(|c| !c.may_be_cut()));
        (1..=last)
            .filter(|at| !self.wraps_at(*at) && self.widths[*at] > NARROWEST && !whole(*at))
            .max_by_key(|at| self.widths[*at])
    }

    fn line(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        let last = cells.len().saturating_sub(1);
        let mut continued = Vec::new();
        for (at, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let text = match self.wraps_at(at) {
                true => {
                    let mut lines = wrapped(&cell.text, *width).into_iter();
                    let first = lines.next().unwrap_or_default();
                    continued = lines.collect();
                    first
                }
                false => cut(&cell.text, *width),
            };
            let padding = " ".repeat(width.saturating_sub(text.chars().count()));
            let text = screen::styled(&text, cell.style);
            match (cell.right, at == last) {
                (true, _) => line.extend([padding, text]),
                (false, true) => line.push_str(&text),
                (false, false) => line.extend([text, padding]),
            }
            if at != last {
                line.push_str(&" ".repeat(self.gap));
            }
        }
        let indent: usize = self.widths.iter().take(last).map(|width| width + self.gap).sum();
        for text in continued {
            let style = cells.get(last).map(|cell| cell.style).unwrap_or_default();
            line.push_str(&format!("\n{}{}", " ".repeat(indent), screen::styled(&text, style)));
        }
        line.push('\n');
        line
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Table {
        let mut table = Table::new(["NAME", "PHASE", "DONE", "MESSAGE"]);
        table.row(vec![
            Cell::new("digits-trainer-edge-1"),
            Cell::new("Running"),
            Cell::number("7"),
            Cell::new(""),
        ]);
        table.row(vec![
            Cell::new("digits-aggregator"),
            Cell::new("Failed"),
            Cell::number("12"),
            Cell::new("the component asked for 8 GiB of memory, 64Mi are granted"),
        ]);
        table
    }

    #[test]
    fn columns_align_and_numbers_at_their_right_end() {
        insta::assert_snapshot!(screen::plain(&workers().render(None)), @"
        NAME                    PHASE     DONE   MESSAGE
        digits-trainer-edge-1   Running      7   
        digits-aggregator       Failed      12   the component asked for 8 GiB of memory, 64Mi are granted
        ");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        insta::assert_snapshot!(screen::plain(&workers().render(Some(60))), @"
        NAME                   PHASE    DONE  MESSAGE
        digits-trainer-edge-1  Running     7  
        digits-aggregator      Failed     12  the component asked f…
        ");
    }

    #[test]
    fn a_message_that_wraps_loses_nothing() {
        insta::assert_snapshot!(screen::plain(&workers().wrapping().render(Some(60))), @"
        NAME                   PHASE    DONE  MESSAGE
        digits-trainer-edge-1  Running     7  
        digits-aggregator      Failed     12  the component asked
                                              for 8 GiB of memory,
                                              64Mi are granted
        ");
    }

    #[test]
    fn where_room_is_scarce_an_empty_column_goes_before_a_state_is_cut() {
        let table = || {
            let mut table = Table::new(["NAME", "ROLE", "PHASE", "REASON", "AGE"]);
            let cells = ["digits-trainer-edge-1", "trainer", "Succeeded", "", "7s"];
            table.row(cells.map(Cell::new).to_vec());
            table
        };
        insta::assert_snapshot!(screen::plain(&table().render(Some(50))), @"
        NAME                   ROLE     PHASE      AGE
        digits-trainer-edge-1  trainer  Succeeded  7s
        ");
        let growing = screen::plain(&table().growing().render(Some(50)));
        assert!(growing.contains("REASON") && growing.contains("Succeeded"), "{growing}");
    }

    #[test]
    fn states_are_coloured() {
        let text = workers().render(None);
        assert!(text.contains("\u{1b}[31mFailed\u{1b}[0m"), "{text:?}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(["NAME"]);
        table.row(vec![Cell::new("a\u{1b}[31mb\n")]);
        assert_eq!(screen::plain(&table.render(None)), "NAME\na [31mb \n");
    }
}
