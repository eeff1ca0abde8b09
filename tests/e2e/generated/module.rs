//! The tables in docs/MODULE.md; the text around them is written by hand.

use std::fmt::Write as _;

use omrust::abi::COUNTERS;
use omrust::settings::table::{PARAMETERS, Role};

/// `page` with its tables as the code has them.
pub fn page(page: &str) -> String {
    let page = between(page, "parameters", &parameters());
    between(&page, "counters", &counters())
}

fn between(page: &str, name: &str, table: &str) -> String {
    let begin = page.find(&format!("<!-- {name}:")).unwrap_or_else(|| panic!("docs/MODULE.md has no place for {name}"));
    let begin = begin + page[begin..].find("-->\n").expect("a comment ends") + 4;
    let end = page.find(&format!("<!-- end of {name} -->")).unwrap_or_else(|| panic!("{name} do not end"));
    format!("{}\n{table}\n{}", &page[..begin], &page[end..])
}

fn parameters() -> String {
    let mut out = String::from("| parameter | default | allowed | what it does |\n|---|---|---|---|\n");
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.role != Role::Refused) {
        let default = if parameter.role == Role::Alias { "" } else { parameter.default };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            parameter.name,
            default,
            cell(parameter.allowed),
            cell(parameter.text)
        );
    }
    out.push_str("\nRefused with a sentence, but for what the second column says:\n\n| parameter | allowed | why |\n|---|---|---|\n");
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.role == Role::Refused) {
        let _ = writeln!(out, "| `{}` | {} | {} |", parameter.name, cell(parameter.allowed), cell(parameter.text));
    }
    out
}

fn counters() -> String {
    let mut out = String::from("| counter | what it counts |\n|---|---|\n");
    for (name, resettable, _, text) in COUNTERS {
        let gauge = if resettable { "" } else { " (a gauge: `resetCounters` leaves it)" };
        let _ = writeln!(out, "| `{name}` | {}{gauge} |", cell(text));
    }
    out
}

/// Text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
