//! The README of a module: title, what it is, an example, its inputs and outputs.
//!
//! Invariant: what stands in a table cannot end its cell.

use std::fmt::Write as _;

use lustre_language::Program;

/// Returns the text.
pub fn readme(program: &Program, (name, main): (&str, &str), example: Option<&str>) -> String {
    let mut text = format!("# {name}\n");
    let about = leading_comment(main);
    if !about.is_empty() {
        let _infallible = write!(text, "\n{about}\n");
    }
    if let Some(example) = example {
        let _infallible = write!(text, "\n## Example\n\n```hcl\n{}\n```\n", example.trim());
    }
    text.push_str("\n## Inputs\n\n| name | type | default | description |\n|---|---|---|---|\n");
    for variable in program.variables() {
        let default = match variable.default_span() {
            Some(span) => format!("`{}`", cell(program.sources().text(span))),
            None => "required".to_owned(),
        };
        let description = cell(variable.description.as_deref().unwrap_or(""));
        let kind = cell(&variable.constraint.to_string());
        let _infallible = writeln!(text, "| `{}` | `{kind}` | {default} | {description} |", variable.name);
    }
    text.push_str("\n## Outputs\n\n| name | description |\n|---|---|\n");
    for output in program.outputs() {
        let description = cell(output.description.as_deref().unwrap_or(""));
        let _infallible = writeln!(text, "| `{}` | {description} |", output.name);
    }
    text
}

/// One line, without bars.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The comment that a file begins with, without its marks.
fn leading_comment(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim()).collect::<Vec<_>>().join("\n").trim().to_owned()
}
