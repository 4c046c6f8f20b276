//! A plot of shares over time as SVG, which browsers and README show as it is.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 104.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 44.0;
/// How near below each other names of lines may be.
const APART: f64 = 16.0;

/// What is drawn.
pub struct Plot {
    pub title: &'static str,
    /// What the axes count.
    pub across: &'static str,
    pub up: &'static str,
    /// Where the axis across ends; it begins at zero, and the other one is from zero to one.
    pub until: f64,
    pub lines: Vec<Line>,
    pub marks: Vec<Mark>,
}

/// Points in the order of their first coordinates.
pub struct Line {
    pub name: &'static str,
    pub colour: &'static str,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
}

/// Something happened.
pub struct Mark {
    pub at: f64,
    pub text: &'static str,
}

impl Plot {
    /// As a document.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
             <title>{}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n",
            escaped(self.title)
        );
        text(&mut svg, (LEFT, 22.0), "start", "#0f172a", self.title);
        self.frame(&mut svg);
        self.marks(&mut svg);
        self.lines(&mut svg);
        svg + "</svg>\n"
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + at / self.until * (WIDTH - LEFT - RIGHT)
    }

    fn frame(&self, svg: &mut String) {
        for tenth in (0..=10).step_by(2) {
            let (share, colour) = (f64::from(tenth) / 10.0, if tenth == 0 { "#94a3b8" } else { "#e2e8f0" });
            let (left, right) = (LEFT, WIDTH - RIGHT);
            rule(svg, (left, y(share)), (right, y(share)), colour, "");
            text(svg, (LEFT - 8.0, y(share) + 4.0), "end", "#64748b", &format!("{share:.1}"));
        }
        let every = if self.until > 24.0 { 8 } else { 1 };
        for week in (1..=self.until as u32).filter(|week| week % every == 0) {
            // A week is the space before its end.
            let middle = f64::from(week) - if every == 1 { 0.5 } else { 0.0 };
            text(svg, (self.x(middle), HEIGHT - BOTTOM + 18.0), "middle", "#64748b", &week.to_string());
        }
        text(svg, (self.x(self.until / 2.0), HEIGHT - 8.0), "middle", "#64748b", self.across);
        let place = (16.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        let _ = writeln!(
            svg,
            "<text transform=\"translate({} {}) rotate(-90)\" text-anchor=\"middle\" fill=\"#64748b\">{}</text>",
            place.0,
            place.1,
            escaped(self.up)
        );
    }

    fn marks(&self, svg: &mut String) {
        for (number, mark) in self.marks.iter().enumerate() {
            let x = self.x(mark.at);
            // In turn on two lines, so that neighbours have room.
            let y = TOP - 26.0 + 14.0 * (number % 2) as f64;
            rule(svg, (x, TOP - 8.0), (x, HEIGHT - BOTTOM), "#cbd5e1", " stroke-dasharray=\"2 3\"");
            text(svg, (x - 4.0, y), "start", "#475569", mark.text);
        }
    }

    fn lines(&self, svg: &mut String) {
        let mut names: Vec<(f64, &Line)> = Vec::new();
        for line in &self.lines {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|(at, share)| format!("{:.1},{:.1}", self.x(*at), y(*share)))
                .collect();
            let dashes = if line.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\"{dashes}/>",
                points.join(" "),
                line.colour
            );
            names.extend(line.points.last().map(|(_, share)| (y(*share) + 4.0, line)));
        }
        names.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut above = f64::NEG_INFINITY;
        for (place, line) in names {
            above = place.max(above + APART);
            text(svg, (WIDTH - RIGHT + 8.0, above), "start", line.colour, line.name);
        }
    }
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, more: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"{more}/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, colour: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>",
        at.0,
        at.1,
        escaped(words)
    );
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_where_their_shares_are_and_names_do_not_overlap() {
        let line = |name, share| Line {
            name,
            colour: "#000",
            dashed: false,
            points: vec![(0.0, 0.0), (10.0, share)],
        };
        let plot = Plot {
            title: "a < b",
            across: "weeks",
            up: "share",
            until: 10.0,
            lines: vec![line("one", 0.5), line("two", 0.51)],
            marks: vec![Mark { at: 5.0, text: "half" }],
        };
        let svg = plot.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
        assert!(svg.contains(&format!(
            "points=\"{LEFT:.1},{:.1} {:.1},{:.1}\"",
            y(0.0),
            WIDTH - RIGHT,
            y(0.5)
        )));
        let place = |name: &str| {
            let line = svg.lines().find(|line| line.contains(&format!(">{name}<"))).unwrap();
            line.split('"').nth(3).unwrap().parse::<f64>().unwrap()
        };
        assert!(place("one") - place("two") >= APART - 0.1, "{svg}");
    }
}
