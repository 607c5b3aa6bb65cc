//! One dash before a long flag, as Terraform's users type it.
//!
//! Knows the flags from the grammar itself; short flags and values are left alone. A word that is neither is taken for a
//! mistyped long flag, so that it is refused by its whole name. Words behind `fs` keep `lfs`'s manners, and words behind
//! `--` are values.
//! Invariant: a word that is changed only gains one dash at its front.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Command;

/// Commands whose words are not touched, because their single dashes mean something else.
const FOREIGN: &[&str] = &["fs"];

/// Returns the words with a second dash before each long flag that has one.
pub fn normalise(command: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut flags = BTreeSet::from(["help".to_owned(), "version".to_owned()]);
    collect(command, &mut flags);
    let mut untouched = false;
    words
        .into_iter()
        .map(|word| {
            untouched |= word == "--" || FOREIGN.iter().any(|name| word == *name);
            if !untouched && is_single_dashed(&flags, &word) { doubled(&word) } else { word }
        })
        .collect()
}

fn collect(command: &Command, flags: &mut BTreeSet<String>) {
    if FOREIGN.contains(&command.get_name()) {
        return;
    }
    flags.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
    for inner in command.get_subcommands() {
        collect(inner, flags);
    }
}

fn is_single_dashed(flags: &BTreeSet<String>, word: &OsString) -> bool {
    let Some(rest) = word.to_str().and_then(|text| text.strip_prefix('-')) else { return false };
    let name = rest.split('=').next().unwrap_or(rest);
    let is_name = name.len() > 1
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|it| it.is_ascii_lowercase() || it == '-');
    flags.contains(name) || is_name
}

fn doubled(word: &OsString) -> OsString {
    let mut longer = OsString::from("-");
    longer.push(word);
    longer
}
