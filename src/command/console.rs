//! `lustre console`: expressions in, values out, with everything that the spec names in sight.
//!
//! Resources have the values that a plan made now would give them; hosts are not asked.
//! Invariant: nothing is changed, and one wrong expression ends only itself.

use std::io::IsTerminal as _;

use lustre_model::recorded::Output;

use super::spec::{self, Asking};
use super::{recorded, spec::Spec};
use crate::cli::ConsoleFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{diagnostic, styled, values};
use crate::wiring;

/// Reads expressions until the input ends, and prints their values; a pipe that had a wrong one fails in the end.
pub fn run(flags: &ConsoleFlags, terminal: Terminal) -> Result<Success, Failure> {
    let spec = spec::load(&flags.variables, Asking::Refused)?;
    let recorded = recorded::read(spec.place()?)?;
    let prompt = if std::io::stdin().is_terminal() { "> " } else { "" };
    let mut wrong = 0;
    let mut text = String::new();
    while let Some(line) = terminal.ask(if text.is_empty() { prompt } else { "" })? {
        text.push_str(&line);
        text.push('\n');
        if is_open(&text) {
            continue;
        }
        let expression = std::mem::take(&mut text);
        match expression.trim() {
            "" => {}
            "exit" | "quit" => break,
            expression => wrong += usize::from(!answer(&spec, &recorded, expression, terminal)),
        }
    }
    if wrong > 0 && prompt.is_empty() {
        let cause = format!("{wrong} of the expressions could not be evaluated");
        return Err(Failure::Said { cause, hint: None });
    }
    Ok(Success::Done)
}

/// Prints the value of an expression, or what is wrong with it; tells whether it had one.
fn answer(spec: &Spec, recorded: &recorded::Recorded, expression: &str, terminal: Terminal) -> bool {
    match wiring::evaluate(spec, &recorded.world, expression) {
        Ok(value) => {
            let shown = values::output(&Output { value, sensitive: false });
            terminal.say(styled::draw(&shown, terminal.out_colour()).trim_end());
            true
        }
        Err(found) => {
            let drawn = diagnostic::draw(&found, spec.program.sources(), terminal.err_colour());
            terminal.tell(drawn.trim_end());
            false
        }
    }
}

/// Tells whether more brackets were opened than closed, so that an expression goes on in the next line.
fn is_open(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_i64, false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth > 0 && !quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_goes_on_while_a_bracket_is_open() {
        for (text, open) in [
            ("1 + 1\n", false),
            ("[for x in\n", true),
            ("{ a = \"}\"\n", true),
            ("{ a = \"\\\"{\" }\n", false),
            ("\"unclosed {\n", false),
            (")\n", false),
        ] {
            assert_eq!(is_open(text), open, "{text}");
        }
    }
}
