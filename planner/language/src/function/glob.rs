//! `fileset`: the files beneath a folder whose paths match a pattern.
//!
//! ```text
//! *  any letters   ?  one letter   [a-z] [^a-z]  one of, one but   {a,b}  either   **  any folders   \*  a star
//! ```
//! Folders are listed through [`World`], which follows no symbolic link out of them.
//! Invariant: a pattern reaches nothing outside its folder, and at most [`ENTRIES_MAX`] entries are looked at.

use std::collections::BTreeSet;

use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::function::{Read, Refusal, Row, Run, refuse, text};
use crate::world::{EntryKind, World, WorldError};

/// Most entries that one call looks at.
const ENTRIES_MAX: usize = 100_000;

/// Most patterns that alternatives in braces stand for.
const ALTERNATIVES_MAX: usize = 256;

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 4096;

pub(super) const ROWS: &[Row] = &[Row(
    "fileset(path string, pattern string) set(string)",
    "Lists the files beneath a folder that match a pattern.",
    ["fileset(\".\", \"{hello,conf}*.txt\")", "[\"hello.txt\"]"],
    Run::World(file_set),
)];

/// A piece of a pattern, between slashes.
enum Piece {
    /// `**`
    Folders,
    /// Anything else.
    Name(Vec<Token>),
}

enum Token {
    Letter(char),
    One,
    Any,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

fn file_set(world: &dyn World, arguments: &[Value]) -> Read {
    let (folder, pattern) = (text(arguments, 0), text(arguments, 1));
    if pattern.len() > PATTERN_BYTES_MAX {
        return refuse(1, format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
    }
    let mut walk = Walk { world, folder, looked_at: 0, found: BTreeSet::new(), seen: BTreeSet::new() };
    for alternative in alternatives(pattern)? {
        let pieces = alternative.split('/').filter(|piece| !piece.is_empty() && *piece != ".");
        let pieces: Vec<Piece> = pieces.map(Piece::read).collect::<Result<_, _>>()?;
        walk.seen.clear();
        walk.folder(String::new(), &pieces)?;
    }
    Ok((Value::set(Type::String, walk.found.into_iter().map(Value::from)), None))
}

/// Replaces alternatives in braces by the patterns that they stand for.
fn alternatives(pattern: &str) -> Result<Vec<String>, Refusal> {
    let mut waiting = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(next) = waiting.pop() {
        let Some((open, commas, close)) = braces(&next)? else {
            done.push(next);
            continue;
        };
        let starts = std::iter::once(open).chain(commas.iter().copied());
        let ends = commas.iter().copied().chain([close]);
        for (start, end) in starts.zip(ends) {
            waiting.push([&next[..open], &next[start + 1..end], &next[close + 1..]].concat());
        }
        if waiting.len() + done.len() > ALTERNATIVES_MAX {
            return refuse(1, format!("a pattern stands for at most {ALTERNATIVES_MAX} others"));
        }
    }
    Ok(done)
}

/// Finds the first outermost pair of braces, and its commas.
fn braces(pattern: &str) -> Result<Option<(usize, Vec<usize>, usize)>, Refusal> {
    let (mut depth, mut open, mut commas) = (0usize, 0, Vec::new());
    let mut letters = pattern.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '{' => {
                open = if depth == 0 { at } else { open };
                depth += 1;
            }
            ',' if depth == 1 => commas.push(at),
            '}' if depth == 1 => return Ok(Some((open, commas, at))),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if depth > 0 { refuse(1, "a `{` is not closed") } else { Ok(None) }
}

impl Piece {
    fn read(text: &str) -> Result<Self, Refusal> {
        if text == "**" {
            return Ok(Self::Folders);
        }
        if text == ".." {
            return refuse(1, "a pattern stays inside its folder; name another folder in the first argument");
        }
        let mut tokens = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            tokens.push(match letter {
                '*' => Token::Any,
                '?' => Token::One,
                '[' => class(&mut letters)?,
                '\\' => match letters.next() {
                    Some(letter) => Token::Letter(letter),
                    None => return refuse(1, "it ends with a backslash"),
                },
                letter => Token::Letter(letter),
            });
        }
        Ok(Self::Name(tokens))
    }
}

fn class(letters: &mut std::str::Chars<'_>) -> Result<Token, Refusal> {
    let unclosed = || Refusal { argument: Some(1), reason: "a `[` is not closed".to_owned() };
    let negated = letters.as_str().starts_with(['^', '!']);
    if negated {
        letters.next();
    }
    let mut ranges = Vec::new();
    loop {
        let mut next = || match letters.next() {
            Some('\\') => letters.next(),
            other => other,
        };
        let from = next().ok_or_else(unclosed)?;
        if from == ']' && !ranges.is_empty() {
            return Ok(Token::Class { negated, ranges });
        }
        let mut to = from;
        let mut ahead = letters.clone();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|letter| letter != ']') {
            letters.next();
            to = letters.next().ok_or_else(unclosed)?;
        }
        ranges.push((from, to));
    }
}

