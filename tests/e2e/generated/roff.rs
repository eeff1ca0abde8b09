//! Just enough of man(7) for our pages. Words in backticks become bold.

use std::fmt::Write as _;

/// Longest line of the source; groff and mandoc want no longer ones.
const WIDTH: usize = 78;
/// What clap_mangen puts before each of its parts; once is enough.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// A manual page in the making.
pub struct Page(String);

impl Page {
    /// Begins with the title. There is no date: it would change without the page. Paths and keys are not hyphenated.
    pub fn new(name: &str, section: &str, manual: &str) -> Self {
        let note = "Made from the code: UPDATE=1 cargo test -p e2e --test e2e generated";
        let version = env!("CARGO_PKG_VERSION");
        Self(format!(
            ".\\\" {note}\n{APOSTROPHE}.TH {name} {section} \"\" \"fifo-bridge {version}\" \"{manual}\"\n.nh\n.ad l\n"
        ))
    }

    /// A section.
    pub fn section(&mut self, name: &str) {
        let _ = writeln!(self.0, ".SH {name}");
    }

    /// A section in a section.
    pub fn subsection(&mut self, name: &str) {
        let _ = writeln!(self.0, ".SS {}", inline(name));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        // A paragraph right behind a heading needs no macro; mandoc calls it a mistake.
        if !self.0.lines().last().is_some_and(|line| line.starts_with(".SH") || line.starts_with(".SS")) {
            self.0.push_str(".PP\n");
        }
        self.fill(text);
    }

    /// A term and what it means.
    pub fn item(&mut self, term: &str, text: &str) {
        let _ = writeln!(self.0, ".TP\n{}", inline(term));
        self.fill(text);
    }

    /// Lines as they are.
    pub fn example(&mut self, lines: &[&str]) {
        self.0.push_str(".PP\n.nf\n.RS 4\n");
        for line in lines {
            let _ = writeln!(self.0, "{}", escape(line));
        }
        self.0.push_str(".RE\n.fi\n");
    }

    /// What somebody else wrote.
    pub fn raw(&mut self, roff: &str) {
        self.0.push_str(&roff.replace(APOSTROPHE, ""));
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }

    fn fill(&mut self, text: &str) {
        for line in wrap(&inline(text), WIDTH) {
            // A line that begins with a dot or an apostrophe would be a command.
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            let _ = writeln!(self.0, "{guard}{line}");
        }
    }
}

/// Text with its backticks turned into bold.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        let bold = index % 2 == 1;
        out.push_str(if bold { "\\fB" } else { "" });
        out.push_str(&escape(part));
        out.push_str(if bold { "\\fR" } else { "" });
    }
    out
}

/// Text in which nothing means anything to roff.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            '\'' => out.push_str("\\(aq"),
            '…' => out.push_str("..."),
            letter => out.push(letter),
        }
    }
    out
}

/// Breaks at spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
