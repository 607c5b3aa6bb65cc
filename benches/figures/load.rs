//! The load: sequential transfers, and metadata work by several processes, one directory each.
//!
//! Knows nothing of the systems; works on any directory.
//! Invariant: a phase that could not do all of its work is an error, never a better figure.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use fs_err::{File, OpenOptions};

/// Bytes in one call of the sequential phases.
const CALL_BYTES: usize = 1 << 20;

/// What a load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// One file, then fsync.
    WriteSequential,
    /// The file that [`Phase::WriteSequential`] left.
    ReadSequential,
    /// Files of `bytes` each, in a directory per process.
    Create,
    /// `lstat` of each of them.
    Stat,
    /// Each of them, whole.
    ReadFiles,
    /// Removes them.
    Unlink,
}

/// One figure to take.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// What the report calls it.
    pub name: &'static str,
    /// What it does.
    pub phase: Phase,
    /// Workers, each in a directory of its own.
    pub processes: usize,
    /// Files per worker.
    pub files: usize,
    /// Bytes per file.
    pub bytes: u64,
    /// Whether caches are dropped before.
    pub cold: bool,
    /// The share of the pass-through that is asked for.
    pub bar: Option<f64>,
}

/// What came of a load.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Wall time.
    pub seconds: f64,
    /// Bytes moved or files treated.
    pub amount: f64,
    /// CPU time of the load itself, its system calls included.
    pub cpu_seconds: f64,
}

impl Load {
    /// Whether the figure is a rate of bytes.
    pub fn counts_bytes(&self) -> bool {
        matches!(self.phase, Phase::WriteSequential | Phase::ReadSequential)
    }

    /// Runs the load below `mountpoint`.
    pub fn run(&self, mountpoint: &Path) -> Result<Outcome, String> {
        let family = if self.bytes == 0 { "empty" } else { "small" };
        let folders: Vec<PathBuf> =
            (0..self.processes).map(|worker| mountpoint.join(format!("{family}-{worker}"))).collect();
        if self.phase == Phase::Create {
            for folder in &folders {
                fs_err::create_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            }
        }
        let cpu = own_cpu_seconds();
        let start = Instant::now();
        let done: Result<Vec<()>, String> = thread::scope(|scope| {
            let workers: Vec<_> = folders
                .iter()
                .map(|folder| {
                    scope.spawn(move || {
                        self.work(mountpoint, folder).map_err(|e| format!("{}: {e}", self.name))
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|w| w.join().unwrap_or_else(|_| Err("a worker panicked".to_owned())))
                .collect()
        });
        done?;
        let seconds = start.elapsed().as_secs_f64();
        let amount =
            if self.counts_bytes() { self.bytes as f64 } else { (self.files * self.processes) as f64 };
        Ok(Outcome { seconds, amount, cpu_seconds: own_cpu_seconds() - cpu })
    }

    fn work(&self, mountpoint: &Path, folder: &Path) -> std::io::Result<()> {
        match self.phase {
            Phase::WriteSequential => write_file(&mountpoint.join("sequential"), self.bytes),
            Phase::ReadSequential => read_file(&mountpoint.join("sequential"), self.bytes),
            Phase::Create | Phase::Stat | Phase::ReadFiles | Phase::Unlink => {
                (0..self.files).try_for_each(|number| self.treat(&folder.join(format!("f{number}"))))
            }
        }
    }

    fn treat(&self, path: &Path) -> std::io::Result<()> {
        match self.phase {
            Phase::Create => {
                let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
                let content = vec![7_u8; usize::try_from(self.bytes).unwrap_or(0)];
                file.write_all(&content)
            }
            Phase::Stat => fs_err::symlink_metadata(path).map(|_| ()),
            Phase::ReadFiles => {
                let mut content = Vec::new();
                File::open(path)?.read_to_end(&mut content)?;
                if content.len() as u64 == self.bytes { Ok(()) } else { Err(short(path)) }
            }
            Phase::Unlink => fs_err::remove_file(path),
            Phase::WriteSequential | Phase::ReadSequential => Ok(()),
        }
    }
}

fn short(path: &Path) -> std::io::Error {
    std::io::Error::other(format!("{} is shorter than it was written", path.display()))
}

/// Pages in turns random and like a log, so that compression has something and not everything to gain.
fn mixed_block() -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 31)
    };
    let mut block = Vec::with_capacity(CALL_BYTES + PAGE);
    while block.len() < CALL_BYTES {
        let page = block.len() + PAGE;
        while block.len() < page {
            block.extend_from_slice(&random().to_le_bytes());
        }
        while block.len() < page + PAGE {
            let number = random();
            let line = format!(
                "step {} loss 0.{} rate 3e-4 host node-{}\n",
                number >> 50,
                number % 9973,
                number % 64
            );
            block.extend_from_slice(line.as_bytes());
        }
        block.truncate(page + PAGE);
    }
    block.truncate(CALL_BYTES);
    block
}

fn write_file(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let block = mixed_block();
    for _ in 0..bytes / CALL_BYTES as u64 {
        file.write_all(&block)?;
    }
    file.sync_all()
}

fn read_file(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let expected = mixed_block();
    let mut block = vec![0_u8; CALL_BYTES];
    for _ in 0..bytes / CALL_BYTES as u64 {
        file.read_exact(&mut block)?;
        if block[..64] != expected[..64] {
            return Err(std::io::Error::other("read other bytes than were written"));
        }
    }
    Ok(())
}

/// User and system time of this process.
fn own_cpu_seconds() -> f64 {
    super::system::cpu_seconds_of(std::process::id()).unwrap_or(0.0)
}
