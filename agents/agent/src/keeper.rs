//! Keeps one process running: adopts or starts it, waits for its readiness, starts it again when it dies, ends it.
//!
//! Knows nothing of specs; what to start is [`Launch`]'s. Whatever cannot be written or read is a cause to try again later,
//! with longer and longer pauses, and never ends the keeping: a disk that is full now has room another time.
//! Invariant: at most one process per folder is started at a time, and the one before has ended.

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::FutureExt;
use lustre_model::control::ProcessState;
use rustix::process::Signal;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::durable::is_full;
use crate::log_tail::{LogTail, trim_log};
use crate::mounts;
use crate::notify;
use crate::process_dir::{ProcessDir, ProcessDirError};
use crate::running::{Alive, Proof};

/// Time from a start to readiness; a target may replay its log in it.
pub(crate) const READY_MAX: Duration = Duration::from_secs(60);

/// Pause between looks for readiness.
const READY_PAUSE: Duration = Duration::from_millis(10);

/// Time that a process gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Pause before the first restart; doubles with each further one.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause before a restart.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A process that ran this long is restarted as if it had never failed.
const STEADY: Duration = Duration::from_secs(60);

/// How often the size of a log is looked at.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How to start a process.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The program; ours.
    pub program: PathBuf,
    /// Its first argument: which kind of process.
    pub kind: &'static str,
    /// A mount point that must be free of a dead mount before a start and behind an end.
    pub mount: Option<PathBuf>,
}

/// A process cannot be started.
#[derive(Debug, Error)]
enum StartError {
    #[error("{0}")]
    Dir(#[from] ProcessDirError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A process being kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    seen: watch::Receiver<ProcessState>,
    stop: CancellationToken,
    leave: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Begins to keep the process of a folder.
    pub fn begin(dir: ProcessDir, launch: Launch) -> Self {
        let (state, seen) = watch::channel(ProcessState::Starting);
        let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
        let mut run = Run {
            dir,
            launch,
            state,
            stop: stop.clone(),
            leave: leave.clone(),
            restarts: 0,
            pause: RESTART_PAUSE_MIN,
        };
        Self { seen, stop, leave, task: tokio::spawn(async move { run.keep_whatever_happens().await }) }
    }

    /// Returns how the process is.
    pub fn state(&self) -> ProcessState {
        self.seen.borrow().clone()
    }

    /// Returns a view on how it is from here on.
    pub fn watch(&self) -> watch::Receiver<ProcessState> {
        self.seen.clone()
    }

    /// Ends the process and stops keeping it.
    pub async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }

    /// Stops keeping it, and lets it run on for a later agent.
    pub async fn release(self) {
        self.leave.cancel();
        let _ = self.task.await;
    }
}

/// How a wait for a process ended.
enum Turn {
    Ended,
    Stop,
    Leave,
}

struct Run {
    dir: ProcessDir,
    launch: Launch,
    state: watch::Sender<ProcessState>,
    stop: CancellationToken,
    leave: CancellationToken,
    restarts: u32,
    pause: Duration,
}

/// A process with what belongs to watching it.
struct Kept {
    alive: Alive,
    /// Ours to reap; `None` for one that an earlier agent started.
    child: Option<Child>,
    log: LogTail,
    started: Instant,
}

impl Run {
    /// Keeps until it is told to stop. A bug in a turn of it costs that turn, never the supervision of a process: what runs
    /// by then is adopted by the next turn.
    async fn keep_whatever_happens(&mut self) {
        while AssertUnwindSafe(self.keep()).catch_unwind().await.is_err() {
            let cause = "its supervision failed, which is a bug, and begins anew".to_owned();
            self.restarts = self.restarts.saturating_add(1);
            self.state.send_replace(ProcessState::Failing { cause, restarts: self.restarts });
            if self.stop.is_cancelled() || self.leave.is_cancelled() {
                return;
            }
            sleep(RESTART_PAUSE_MAX).await;
        }
    }

    async fn keep(&mut self) {
        loop {
            let cause = match self.adopt_or_start().await {
                Ok(kept) => match self.attend(kept).await {
                    Ok(cause) => cause,
                    Err(Turn::Stop | Turn::Leave | Turn::Ended) => return,
                },
                Err(error) => error.to_string(),
            };
            self.restarts = self.restarts.saturating_add(1);
            warn!(process = %self.dir.path().display(), restarts = self.restarts, %cause, "process ended, starting it again");
            self.state.send_replace(ProcessState::Failing { cause, restarts: self.restarts });
            tokio::select! {
                () = self.stop.cancelled() => return self.release_mount().await,
                () = self.leave.cancelled() => return,
                () = sleep(self.pause) => {}
            }
            self.pause = (self.pause * 2).min(RESTART_PAUSE_MAX);
        }
    }

    async fn adopt_or_start(&self) -> Result<Kept, StartError> {
        for proof in self.dir.candidates()? {
            if let Some(alive) = proof.open()? {
                info!(process = %self.dir.path().display(), pid = alive.proof.pid, "adopted");
                let log = LogTail::from_now(&log_path(&self.dir));
                return Ok(Kept { alive, child: None, log, started: Instant::now() });
            }
        }
        self.release_mount().await;
        self.start()
    }

