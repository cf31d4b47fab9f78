//! Results as text: a table a row, and for each goal whether it is reached.

use std::fmt::Write;

/// One row of the report.
pub struct Section {
    /// As it is called on the command line.
    pub name: &'static str,
    title: &'static str,
    about: &'static str,
    pub tables: Vec<Table>,
    pub goals: Vec<Goal>,
    /// What a reader must know of this run.
    pub notes: Vec<String>,
}

impl Section {
    pub fn new(name: &'static str, title: &'static str, about: &'static str) -> Section {
        Section { name, title, about, tables: Vec::new(), goals: Vec::new(), notes: Vec::new() }
    }

    pub fn render(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.about);
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.render());
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

/// The whole report: what the figures belong to, the goals at a glance, the rows.
pub fn whole(machine: &str, sections: &[Section]) -> String {
    let mut text = format!("{HEAD}\n{machine}\n");
    let mut table = Table::new(&["goal", "asked", "measured", ""]);
    for section in sections {
        for goal in section.goals.iter().filter(|goal| goal.measured.is_finite()) {
            let [what, asked, measured, verdict] = goal.cells();
            let row = format!("[{}](#{}): {what}", section.title, anchor(section.title));
            table.row([row, asked, measured, verdict]);
        }
    }
    let _ = writeln!(text, "## Goals\n\n{}", table.render());
    for section in sections {
        let _ = writeln!(text, "{}", section.render());
    }
    text.push_str(MISSED);
    text
}

const HEAD: &str = "\
# Measured

Written by `cargo xtask bench`; do not edit. Same work, one process, alternating rounds, medians. Compare
ratios: absolutes belong to the machine, which was doing other things as well. How each row is measured
stands in the file of its name in `bench/src/rows`.
";

/// What is known of the goals that are missed, written by hand from profiles.
const MISSED: &str = include_str!("../MISSED.md");

/// As the renderers of Markdown make it.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

pub struct Table {
    caption: Option<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { caption: None, rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub fn captioned(caption: impl Into<String>, head: &[&str]) -> Table {
        Table { caption: Some(caption.into()), ..Table::new(head) }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    fn render(&self) -> String {
        let mut text = String::new();
        if let Some(caption) = &self.caption {
            let _ = write!(text, "{caption}\n\n");
        }
        for (at, row) in self.rows.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if at == 0 {
                // Words to the left, figures to the right.
                let rest = "---:|".repeat(row.len().saturating_sub(1));
                let _ = writeln!(text, "|---|{rest}");
            }
        }
        text
    }
}

/// What was to be reached.
pub struct Goal {
    what: String,
    limit: f64,
    measured: f64,
    unit: &'static str,
    at_most: bool,
}

impl Goal {
    pub fn at_most(what: impl Into<String>, limit: f64, measured: f64, unit: &'static str) -> Goal {
        Goal { what: what.into(), limit, measured, unit, at_most: true }
    }

    pub fn at_least(
        what: impl Into<String>,
        limit: f64,
        measured: f64,
        unit: &'static str,
    ) -> Goal {
        Goal { what: what.into(), limit, measured, unit, at_most: false }
    }

    pub fn is_met(&self) -> bool {
        if self.at_most { self.measured <= self.limit } else { self.measured >= self.limit }
    }

    fn cells(&self) -> [String; 4] {
        let side = if self.at_most { "at most" } else { "at least" };
        let verdict = if self.is_met() {
            "met".to_owned()
        } else if self.limit == 0.0 {
            "**missed**".to_owned()
        } else {
            format!("**missed**: {} of it", ratio(self.measured / self.limit))
        };
        let with_unit = |value: f64| format!("{} {}", number(value), self.unit).trim().to_owned();
        [
            self.what.clone(),
            format!("{side} {}", with_unit(self.limit)),
            with_unit(self.measured),
            verdict,
        ]
    }
}

/// Three digits that matter.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    if size >= 100.0 || size == 0.0 {
        return thousands(value);
    }
    let digits = if size >= 10.0 {
        1
    } else if size >= 0.1 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if value.fract() == 0.0 { format!("{value:.0}") } else { text }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("-{text}") } else { text }
}

/// Nanoseconds, without digits that mean nothing.
pub fn nanos(value: f64) -> String {
    thousands(value)
}

pub fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}x") } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_mean_something() {
        let cases =
            [(0.0, "0"), (1.0, "1"), (1.234, "1.23"), (45.67, "45.7"), (1234567.0, "1,234,567")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(-0.2), "-0.20");
        assert_eq!(number(0.0312), "0.031");
        assert_eq!(number(f64::NAN), "-");
    }

    #[test]
    fn a_goal_says_by_how_much_it_is_missed() {
        let goal = Goal::at_most("a hit", 100.0, 150.0, "ns");
        assert!(!goal.is_met());
        assert_eq!(
            goal.cells().join(" / "),
            "a hit / at most 100 ns / 150 ns / **missed**: 1.50x of it"
        );
        assert!(Goal::at_least("faster", 3.0, 3.0, "x").is_met());
        assert!(Goal::at_most("allocations", 0.0, 0.0, "").is_met());
    }
}
