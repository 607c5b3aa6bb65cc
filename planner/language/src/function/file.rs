//! Files and paths, through [`World`].
//!
//! Paths are texts with `/`; nothing is resolved on a disk but by the world.
//! Invariant: the hash of every file whose contents went into a value is known to the scope.

use base64::Engine as _;
use lustre_model::value::Value;

use crate::function::{Read, Row, Run, Yield, home_expanded, read_bytes, read_text, refuse, text};
use crate::world::World;

pub(super) const ROWS: &[Row] = &[
    Row(
        "file(path string) string",
        "Reads a file as text.",
        ["file(\"hello.txt\")", "\"hello\""],
        Run::World(file),
    ),
    Row(
        "filebase64(path string) string",
        "Reads a file as base64.",
        ["filebase64(\"hello.txt\")", "\"aGVsbG8=\""],
        Run::World(file_base64),
    ),
    Row(
        "fileexists(path string) bool",
        "Says whether a file is there.",
        ["fileexists(\"missing\")", "false"],
        Run::World(exists),
    ),
    Row(
        "templatefile(path string, names any) string",
        "Reads a file as a template and renders it.",
        ["can(templatefile(\"missing\", {}))", "false"],
        Run::TemplateFile,
    ),
    Row(
        "templatestring(template string, names any) string",
        "Renders a template given as text.",
        ["templatestring(\"Hello, $${name}!\", { name = \"you\" })", "\"Hello, you!\""],
        Run::TemplateText,
    ),
    Row(
        "basename(path string) string",
        "Yields the last part of a path.",
        ["basename(\"foo/bar/baz.txt\")", "\"baz.txt\""],
        Run::Values(basename),
    ),
    Row(
        "dirname(path string) string",
        "Yields a path without its last part.",
        ["dirname(\"foo/bar/baz.txt\")", "\"foo/bar\""],
        Run::Values(dirname),
    ),
    Row(
        "abspath(path string) string",
        "Makes a path absolute.",
        ["abspath(\"a/../b\")", "\"/b\""],
        Run::World(absolute),
    ),
    Row(
        "pathexpand(path string) string",
        "Puts the home folder in the place of a leading `~`.",
        ["pathexpand(\"/etc\")", "\"/etc\""],
        Run::World(expand),
    ),
];

fn file(world: &dyn World, arguments: &[Value]) -> Read {
    let (content, hash) = read_text(world, text(arguments, 0))?;
    Ok((content.into(), Some(hash)))
}

fn file_base64(world: &dyn World, arguments: &[Value]) -> Read {
    let (bytes, hash) = read_bytes(world, text(arguments, 0))?;
    Ok((base64::engine::general_purpose::STANDARD.encode(bytes).into(), Some(hash)))
}

fn exists(world: &dyn World, arguments: &[Value]) -> Read {
    match world.file_exists(&home_expanded(world, text(arguments, 0))) {
        Ok(found) => Ok((found.into(), None)),
        Err(error) => refuse(0, format!("{:?}: {error}", text(arguments, 0))),
    }
}

fn absolute(world: &dyn World, arguments: &[Value]) -> Read {
    let path = text(arguments, 0);
    let full =
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", world.working_folder()) };
    Ok((clean(&full).into(), None))
}

fn expand(world: &dyn World, arguments: &[Value]) -> Read {
    Ok((home_expanded(world, text(arguments, 0)).as_ref().into(), None))
}

/// Resolves `.`, `..` and doubled slashes of a path by its text.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn basename(arguments: &[Value]) -> Yield {
    let path = text(arguments, 0);
    let bare = path.trim_end_matches('/');
    Ok(match (path.is_empty(), bare.is_empty()) {
        (true, _) => ".".into(),
        (false, true) => "/".into(),
        (false, false) => bare.rsplit('/').next().unwrap_or(bare).into(),
    })
}

fn dirname(arguments: &[Value]) -> Yield {
    let path = text(arguments, 0);
    let folder = path.rfind('/').map_or("", |at| &path[..=at]);
    Ok(clean(folder).into())
}
