//! The terminal: what is printed, in which colours, how wide.
//!
//! Text is made with ANSI styles throughout; [`print`] takes them out where standard output is no terminal
//! or `NO_COLOR` is set.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Color, Effects, Style};

const fn coloured(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// As the terminal writes by itself.
pub const PLAIN: Style = Style::new();
/// Headings and names that matter.
pub const BOLD: Style = Style::new().effects(Effects::BOLD);
/// What is there but matters less.
pub const DIM: Style = Style::new().effects(Effects::DIMMED);
/// Done, ready, well.
pub const GOOD: Style = coloured(AnsiColor::Green);
/// Not yet.
pub const WAITING: Style = coloured(AnsiColor::Yellow);
/// Failed.
pub const BAD: Style = coloured(AnsiColor::Red);
/// Tells one from others, as [`MAGENTA`] and [`BLUE`] do; no state.
pub const CYAN: Style = coloured(AnsiColor::Cyan);
/// See [`CYAN`].
pub const MAGENTA: Style = coloured(AnsiColor::Magenta);
/// See [`CYAN`].
pub const BLUE: Style = coloured(AnsiColor::Blue);
/// The word `error`.
pub const ERROR: Style = coloured(AnsiColor::Red).effects(Effects::BOLD);
/// The word `hint`.
pub const HINT: Style = coloured(AnsiColor::Cyan).effects(Effects::BOLD);

/// The style of a word that tells a state, if it is one.
pub fn style_of_state(word: &str) -> Style {
    match word {
        "Running" | "Succeeded" | "True" | "Ready" | "Complete" | "Completed" | "Deployed" | "Closed"
        | "created" => GOOD,
        "Pending" | "Unknown" | "Degraded" | "Progressing" | "HalfOpen" | "Training" | "Evaluating"
        | "Deploying" | "Candidate" | "configured" => WAITING,
        "Failed" | "False" | "Undone" | "RolledBack" | "Open" => BAD,
        _ => PLAIN,
    }
}

/// `text` in `style`.
pub fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// Write to standard output at once; an error where its reader has gone.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Write to standard error. What cannot be said there cannot be said at all.
pub fn complain(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = err.write_all(text.as_bytes());
}

/// Whether a person reads standard output.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Take back the last `lines` lines of a terminal, so that others can be written in their place.
pub fn rewind(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\u{1b}[{lines}A\u{1b}[J") }
}

/// Columns of the terminal; none where output goes elsewhere and may be as wide as it likes.
pub fn width() -> Option<usize> {
    if !is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// The text without its styles.
#[cfg(test)]
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
