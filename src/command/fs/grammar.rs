//! The words of `lfs setstripe`: options before the first `-E` make one component, each `-E` begins another.
//!
//! Options of a component that are left out are those of the component before it, as in `lfs`.
//! Invariant: a parsed layout has ends that rise, each a multiple of its stripe size.

use std::path::PathBuf;

use lustre_model::layout::{
    ComponentTemplate, END_OF_FILE, LayoutTemplate, STRIPE_SIZE_DEFAULT, STRIPE_SIZE_MIN, StripeCount,
};
use thiserror::Error;

/// What to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `-d`: what the parent directory gives.
    Inherit,
    /// This.
    Layout(LayoutTemplate),
}

/// The words make no layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// An option of `lfs` that is not here.
    #[error("{option} is not supported: targets are chosen by free space; there are -c, -S, -E and -d")]
    Unsupported {
        /// Which.
        option: String,
    },
    /// No value behind an option.
    #[error("{option} needs a value")]
    NoValue {
        /// Which.
        option: String,
    },
    /// The value makes no sense.
    #[error("{option} {value}: {expected}")]
    Value {
        /// Of which option.
        option: String,
        /// What was given.
        value: String,
        /// What is right.
        expected: &'static str,
    },
    /// No path.
    #[error("setstripe needs a file or a directory")]
    NoPath,
    /// `-d` with a layout.
    #[error("-d removes the layout and cannot be given together with one")]
    DeleteAndSet,
}

/// Reads the words behind `setstripe`.
pub fn parse(words: &[String]) -> Result<(Setting, Vec<PathBuf>), SettingError> {
    let mut reading = Reading::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some((option, inline)) = option_of(word) else {
            reading.paths.push(PathBuf::from(word));
            continue;
        };
        if option == Name::Delete {
            reading.delete = true;
            continue;
        }
        let no_value = || SettingError::NoValue { option: word.clone() };
        let value = inline.or_else(|| words.next().cloned()).ok_or_else(no_value)?;
        reading.take(option, word, &value)?;
    }
    reading.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Count,
    Size,
    End,
    Delete,
    Other,
}

/// The option that a word is, with the value that is written in the same word.
fn option_of(word: &str) -> Option<(Name, Option<String>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let name = match name {
            "stripe-count" => Name::Count,
            "stripe-size" => Name::Size,
            "component-end" => Name::End,
            "delete" => Name::Delete,
            _ => Name::Other,
        };
        return Some((name, value.map(str::to_owned)));
    }
    let short = word.strip_prefix('-').filter(|rest| !rest.is_empty())?;
    let name = match short.chars().next()? {
        'c' => Name::Count,
        'S' => Name::Size,
        'E' => Name::End,
        'd' => Name::Delete,
        _ => Name::Other,
    };
    let value = short.get(1..).filter(|value| !value.is_empty()).map(str::to_owned);
    Some((name, value))
}

#[derive(Debug, Default)]
struct Reading {
    components: Vec<ComponentTemplate>,
    count: Option<StripeCount>,
    size: Option<u32>,
    delete: bool,
    paths: Vec<PathBuf>,
}

impl Reading {
    fn take(&mut self, option: Name, word: &str, value: &str) -> Result<(), SettingError> {
        let wrong =
            |expected| SettingError::Value { option: word.to_owned(), value: value.to_owned(), expected };
        match option {
            Name::Count => {
                let count = stripe_count(value).ok_or_else(|| wrong("a number of targets, or -1 for all"))?;
                self.set(|component| component.stripe_count = count);
                self.count = Some(count);
            }
            Name::Size => {
                let size = stripe_size(value).ok_or_else(|| wrong("a multiple of 64K below 4G"))?;
                self.set(|component| component.stripe_size = size);
                self.size = Some(size);
            }
            Name::End => {
                let end = end_of(value)
                    .ok_or_else(|| wrong("a size such as 64M, or -1 for the end of the file"))?;
                let before = self.components.last().map_or(0, |component| component.end);
                if end <= before {
                    return Err(wrong("must be behind the end of the component before it"));
                }
                let component = self.component(end);
                self.components.push(component);
            }
            Name::Delete | Name::Other => return Err(SettingError::Unsupported { option: word.to_owned() }),
        }
        Ok(())
    }

