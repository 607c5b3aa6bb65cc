//! Names that are not valid UTF-8: they have no key, but a mark, so that they are reported for as long as they are there.
//!
//! A mark is the path with `\xff` for a byte that is no text, `\\` for a backslash, and a NUL behind it, which no key of S3 and
//! no name has.
//! Invariant: the path of a mark is the path that it was made of, so that it can be looked for again after a start.

use super::{LinkId, Target};

/// Why it is not exported.
pub(super) const CAUSE: &str = "S3ExportPathNotUtf8: the name is not valid UTF-8";

/// Ends a mark.
const END: char = '\0';

/// Returns the mark of a path that is not text.
pub(super) fn mark(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() + 8);
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push(END);
    text
}

/// Returns the path of a mark; `None` for one that is a key.
pub(super) fn path(mark: &str) -> Option<Vec<u8>> {
    let mut rest = mark.strip_suffix(END)?;
    let mut path = Vec::with_capacity(rest.len());
    while let Some((plain, escaped)) = rest.split_once('\\') {
        path.extend_from_slice(plain.as_bytes());
        match escaped.strip_prefix('x') {
            Some(hex) => {
                path.push(u8::from_str_radix(hex.get(..2)?, 16).ok()?);
                rest = hex.get(2..)?;
            }
            None => {
                path.push(b'\\');
                rest = escaped.strip_prefix('\\')?;
            }
        }
    }
    path.extend_from_slice(rest.as_bytes());
    Some(path)
}

/// A mark as it is shown.
pub(in crate::target) fn shown(mark: &str) -> &str {
    mark.strip_suffix(END).unwrap_or(mark)
}

impl Target {
    /// Looks again at the marks below a prefix that are no keys.
    pub(super) fn sweep_unnamed(&mut self, link: LinkId, prefix: &[u8]) {
        let prefix = mark(prefix);
        let prefix = shown(&prefix);
        let exports = &mut self.links.exports;
        let below = exports.dirty.range((link, prefix.to_owned())..);
        let below = below.take_while(|((id, text), _)| *id == link && text.starts_with(prefix));
        let marks = below.filter(|((_, text), _)| text.ends_with(END)).map(|(mark, _)| mark.clone());
        for mark in marks.collect::<Vec<_>>() {
            exports.enqueue(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_path_is_read_back_from_its_mark(bytes in proptest::collection::vec(1_u8.., 0..40)) {
            prop_assert_eq!(path(&mark(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn keys_are_no_marks() {
        assert_eq!(path("a/b"), None);
        assert_eq!(mark(b"a/\xffb\\"), "a/\\xffb\\\\\0");
        assert_eq!(shown("a/\\xff\0"), "a/\\xff");
    }
}
