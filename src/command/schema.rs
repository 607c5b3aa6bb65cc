//! `lustre schema`: which blocks there are, and what each may say.
//!
//! Invariant: what is printed comes from the code that reads specs, so it cannot differ from it.

use lustre_language::nearest;
use lustre_model::resource::Kind;
use lustre_plan::outline;

use crate::cli::SchemaFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::{schema as view, styled};

/// Prints the schema of one kind, or of all.
pub fn run(flags: &SchemaFlags, terminal: Terminal) -> Result<Success, Failure> {
    let kinds = match &flags.kind {
        None => Kind::BLOCKS.to_vec(),
        Some(name) => vec![kind(name)?],
    };
    let outlines: Vec<_> = kinds.into_iter().map(|kind| (kind, outline(kind))).collect();
    if flags.view.json {
        terminal.say(&format!("{:#}", view::json(&outlines)));
    } else {
        terminal.say_raw(&styled::draw(&view::text(&outlines), terminal.out_colour()));
    }
    Ok(Success::Done)
}

fn kind(name: &str) -> Result<Kind, Failure> {
    Kind::from_name(name).ok_or_else(|| {
        let names = Kind::BLOCKS.map(Kind::name);
        let near = nearest(name, names).map(|near| format!("did you mean {near}? "));
        Failure::Said {
            cause: format!("there is no resource type {name:?}"),
            hint: Some(format!("{}there are: {}", near.unwrap_or_default(), names.join(", "))),
        }
    })
}