impl Token {
    fn fits(&self, letter: char) -> bool {
        match self {
            Self::Letter(wanted) => *wanted == letter,
            Self::One | Self::Any => true,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != *negated
            }
        }
    }
}

/// Matches a name; on a mismatch the last star takes one letter more, so that the time is bounded by a product.
fn matches(tokens: &[Token], name: &str) -> bool {
    let letters: Vec<char> = name.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < letters.len() {
        match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((token + 1, at));
                token += 1;
            }
            Some(found) if found.fits(letters[at]) => {
                token += 1;
                at += 1;
            }
            Some(_) | None => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                token = after;
                at = taken + 1;
            }
        }
    }
    tokens[token..].iter().all(|token| matches!(token, Token::Any))
}

struct Walk<'a> {
    world: &'a dyn World,
    folder: &'a str,
    looked_at: usize,
    found: BTreeSet<String>,
    /// Folders and how many pieces were left there, so that `**/**` does no work twice.
    seen: BTreeSet<(String, usize)>,
}

impl Walk<'_> {
    /// Looks for the pieces in a folder, given as a path below the first one; empty, or ending with a slash.
    fn folder(&mut self, below: String, pieces: &[Piece]) -> Result<(), Refusal> {
        let Some((piece, rest)) = pieces.split_first() else { return Ok(()) };
        if !self.seen.insert((below.clone(), pieces.len())) {
            return Ok(());
        }
        if let (Piece::Folders, false) = (piece, rest.is_empty()) {
            self.folder(below.clone(), rest)?;
        }
        let path = format!("{}/{below}", self.folder);
        let entries = match self.world.list_folder(path.trim_end_matches('/')) {
            Ok(entries) => entries,
            Err(WorldError::NotFound) => return Ok(()),
            Err(error) => return refuse(0, format!("{path:?} cannot be listed: {error}")),
        };
        self.looked_at += entries.len();
        if self.looked_at > ENTRIES_MAX {
            return refuse(1, format!("there are more than {ENTRIES_MAX} entries to look at"));
        }
        for entry in entries {
            let inside = format!("{below}{}", entry.name);
            match (piece, entry.kind) {
                (Piece::Folders, EntryKind::Folder) => self.folder(inside + "/", pieces)?,
                (Piece::Folders, EntryKind::File) if rest.is_empty() => drop(self.found.insert(inside)),
                (Piece::Folders, EntryKind::File) => {}
                (Piece::Name(tokens), kind) if matches(tokens, &entry.name) => match kind {
                    EntryKind::Folder => self.folder(inside + "/", rest)?,
                    EntryKind::File if rest.is_empty() => drop(self.found.insert(inside)),
                    EntryKind::File => {}
                },
                (Piece::Name(_), EntryKind::File | EntryKind::Folder) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_or_do_not() {
        for (pattern, name, expected) in [
            ("*", "a.txt", true),
            ("*.t?t", "a.txt", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "", true),
        ] {
            let Ok(Piece::Name(tokens)) = Piece::read(pattern) else { panic!("{pattern}") };
            assert_eq!(matches(&tokens, name), expected, "{pattern} {name}");
        }
        let stars = "a*".repeat(2000);
        let Ok(Piece::Name(tokens)) = Piece::read(&stars) else { panic!() };
        assert!(!matches(&tokens, &("a".repeat(255) + "b")));
    }

    #[test]
    fn braces_stand_for_alternatives() {
        let mut found = alternatives("{a,b{c,d}}e").unwrap();
        found.sort();
        assert_eq!(found, ["ae", "bce", "bde"]);
        assert!(alternatives("{a").is_err());
        assert!(alternatives(&"{a,b}".repeat(20)).is_err());
        assert!(class(&mut "a".chars()).is_err());
    }
}
