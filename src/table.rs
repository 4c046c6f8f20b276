//! Tables: aligned columns, the heading dim, states in colour, cut to the terminal's width.

use anstyle::Style;

use crate::screen;

/// Blanks between two columns.
const GAP: usize = 3;
/// No column is cut below this.
const NARROWEST: usize = 8;

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
}

/// Rows under a heading. It remembers its columns' widths, so that rows that come later align.
#[derive(Debug, Clone, Default)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
}

impl Table {
    /// A table with these headings.
    pub fn new(heading: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { heading: heading.into_iter().map(Into::into).collect(), ..Self::default() }
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
        let heading: Vec<Cell> =
            self.heading.iter().map(|text| Cell::new(text.clone()).style(screen::DIM)).collect();
        self.fit(width);
        let right: Vec<bool> = (0..heading.len())
            .map(|at| self.rows.iter().any(|r| r.get(at).is_some_and(|c| c.right)))
            .collect();
        let heading: Vec<Cell> =
            heading.into_iter().zip(right).map(|(cell, right)| Cell { right, ..cell }).collect();
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

    /// Set the widths: what the widest cell needs, and of the widest columns less where that is too much.
    /// The first column, the name, is never cut.
    fn fit(&mut self, width: Option<usize>) {
        let widest = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(Cell::width).max();
        self.widths = self
            .heading
            .iter()
            .enumerate()
            .map(|(at, heading)| widest(at).unwrap_or(0).max(heading.chars().count()))
            .collect();
        let Some(width) = width else { return };
        loop {
            let total = self.widths.iter().sum::<usize>() + GAP * self.widths.len().saturating_sub(1);
            let over = total.saturating_sub(width);
            let Some(column) = self.widths.iter_mut().skip(1).max() else { return };
            if over == 0 || *column <= NARROWEST {
                return;
            }
            // Little by little, so that columns of like width are cut alike.
            *column -= over.min(4).min(*column - NARROWEST);
        }
    }

    fn line(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        let last = cells.len().saturating_sub(1);
        for (at, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let text = cut(&cell.text, *width);
            let padding = " ".repeat(width - text.chars().count());
            let text = screen::styled(&text, cell.style);
            match (cell.right, at == last) {
                (true, _) => line.extend([padding, text]),
                (false, true) => line.push_str(&text),
                (false, false) => line.extend([text, padding]),
            }
            if at != last {
                line.push_str(&" ".repeat(GAP));
            }
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
        NAME                    PHASE     DONE   MESSAGE
        digits-trainer-edge-1   Running      7   
        digits-aggregator       Failed      12   the component aske…
        ");
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
