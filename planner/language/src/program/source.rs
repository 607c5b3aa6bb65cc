//! Where modules come from: a folder of the spec, or a git repository.
//!
//! ```text
//! ./modules/lab      ../shared
//! git::https://example.org/modules.git//lab?ref=v1.2      git::ssh://git@host/x.git      git::file:///srv/git/x
//! ```
//! Decided by the text alone; nothing is fetched here. The files of a repository are looked for in a folder that follows
//! from its URL and ref, so that whoever has the files needs to know nothing more.
//! Invariant: no part of a source can be taken for an option by a program that it is given to, and no path leaves the
//! spec's folders or the repository that it is in.

use lustre_model::diagnostic::Span;
use sha2::{Digest as _, Sha256};

/// Folder of the repositories that were fetched.
pub const INSTALLED: &str = ".lustre/modules";

/// Longest source, in bytes.
const SOURCE_BYTES_MAX: usize = 4096;

/// Schemes that git may be asked with.
const SCHEMES: [&str; 3] = ["https", "ssh", "file"];

/// A repository that modules come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// URL and ref as a spec writes them, without the folder inside: the name of the repository in the lock file.
    pub source: String,
    /// What git is asked for.
    pub url: String,
    /// Branch, tag or commit; the remote's own choice when it is not given.
    pub reference: Option<String>,
    /// Where its files are, from the root's folder.
    pub folder: String,
    /// Where it is named first.
    pub span: Span,
}

/// What a `source` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A folder, from the root's.
    Local(String),
    /// A folder in a repository, from the root's.
    Remote(Remote, String),
}

/// Reads a `source` of a module in the folder `from`; says what is wrong with it otherwise.
pub(super) fn read(from: &str, source: &str, span: Span) -> Result<Source, &'static str> {
    if source.len() > SOURCE_BYTES_MAX || source.chars().any(|it| it.is_control() || it == '\\') {
        return Err("It is too long, or holds characters that no path or URL of a module has.");
    }
    match source.strip_prefix("git::") {
        Some(git) => remote(git, span),
        None => local_folder(from, source).map(Source::Local),
    }
}

fn remote(text: &str, span: Span) -> Result<Source, &'static str> {
    let (address, query) =
        text.split_once('?').map_or((text, None), |(address, query)| (address, Some(query)));
    let Some((scheme, rest)) = address.split_once("://").filter(|(scheme, _)| SCHEMES.contains(scheme))
    else {
        return Err("A repository is named as `git::https://…`, `git::ssh://…` or `git::file://…`.");
    };
    if rest.chars().any(|it| it.is_whitespace() || "\"'`$;&|<>".contains(it)) {
        return Err("The URL holds characters that no URL of a repository has.");
    }
    let (repository, folder) = rest.split_once("//").unwrap_or((rest, ""));
    let host = repository.split('/').next().unwrap_or_default();
    let beginnings = host.split(['@', ':']).all(|part| !part.starts_with('-'));
    match scheme {
        "file" if !repository.starts_with('/') => return Err("The path behind `file://` begins with `/`."),
        "https" | "ssh" if host.is_empty() || !beginnings => return Err("The URL names no host."),
        _ => {}
    }
    if scheme == "https" && host.contains('@') {
        return Err("The URL holds a user or password; git asks its own credential helper for these.");
    }
    let parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || repository.split('/').any(|part| part == "..") {
        return Err("`..` leads out of the repository.");
    }
    let reference = query.map(reference).transpose()?;
    let url = format!("{scheme}://{repository}");
    let suffix = reference.as_ref().map(|reference| format!("?ref={reference}")).unwrap_or_default();
    let source = format!("git::{url}{suffix}");
    let hash = hex::encode(Sha256::digest(source.as_bytes()));
    let installed = format!("{INSTALLED}/{}", &hash[..16]);
    let inside = std::iter::once(installed.as_str()).chain(parts).collect::<Vec<_>>().join("/");
    Ok(Source::Remote(Remote { source, url, reference, folder: installed, span }, inside))
}

