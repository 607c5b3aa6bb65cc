//! `lustre docs`: the README of a module, from what its files say of themselves.
//!
//! The leading comment of `main.hcl` says what it is, `example/main.hcl` shows its use, descriptions of variables and outputs
//! make the tables.
//! Invariant: the same files always give the same text, so that a pipeline can compare.

use std::path::Path;

use lustre_language::Program;
use lustre_plan::KINDS;

use crate::cli::DocsFlags;
use crate::exit::{Failure, Success};
use crate::files::{self, SpecFolders};
use crate::terminal::Terminal;
use crate::view::docs as view;

/// The file that is written and compared.
const README: &str = "README.md";

/// Prints, writes or compares the README of a module's folder.
pub fn run(flags: &DocsFlags, terminal: Terminal) -> Result<Success, Failure> {
    let folder = flags.folder.as_deref().unwrap_or(Path::new("."));
    let text = describe(folder)?;
    let path = folder.join(README);
    if flags.check {
        let same = fs_err::read_to_string(&path).is_ok_and(|found| found == text);
        if same {
            return Ok(Success::Done);
        }
        terminal.say(&path.display().to_string());
        return Ok(Success::FormattingDiffers);
    }
    if flags.write {
        fs_err::write(&path, text)?;
    } else {
        terminal.say_raw(&text);
    }
    Ok(Success::Done)
}

fn describe(folder: &Path) -> Result<String, Failure> {
    let folders = SpecFolders::new(folder.to_path_buf());
    let (program, diagnostics) =
        Program::read(&folders, &KINDS).map_err(|error| Failure::File(std::io::Error::other(error)))?;
    if diagnostics.has_errors() {
        return Err(Failure::Diagnosed { diagnostics, sources: Box::new(program.sources().clone()) });
    }
    let main = files::text(&folder.join("main.hcl"))?;
    let example = files::text(&folder.join("example/main.hcl")).ok();
    let name = fs_err::canonicalize(folder)?;
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(view::readme(&program, (&name, &main), example.as_deref()))
}
