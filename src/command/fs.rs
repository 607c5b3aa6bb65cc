//! `lustre fs`: what `lfs` does, on a mounted file system.
//!
//! Works through extended attributes of the mount only, so that it needs no certificate and no address.
//! Invariant: nothing is changed but by `setstripe`, and that changes layouts only.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lustre_model::fid::{Fid, FidParseError};
use lustre_mount::{ClusterStatus, LayoutView};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use rustix::io::Errno;
use thiserror::Error;

use crate::terminal::Terminal;
use crate::view::fs::{DfUnit, LayoutField, df, field, layout};

use self::grammar::{Setting, SettingError};

mod grammar;

/// Largest value of an attribute that is read.
const VALUE_MAX: usize = 1 << 20;

/// Deepest tree that `getstripe -r` walks.
const DEPTH_MAX: usize = 512;

/// The kernel's table of mounts, and the kind of ours in it.
const MOUNTS: &str = "/proc/self/mountinfo";
const KIND: &str = "fuse.lustre";

/// `lustre fs`
#[derive(Debug, Args)]
pub struct FsArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows how files are striped, and what directories give to new files
    Getstripe(GetStripe),
    /// Sets the layout of an empty or new file, or the default of a directory:
    /// [-d] | [-E END] [-c COUNT] [-S SIZE] [-E END …] PATH
    Setstripe {
        /// As for `lfs setstripe`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Shows space, or inodes, of each target
    #[command(disable_help_flag = true)]
    Df {
        /// Sizes with suffixes
        #[arg(short = 'h', long = "human-readable")]
        readable: bool,
        /// Inodes instead of bytes
        #[arg(short, long)]
        inodes: bool,
        /// A path on the file system; all mounts without it
        path: Option<PathBuf>,
    },
    /// Shows the FIDs of files
    #[command(name = "path2fid")]
    PathToFid {
        /// The files.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Shows all paths of FIDs
    #[command(name = "fid2path")]
    FidToPath {
        /// A path on the file system.
        mount: PathBuf,
        /// The FIDs.
        #[arg(required = true)]
        fids: Vec<String>,
    },
    /// Shows whether files are archived, released or changed
    #[command(name = "hsm_state")]
    HsmState {
        /// The files.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct GetStripe {
    #[command(flatten)]
    only: Only,
    /// A directory itself, not what is in it
    #[arg(short = 'd', long)]
    directory: bool,
    /// Everything below a directory
    #[arg(short = 'r', long)]
    recursive: bool,
    /// Files and directories
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// One value instead of the whole layout.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Only {
    /// Only the number of stripes
    #[arg(short = 'c', long = "stripe-count")]
    count: bool,
    /// Only the stripe size
    #[arg(short = 'S', long = "stripe-size")]
    size: bool,
    /// Only the index of the first target
    #[arg(short = 'i', long = "stripe-index")]
    index: bool,
}

/// Why it could not be done.
#[derive(Debug, Error)]
pub enum FsError {
    /// The path is not on a mount of ours.
    #[error("{} is not on a lustre file system", .path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Nothing is mounted.
    #[error("no lustre file system is mounted")]
    NoMount,
    /// The layout cannot be set.
    #[error("the layout of {} is fixed: it has content; set it before the first write", .path.display())]
    Fixed {
        /// Which.
        path: PathBuf,
    },
    /// The words make no layout.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Not a FID.
    #[error(transparent)]
    Fid(#[from] FidParseError),
    /// Nothing has this FID.
    #[error("no file on {} has the FID {fid}: it was removed, or is another file system's", .path.display())]
    NoFile {
        /// Which.
        fid: Fid,
        /// Where.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot use {}", .path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file system is of another release.
    #[error("the mount of {} answers in another form; it is of another release", .path.display())]
    Form {
        /// What was asked.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Carries it out and prints the result.
pub fn run(args: FsArgs, terminal: Terminal) -> Result<(), FsError> {
    match args.verb {
        Verb::Getstripe(flags) => get_stripe(&flags, terminal),
        Verb::Setstripe { words } => set_stripe(&words),
        Verb::Df { readable, inodes, path } => {
            let unit = match (inodes, readable) {
                (true, _) => DfUnit::Inodes,
                (false, true) => DfUnit::Readable,
                (false, false) => DfUnit::Kibibytes,
            };
            show_space(path.as_deref(), unit, terminal)
        }
        Verb::PathToFid { paths } => each(&paths, |path| text(path, "lustre.fid"), terminal),
        Verb::FidToPath { mount, fids } => show_paths(&mount, &fids, terminal),
        Verb::HsmState { paths } => {
            for path in &paths {
                terminal.say(&format!("{}: {}", path.display(), text(path, "lustre.hsm")?));
            }
            Ok(())
        }
    }
}

/// Prints one value for each path, with its path where there are several.
fn each(
    paths: &[PathBuf],
    value: impl Fn(&Path) -> Result<String, FsError>,
    terminal: Terminal,
) -> Result<(), FsError> {
    for path in paths {
        let value = value(path)?;
        match paths {
            [_] => terminal.say(&value),
            _ => terminal.say(&format!("{}: {value}", path.display())),
        }
    }
    Ok(())
}

fn get_stripe(flags: &GetStripe, terminal: Terminal) -> Result<(), FsError> {
    let wanted = match (flags.only.count, flags.only.size, flags.only.index) {
        (true, _, _) => Some(LayoutField::Count),
        (_, true, _) => Some(LayoutField::Size),
        (_, _, true) => Some(LayoutField::Index),
        (false, false, false) => None,
    };
    let show = |path: &Path| {
        let view = json::<LayoutView>(path, "lustre.lov")?;
        match wanted {
            Some(wanted) => terminal.say(&field(&view, wanted)),
            None => terminal.say_raw(&layout(&path.display().to_string(), &view)),
        }
        Ok(())
    };
    let depth = match (flags.directory, flags.recursive) {
        (true, _) => 0,
        (false, true) => DEPTH_MAX,
        (false, false) => 1,
    };
    flags.paths.iter().try_for_each(|path| walk(path, depth, &show))
}

/// Visits a path, and what is below it down to `depth` levels. Only files and directories have layouts.
fn walk(path: &Path, depth: usize, visit: &dyn Fn(&Path) -> Result<(), FsError>) -> Result<(), FsError> {
    visit(path)?;
    if depth == 0 || !path.is_dir() {
        return Ok(());
    }
    let wrong = |source| FsError::Io { path: path.to_owned(), source };
    let listing = fs_err::read_dir(path).map_err(wrong)?;
    let mut entries = listing.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(wrong)?;
        if kind.is_dir() && depth > 1 {
            walk(&entry.path(), depth - 1, visit)?;
        } else if kind.is_dir() || kind.is_file() {
            visit(&entry.path())?;
        }
    }
    Ok(())
}

fn set_stripe(words: &[String]) -> Result<(), FsError> {
    let (setting, paths) = grammar::parse(words)?;
    for path in &paths {
        match &setting {
            Setting::Inherit => {
                rustix::fs::removexattr(path, "lustre.lov").map_err(|errno| refused(path, errno))?;
            }
            Setting::Layout(template) => {
                if !path.exists() {
                    create(path)?;
                }
                let value = serde_json::to_vec(template)
                    .map_err(|source| FsError::Form { path: path.clone(), source })?;
                rustix::fs::setxattr(path, "lustre.lov", &value, XattrFlags::empty())
                    .map_err(|errno| refused(path, errno))?;
            }
        }
    }
    Ok(())
}

/// Makes an empty file without opening it for writing, which would give it objects.
fn create(path: &Path) -> Result<(), FsError> {
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(CWD, path, FileType::RegularFile, mode, 0).map_err(|errno| refused(path, errno))
}

fn show_space(path: Option<&Path>, unit: DfUnit, terminal: Terminal) -> Result<(), FsError> {
    let mounts = match path {
        Some(path) => vec![path.to_owned()],
        None => mounts()?,
    };
    for (number, mount) in mounts.iter().enumerate() {
        let status = json::<ClusterStatus>(mount, "lustre.targets")?;
        if number > 0 {
            terminal.say("");
        }
        terminal.say_raw(&df(&status, &mount.display().to_string(), unit));
        terminal.say("");
    }
    Ok(())
}

fn show_paths(mount: &Path, fids: &[String], terminal: Terminal) -> Result<(), FsError> {
    for fid in fids {
        let fid: Fid = fid.parse()?;
        let is_gone = |source: &io::Error| source.kind() == io::ErrorKind::NotFound && mount.exists();
        let paths = match text(mount, &format!("lustre.fid2path.{fid}")) {
            Err(FsError::Io { source, .. }) if is_gone(&source) => {
                return Err(FsError::NoFile { fid, path: mount.to_owned() });
            }
            found => found?,
        };
        for path in paths.lines() {
            terminal.say(path);
        }
    }
    Ok(())
}

/// Where file systems of ours are mounted.
fn mounts() -> Result<Vec<PathBuf>, FsError> {
    let wrong = |source| FsError::Io { path: PathBuf::from(MOUNTS), source };
    let table = fs_err::read_to_string(MOUNTS).map_err(wrong)?;
    let ours = table.lines().filter_map(|line| {
        let (mount, device) = line.split_once(" - ")?;
        let is_ours = device.split(' ').next() == Some(KIND);
        is_ours.then(|| mount.split(' ').nth(4).map(|path| PathBuf::from(path.replace("\\040", " "))))?
    });
    let ours: Vec<PathBuf> = ours.collect();
    if ours.is_empty() { Err(FsError::NoMount) } else { Ok(ours) }
}

fn text(path: &Path, name: &str) -> Result<String, FsError> {
    Ok(String::from_utf8_lossy(&attribute(path, name)?).into_owned())
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, name: &str) -> Result<T, FsError> {
    serde_json::from_slice(&attribute(path, name)?)
        .map_err(|source| FsError::Form { path: path.to_owned(), source })
}

fn attribute(path: &Path, name: &str) -> Result<Vec<u8>, FsError> {
    let mut value = vec![0; VALUE_MAX];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).map_err(|errno| refused(path, errno))?;
    value.truncate(length);
    Ok(value)
}

fn refused(path: &Path, errno: Errno) -> FsError {
    let path = path.to_owned();
    if errno == Errno::OPNOTSUPP || errno == Errno::NODATA {
        FsError::Foreign { path }
    } else if errno == Errno::EXIST || errno == Errno::NOTEMPTY || errno == Errno::BUSY {
        FsError::Fixed { path }
    } else {
        FsError::Io { path, source: errno.into() }
    }
}
