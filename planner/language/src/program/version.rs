//! `required_version`: which releases may work with a spec.
//!
//! Constraints are written as Terraform's: `">= 0.1, < 2.0"`, with `=`, `!=`, `>`, `>=`, `<`, `<=` and `~>` (the last number
//! given may grow). Releases are three numbers; absent ones are 0.
//! Invariant: a constraint that cannot be read is an error, never fulfilled.

use lustre_model::diagnostic::{Diagnostic, Span};

/// This release.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

type Release = [u64; 3];

/// Returns what is wrong when this release does not fulfil `constraints`.
pub(super) fn check(constraints: &str, span: Span) -> Option<Diagnostic> {
    let unreadable = |part: &str| {
        Diagnostic::error("E0213", format!("`{part}` is not a version constraint"))
            .hint("Write one as \">= 0.1\", several with commas: \">= 0.1, < 2.0\".")
            .at(span)
    };
    for part in constraints.split(',').map(str::trim) {
        match fulfils(RELEASE, part) {
            None => return Some(unreadable(part)),
            Some(true) => {}
            Some(false) => {
                let summary = format!("this is lustre {RELEASE}, and the spec asks for {constraints}");
                let hint = "Use a release that fits, or change `required_version`.";
                return Some(Diagnostic::error("E0214", summary).hint(hint).at(span));
            }
        }
    }
    None
}

/// Says whether `release` fulfils one constraint; `None` when that cannot be read.
fn fulfils(release: &str, constraint: &str) -> Option<bool> {
    let split = constraint.find(|c: char| c.is_ascii_digit())?;
    let (operator, number) = constraint.split_at(split);
    let (release, (wanted, given)) = (numbers(release)?.0, numbers(number)?);
    Some(match operator.trim() {
        "" | "=" => release == wanted,
        "!=" => release != wanted,
        ">" => release > wanted,
        ">=" => release >= wanted,
        "<" => release < wanted,
        "<=" => release <= wanted,
        "~>" => release >= wanted && release[..given.max(2) - 1] == wanted[..given.max(2) - 1],
        _ => return None,
    })
}

/// Reads one to three numbers, and says how many there were.
fn numbers(text: &str) -> Option<(Release, usize)> {
    let mut release = [0; 3];
    let mut given = 0;
    for part in text.trim().split('.') {
        *release.get_mut(given)? = part.parse().ok()?;
        given += 1;
    }
    Some((release, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_mean_what_terraform_users_expect() {
        for (constraint, release, expected) in [
            (">= 0.1", "0.1.0", Some(true)),
            ("> 0.1", "0.1.0", Some(false)),
            ("= 1.2.3", "1.2.3", Some(true)),
            ("1.2", "1.2.0", Some(true)),
            ("!= 1.2", "1.2.0", Some(false)),
            ("< 2", "1.9.9", Some(true)),
            ("<= 1.9", "1.9.9", Some(false)),
            ("~> 1.2", "1.9.0", Some(true)),
            ("~> 1.2", "2.0.0", Some(false)),
            ("~> 1.2.3", "1.2.9", Some(true)),
            ("~> 1.2.3", "1.3.0", Some(false)),
            ("~> 1", "1.5.0", Some(true)),
            ("about 1", "1.0.0", None),
            ("1.2.3.4", "1.0.0", None),
            ("", "1.0.0", None),
            (">= 1.x", "1.0.0", None),
        ] {
            assert_eq!(fulfils(release, constraint), expected, "{constraint} on {release}");
        }
    }

    #[test]
    fn this_release_is_compared() {
        let span = Span::new(lustre_model::diagnostic::SourceId(0), 0..1);
        assert!(check(">= 0.1, < 1000", span).is_none());
        let refused = check("> 1000", span).expect("not fulfilled");
        assert_eq!(refused.code, "E0214");
    }
}