fn reference(query: &str) -> Result<String, &'static str> {
    let Some(reference) = query.strip_prefix("ref=") else {
        return Err("Behind `?` there is `ref=` only: a branch, a tag or a commit.");
    };
    let letters = reference.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._/".contains(&it));
    if reference.is_empty() || !letters || reference.starts_with(['-', '/', '.']) || reference.contains("..")
    {
        return Err(
            "A ref has letters, digits, `-`, `_`, `.` and `/`, and does not begin with `-`, `.` or `/`.",
        );
    }
    Ok(reference.to_owned())
}

/// Returns the folder that a local `source` names, from the root's folder; what is wrong with it otherwise.
fn local_folder(from: &str, source: &str) -> Result<String, &'static str> {
    let local = source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
    if !local {
        return Err(
            "A folder beside this one is written with `./` or `../` in front, as in `./modules/lab`.",
        );
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| *part != ".").collect();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let folder = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    let repository = |folder: &str| {
        let inside = folder.strip_prefix(INSTALLED)?.strip_prefix('/')?;
        inside.split('/').next().map(str::to_owned)
    };
    match repository(from) {
        Some(own) if repository(&folder).as_ref() != Some(&own) => {
            Err("The path leads out of the module's repository.")
        }
        Some(_) | None => Ok(folder),
    }
}

#[cfg(test)]
mod tests {
    use lustre_model::diagnostic::SourceId;

    use super::*;

    fn of(from: &str, source: &str) -> Option<Source> {
        read(from, source, Span::new(SourceId(0), 0..0)).ok()
    }

    #[test]
    fn folders_of_modules_are_taken_from_where_they_are_called() {
        for (from, source, folder) in [
            (".", "./modules/a", Some("modules/a")),
            ("modules/a", "../b", Some("modules/b")),
            ("modules/a", "./inner/", Some("modules/a/inner")),
            (".", "../shared", Some("../shared")),
            ("../shared", "../other", Some("../other")),
            ("modules/a", "../..", Some(".")),
            ("modules/a", "../../..", Some("..")),
            (".lustre/modules/0123/a", "../b", Some(".lustre/modules/0123/b")),
            (".lustre/modules/0123/a", "../../b", None),
            (".", "modules/a", None),
            (".", "/etc", None),
            (".", "./a\nb", None),
        ] {
            let expected = folder.map(|folder| Source::Local(folder.to_owned()));
            assert_eq!(of(from, source), expected, "{source} from {from}");
        }
    }

    #[test]
    fn repositories_are_named_by_url_folder_and_ref() {
        let Some(Source::Remote(remote, folder)) = of(".", "git::https://example.org/m.git//a/b?ref=v1.2")
        else {
            panic!("a repository")
        };
        assert_eq!(
            (remote.url.as_str(), remote.reference.as_deref()),
            ("https://example.org/m.git", Some("v1.2"))
        );
        assert_eq!(remote.source, "git::https://example.org/m.git?ref=v1.2");
        assert_eq!(folder, format!("{}/a/b", remote.folder));
        assert!(
            of(".", "git::ssh://git@example.org/m.git").is_some() && of(".", "git::file:///srv/m").is_some()
        );
    }

    #[test]
    fn sources_that_a_program_could_take_for_something_else_are_refused() {
        for source in [
            "git::https://example.org/m?ref=-x",
            "git::https://example.org/m?ref=--upload-pack=touch",
            "git::https://example.org/m?ref=a..b",
            "git::https://example.org/m?depth=1",
            "git::https://-oProxyCommand=x/m",
            "git::ssh://-oProxyCommand=x/m",
            "git::ssh://git@-oProxyCommand=x/m",
            "git::https://user:word@example.org/m",
            "git::http://example.org/m",
            "git::ext::sh -c x",
            "git::file://relative",
            "git::file:///srv/m//../x",
            "git::https://exa mple.org/m",
            "git::https:///m",
        ] {
            assert_eq!(of(".", source), None, "{source}");
        }
    }
}
