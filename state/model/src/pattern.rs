//! Patterns that name many addresses at once: `-target`, `-exclude`, `-replace`, `-allow-data-loss`.
//!
//! ```text
//! value.a          the resource, with all its instances and parts
//! module.lab       everything in it
//! value.*  *"a"*   any text for each star
//! ```
//! Invariant: matching costs no more than the lengths of pattern and text multiplied.

use crate::address::{Address, ModuleStep};

/// Names addresses; `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Tells whether the pattern means an address: itself, what it is a part or an instance of, or a module around it.
    pub fn covers(&self, address: &Address) -> bool {
        let fits = |text: &str| glob(&self.0, text);
        if fits(&address.to_string())
            || fits(&address.whole().to_string())
            || fits(&address.block().to_string())
        {
            return true;
        }
        let mut around = String::new();
        address.modules.iter().any(|step| {
            let block = format!("{around}{}", ModuleStep { key: None, ..step.clone() });
            around.push_str(&step.to_string());
            let found = fits(&block) || fits(&around);
            around.push('.');
            found
        })
    }
}

/// Matches `*` against any text, everything else against itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_instances_parts_and_what_is_in_a_module() {
        let inside = r#"module.lab["x"].cluster.scratch[0].target["scratch-OST0003"]"#;
        for (pattern, address, fits) in [
            ("cluster.a", "cluster.a", true),
            ("cluster.a", r#"cluster.a["k"]"#, true),
            ("cluster.a", r#"cluster.a.target["a-OST0000"]"#, true),
            ("cluster.a", "cluster.ab", false),
            ("cluster.*", "cluster.ab", true),
            ("*", inside, true),
            ("module.lab", inside, true),
            (r#"module.lab["x"]"#, inside, true),
            (r#"module.lab["y"]"#, inside, false),
            ("module.la", inside, false),
            (r#"module.lab["x"].cluster.scratch"#, inside, true),
            ("cluster.scratch", inside, false),
            ("*OST0003*", inside, true),
            ("", "cluster.a", false),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(Pattern(pattern.to_owned()).covers(&address), fits, "{pattern} {address}");
        }
    }
}