    /// Changes the component that was begun last, if one was.
    fn set(&mut self, change: impl FnOnce(&mut ComponentTemplate)) {
        if let Some(component) = self.components.last_mut() {
            change(component);
        }
    }

    fn component(&self, end: u64) -> ComponentTemplate {
        ComponentTemplate {
            end,
            stripe_size: self.size.unwrap_or(STRIPE_SIZE_DEFAULT),
            stripe_count: self.count.unwrap_or(StripeCount::Exact(1)),
            pool: None,
        }
    }

    fn finish(mut self) -> Result<(Setting, Vec<PathBuf>), SettingError> {
        if self.paths.is_empty() {
            return Err(SettingError::NoPath);
        }
        let sets = !self.components.is_empty() || self.count.is_some() || self.size.is_some();
        if self.delete {
            return if sets { Err(SettingError::DeleteAndSet) } else { Ok((Setting::Inherit, self.paths)) };
        }
        if self.components.is_empty() {
            let only = self.component(END_OF_FILE);
            self.components.push(only);
        }
        for component in &self.components {
            if component.end != END_OF_FILE && component.end % u64::from(component.stripe_size) != 0 {
                return Err(SettingError::Value {
                    option: "-E".to_owned(),
                    value: component.end.to_string(),
                    expected: "must be a multiple of the component's stripe size",
                });
            }
        }
        Ok((Setting::Layout(LayoutTemplate { components: self.components }), self.paths))
    }
}

fn stripe_count(text: &str) -> Option<StripeCount> {
    match text {
        "-1" => Some(StripeCount::All),
        "0" => Some(StripeCount::Exact(1)),
        _ => text.parse().ok().map(StripeCount::Exact),
    }
}

fn stripe_size(text: &str) -> Option<u32> {
    let size = u32::try_from(bytes(text)?).ok()?;
    match size {
        0 => Some(STRIPE_SIZE_DEFAULT),
        size if size % STRIPE_SIZE_MIN == 0 => Some(size),
        1.. => None,
    }
}

fn end_of(text: &str) -> Option<u64> {
    if text == "-1" || text.eq_ignore_ascii_case("eof") { Some(END_OF_FILE) } else { bytes(text) }
}

/// A number of bytes with a suffix of 1024's powers.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(line: &str) -> Result<Vec<(u64, u32, StripeCount)>, SettingError> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (setting, paths) = parse(&words)?;
        assert_eq!(paths, [PathBuf::from("f")]);
        let Setting::Layout(layout) = setting else { return Ok(Vec::new()) };
        Ok(layout.components.iter().map(|c| (c.end, c.stripe_size, c.stripe_count)).collect())
    }

    #[test]
    fn lines_of_the_manual_are_understood() {
        let two = StripeCount::Exact(2);
        assert_eq!(components("-c 2 -S 4M f"), Ok(vec![(END_OF_FILE, 4 << 20, two)]));
        assert_eq!(components("-c2 --stripe-size=64k f"), Ok(vec![(END_OF_FILE, 64 << 10, two)]));
        assert_eq!(
            components("-E 4M -c 1 -E 64M -c 4 -E -1 -c -1 -S 4M f"),
            Ok(vec![
                (4 << 20, 1 << 20, StripeCount::Exact(1)),
                (64 << 20, 1 << 20, StripeCount::Exact(4)),
                (END_OF_FILE, 4 << 20, StripeCount::All),
            ])
        );
        assert_eq!(components("-d f"), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_layout_is_said() {
        for line in [
            "-c",
            "-c x f",
            "-S 5 f",
            "-E 4M -E 2M f",
            "-E 1000 f",
            "-d -c 2 f",
            "-c 2",
            "-p pool f",
            "-i 3 f",
        ] {
            assert!(components(line).is_err(), "{line}");
        }
        let refused = components("-p fast f").unwrap_err();
        assert!(refused.to_string().starts_with("-p is not supported"), "{refused}");
    }
}