    fn start(&self) -> Result<Kept, StartError> {
        let path = log_path(&self.dir);
        // A process that has no log is better than no process.
        if let Err(error) = trim_log(&path) {
            warn!(%error, "cannot trim a log");
        }
        let log = LogTail::from_now(&path);
        let opened = |path: &Path| fs_err::OpenOptions::new().create(true).append(true).open(path);
        let sink = opened(&path).or_else(|_| opened(Path::new("/dev/null")))?;
        self.dir.unready()?;
        let mut child = Command::new(&self.launch.program)
            .arg(self.launch.kind)
            .arg("--dir")
            .arg(self.dir.path())
            .current_dir("/")
            // Those are for the agent alone.
            .env_remove(notify::SOCKET)
            .env_remove(notify::WATCHDOG)
            .stdin(Stdio::null())
            .stdout(sink.file().try_clone()?)
            .stderr(sink.into_file())
            .spawn()?;
        match proven(&self.dir, child.id()) {
            Ok(Some(alive)) => Ok(Kept { alive, child: Some(child), log, started: Instant::now() }),
            Ok(None) => {
                child.wait()?;
                let words = log.last_words().or_else(|| self.dir.words_left());
                Err(io::Error::other(words.unwrap_or_else(|| "it ended at once".to_owned())).into())
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Watches a process until its end; `Ok` with the cause when it must be started again.
    async fn attend(&mut self, kept: Kept) -> Result<String, Turn> {
        self.state.send_replace(ProcessState::Starting);
        let pid = kept.alive.proof.pid;
        let became_ready = timeout(READY_MAX, self.until_ready(&kept)).await;
        let turn = match became_ready {
            Ok(Some(turn)) => turn,
            Ok(None) => {
                info!(process = %self.dir.path().display(), pid, "ready");
                self.state.send_replace(ProcessState::Running { pid, restarts: self.restarts });
                self.until_turn(&kept, true).await
            }
            Err(_) => {
                end(&kept.alive).await;
                let seconds = READY_MAX.as_secs();
                let _ = reap(kept);
                return Ok(format!("it did not say within {seconds} s that it answers"));
            }
        };
        match turn {
            Turn::Leave => Err(Turn::Leave),
            Turn::Stop => {
                end(&kept.alive).await;
                let _ = reap(kept);
                self.release_mount().await;
                Err(Turn::Stop)
            }
            Turn::Ended => {
                if kept.started.elapsed() >= STEADY {
                    self.pause = RESTART_PAUSE_MIN;
                }
                let words = kept.log.last_words().or_else(|| self.dir.words_left());
                let status = reap(kept);
                Ok(words.unwrap_or(status))
            }
        }
    }

    /// `None` when it is ready.
    async fn until_ready(&self, kept: &Kept) -> Option<Turn> {
        tokio::select! {
            biased;
            turn = self.until_turn(kept, false) => Some(turn),
            () = async {
                while !self.dir.is_ready(kept.alive.proof.pid) {
                    sleep(READY_PAUSE).await;
                }
            } => None,
        }
    }

    async fn until_turn(&self, kept: &Kept, trim: bool) -> Turn {
        let trimming = async {
            loop {
                sleep(LOG_EVERY).await;
                if trim && let Err(error) = trim_log(&log_path(&self.dir)) {
                    warn!(%error, "cannot trim a log");
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Turn::Stop,
            () = self.leave.cancelled() => Turn::Leave,
            _ = kept.alive.ended() => Turn::Ended,
            () = trimming => Turn::Ended,
        }
    }

    /// A mount whose server is gone hangs or fails everyone who touches it.
    async fn release_mount(&self) {
        let Some(path) = self.launch.mount.clone() else { return };
        let released = tokio::task::spawn_blocking(move || mounts::release(&path)).await;
        if let Ok(Err(error)) = released {
            warn!(process = %self.dir.path().display(), %error, "cannot end a dead mount");
        }
    }
}

fn log_path(dir: &ProcessDir) -> PathBuf {
    Path::join(dir.path(), "log")
}

/// Proves and notes a process that was just started.
fn proven(dir: &ProcessDir, pid: u32) -> Result<Option<Alive>, StartError> {
    let Some(proof) = Proof::of(pid)? else { return Ok(None) };
    // Without the note, the next agent finds the process by its lock.
    match dir.set_proof(&proof) {
        Err(ProcessDirError::Io { source }) if is_full(&source) => {
            warn!(process = %dir.path().display(), %source, "cannot note which process runs");
        }
        noted => noted?,
    }
    Ok(proof.open()?)
}

/// Asks a process to end, and ends it when it does not.
pub(crate) async fn end(alive: &Alive) {
    for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
        if let Err(error) = alive.signal(signal) {
            warn!(pid = alive.proof.pid, %error, "cannot signal a process");
        }
        if timeout(patience, alive.ended()).await.is_ok() {
            return;
        }
    }
    warn!(pid = alive.proof.pid, "a process survives SIGKILL: the kernel holds it");
}

/// Collects a child that has ended and says how it did.
fn reap(kept: Kept) -> String {
    match kept.child.map(|mut child| child.try_wait()) {
        Some(Ok(Some(status))) => format!("it ended with {status}"),
        Some(Ok(None) | Err(_)) | None => "it ended".to_owned(),
    }
}
