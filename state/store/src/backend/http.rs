//! The state on a server that speaks Terraform's protocol: one document, put as a whole, and perhaps a lock.
//!
//! A document per event would be too much, so commits go to a *mirror* first: snapshot and journal as `local` has them, in
//! `.lustre/` of the working folder. The whole state is posted when it is opened, every 20 seconds, and at the end; the mirror
//! is deleted when all of it was posted. After a crash the next command that locks the state on the same machine posts the
//! mirror first.
//!
//! Tokens: a lock that only looks has the posted token and one; an opened state a random number more, posted before anything is
//! done under it. So tokens grow, and a mirror belongs to exactly one posting: it goes on from the server's state when both have
//! the same token and the server is not ahead. Anything else is told and changes nothing.
//!
//! | the server has | the mirror | what is read |
//! |---|---|---|
//! | anything | none, or the same world | the server's |
//! | the mirror's token, an earlier or the same serial | goes on from it | the mirror's |
//! | the mirror's token, a later serial | is half deleted | the server's |
//! | anything else, or nothing | something that was never posted | refused, both kept |
//!
//! Exclusion is the server's: without `lock_address` there is none between machines, and a server that does not check the `ID`
//! of a post lets a holder whose lock was taken away write until it looks at the token, before each post.
//! Invariant: what was acknowledged is in the mirror or was posted; the mirror goes only after that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lustre_model::recorded::{Lineage, World};
use sha2::{Digest as _, Sha256};

use self::remote::{LockInfo, Locking, Posting, Remote};
use super::{Backend, Ends, Held, LockedState, Recovered, Recovery, Unlocked, local};
use crate::disk::Folder;
use crate::entropy::random;
use crate::error::{LockError, StoreError};
use crate::lock::{self, Holder, Lock};
use crate::open_state::OpenState;
use crate::seal::Seal;

mod client;
mod remote;
mod tape;
mod tls;

pub use client::HttpError;

/// How often the whole state is posted while it is worked on.
const POST_EVERY: Duration = Duration::from_secs(20);

/// How often a lock that is held is asked for again.
const LOCK_AGAIN: Duration = Duration::from_secs(1);

/// Folder of mirrors.
const MIRRORS: &str = ".lustre";

/// Bytes of an address's hash in the name of its mirror.
const HASH_BYTES: usize = 8;

/// A server, and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpPlace {
    /// Where the state is got and posted.
    pub address: String,
    /// Where it is locked; without it there is no lock on the server.
    pub lock_address: Option<String>,
    /// Where it is unlocked; `lock_address` when absent.
    pub unlock_address: Option<String>,
    /// Method of a post, `POST`.
    pub update_method: String,
    /// Method of a lock, `LOCK`.
    pub lock_method: String,
    /// Method of an unlock, `UNLOCK`.
    pub unlock_method: String,
    /// For basic authentication.
    pub username: Option<String>,
    /// For basic authentication.
    pub password: Option<String>,
    /// Whether the server's certificate is taken unseen.
    pub skip_cert_verification: bool,
    /// Who may have signed the server's certificate; the system's authorities when absent.
    pub client_ca_certificate_pem: Option<String>,
    /// Our certificate.
    pub client_certificate_pem: Option<String>,
    /// Its key.
    pub client_private_key_pem: Option<String>,
    /// How often a request is sent again.
    pub retry_max: u32,
    /// Pause before the first time; doubled with each.
    pub retry_wait_min: Duration,
    /// Longest pause.
    pub retry_wait_max: Duration,
}

impl std::fmt::Debug for HttpPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPlace").field("address", &self.address).finish_non_exhaustive()
    }
}

impl HttpPlace {
    /// A server at an address, spoken to as Terraform does by default.
    pub fn new(address: String) -> Self {
        Self {
            address,
            lock_address: None,
            unlock_address: None,
            update_method: "POST".to_owned(),
            lock_method: "LOCK".to_owned(),
            unlock_method: "UNLOCK".to_owned(),
            username: None,
            password: None,
            skip_cert_verification: false,
            client_ca_certificate_pem: None,
            client_certificate_pem: None,
            client_private_key_pem: None,
            retry_max: 2,
            retry_wait_min: Duration::from_secs(1),
            retry_wait_max: Duration::from_secs(30),
        }
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        let others = self.lock_address.iter().chain(&self.unlock_address);
        std::iter::once(&self.address).chain(others).map(String::as_str)
    }
}

/// How a state on a server is kept on this machine meanwhile.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Folder of the mirror.
    pub folder: PathBuf,
    /// How often the whole state is posted.
    pub post_every: Duration,
}

/// A state on a server.
pub struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    remote: Remote,
    place: Arc<HttpPlace>,
    seal: Arc<dyn Seal>,
    /// The mirror's snapshot.
    mirror: PathBuf,
    post_every: Duration,
}

/// A lock on the server that is given back when it is dropped, unless it is kept.
struct ServerLock {
    shared: Arc<Shared>,
    info: LockInfo,
    /// Whether others must not go on from what the server has, or it was given back already.
    is_kept: bool,
}

impl ServerLock {
    /// Gives it back. Whoever meets a lock for which that failed is told its number.
    fn give_back(&mut self) {
        if !std::mem::replace(&mut self.is_kept, true) {
            let _still_there = self.shared.remote.unlock(&self.info);
        }
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Http {
    /// Sets up the way to a server; sends nothing.
    pub fn new(place: HttpPlace, seal: Arc<dyn Seal>) -> Result<Self, StoreError> {
        Self::with_options(place, seal, HttpOptions { folder: MIRRORS.into(), post_every: POST_EVERY })
    }

    /// Like [`Http::new`], with a mirror elsewhere.
    pub fn with_options(
        place: HttpPlace,
        seal: Arc<dyn Seal>,
        options: HttpOptions,
    ) -> Result<Self, StoreError> {
        let place = Arc::new(place);
        let remote = Remote::new(Arc::clone(&place), Arc::clone(&seal));
        let remote = remote.map_err(|source| StoreError::Http { verb: "read", source })?;
        let hash = hex::encode(&Sha256::digest(&place.address)[..HASH_BYTES]);
        let mirror = options.folder.join(format!("state-{hash}"));
        Ok(Self { shared: Arc::new(Shared { remote, place, seal, mirror, post_every: options.post_every }) })
    }

    fn take(&self, holder: Holder, wait: Duration) -> Result<ServerLock, LockError> {
        let id = uuid(random().map_err(|source| LockError::Io { source })?);
        let info = LockInfo::new(id, holder, self.shared.place.address.clone());
        let begun = Instant::now();
        loop {
            match self.shared.remote.lock(&info)? {
                Locking::Ours => {
                    return Ok(ServerLock { shared: Arc::clone(&self.shared), info, is_kept: false });
                }
                Locking::Held(held) if begun.elapsed() >= wait => {
                    return Err(held.map_or(LockError::HeldByUnnamed, |held| LockError::Held {
                        held: Box::new(held.held()),
                    }));
                }
                Locking::Held(_) => {
                    std::thread::sleep(LOCK_AGAIN.min(wait.saturating_sub(begun.elapsed())));
                }
            }
        }
    }
}

/// Deletes a file that may be gone already.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs_err::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Io { verb: "written", source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes random bytes as Terraform's servers expect a lock's id.
fn uuid(bytes: [u8; 16]) -> String {
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

impl Shared {
    /// Reads the server's state, and the mirror's where it goes on from there.
    fn read(&self) -> Result<Recovered, StoreError> {
        let posted = self.remote.get()?;
        let mirror = local::read(&Folder, &self.mirror, self.seal.as_ref())?;
        let absent = Recovered { world: World::default(), recovery: Recovery::Absent, token: 0 };
        if mirror.recovery == Recovery::Absent {
            let clean = |(world, token)| Recovered { world, recovery: Recovery::Clean, token };
            return Ok(posted.map_or(absent, clean));
        }
        let diverged = |found: String| StoreError::Diverged {
            mirror: self.mirror.clone(),
            kept: mirror.world.serial,
            address: self.place.address.clone(),
            found,
        };
        let Some((world, token)) = posted else { return Err(diverged("and has no state now".to_owned())) };
        if world == mirror.world {
            return Ok(Recovered { world, recovery: Recovery::Clean, token });
        }
        let same = world.lineage == mirror.world.lineage;
        if same && token == mirror.token {
            if world.serial > mirror.world.serial {
                // All was posted, and the mirror was being deleted.
                return Ok(Recovered { world, recovery: Recovery::Clean, token });
            }
            let events = mirror.world.serial - world.serial;
            return Ok(Recovered { recovery: Recovery::Replayed { events, torn: 0 }, ..mirror });
        }
        let whose = if same { "of this state" } else { "of another state" };
        Err(diverged(format!("to serial {} {whose}", world.serial)))
    }

    /// Reads the state under a lock, and posts what a command that was cut off left in the mirror.
    fn settle(&self, lock: &LockInfo) -> Result<Recovered, StoreError> {
        let read = self.read()?;
        if !matches!(read.recovery, Recovery::Replayed { .. }) {
            return Ok(read);
        }
        match self.remote.post((&read.world, read.token), lock)? {
            Posting::Done => self.remove_mirror().map(|()| Recovered { recovery: Recovery::Clean, ..read }),
            Posting::LockLost => Err(StoreError::LockLost),
        }
    }

    /// Deletes the mirror: all of it was posted.
    fn remove_mirror(&self) -> Result<(), StoreError> {
        // The journal first: without it the snapshot is an earlier world of the same posting, which the server is ahead of.
        remove(&local::journal_path(&self.mirror))?;
        remove(&self.mirror)
    }

    fn make_folder(&self) -> std::io::Result<()> {
        self.mirror.parent().map_or(Ok(()), fs_err::create_dir_all)
    }
}

impl Backend for Http {
    fn exists(&self) -> Result<bool, StoreError> {
        match self.shared.read() {
            Ok(read) => Ok(read.recovery != Recovery::Absent),
            Err(StoreError::Http { verb, source }) => Err(StoreError::Http { verb, source }),
            // What cannot be read is there.
            Err(_) => Ok(true),
        }
    }

    fn read(&self) -> Result<Recovered, StoreError> {
        self.shared.read()
    }

    fn lock(&self, holder: Holder, wait: Duration) -> Result<Box<dyn LockedState>, LockError> {
        self.shared.make_folder().map_err(|source| LockError::Io { source })?;
        let begun = Instant::now();
        // The server's first: whoever is refused is told its number.
        let there = self.take(holder.clone(), wait)?;
        let here = lock::lock(&self.shared.mirror, holder, wait.saturating_sub(begun.elapsed()))?;
        let read = self.shared.settle(&there.info);
        let read = read.map_err(|source| LockError::State { source: Box::new(source) })?;
        Ok(Box::new(Locked { shared: Arc::clone(&self.shared), here, there, read }))
    }

    fn holder(&self) -> Result<Option<Held>, LockError> {
        if self.shared.place.lock_address.is_none() {
            let held = lock::holder(&self.shared.mirror)?;
            return Ok(held.map(|(token, holder)| Held {
                id: token.to_string(),
                holder,
                ends: Ends::WithItsProcess,
            }));
        }
        // The protocol has no question but this.
        let asking = Holder {
            who: "lustre".to_owned(),
            operation: "look at the lock".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: String::new(),
            pid: std::process::id(),
        };
        match self.take(asking, Duration::ZERO) {
            Ok(lock) => {
                drop(lock);
                Ok(None)
            }
            Err(LockError::Held { held }) => Ok(Some(*held)),
            Err(error) => Err(error),
        }
    }

    fn force_unlock(&self, id: &str) -> Result<Unlocked, LockError> {
        let Some(held) = self.holder()? else { return Ok(Unlocked::Free) };
        if held.ends == Ends::WithItsProcess {
            return Ok(Unlocked::EndsWithItsProcess(held));
        }
        if held.id != id {
            return Ok(Unlocked::Other(held));
        }
        let info = LockInfo::new(held.id.clone(), held.holder.clone(), self.shared.place.address.clone());
        self.shared.remote.unlock(&info)?;
        Ok(Unlocked::Taken(held))
    }
}

/// A state on a server, under its lock there and the mirror's here.
struct Locked {
    shared: Arc<Shared>,
    here: Lock,
    there: ServerLock,
    read: Recovered,
}

impl LockedState for Locked {
    fn read(&mut self) -> Result<Recovered, StoreError> {
        let read = self.read.clone();
        Ok(Recovered { token: read.token + 1, ..read })
    }

    fn raise(&mut self, floor: u64) -> Result<(), LockError> {
        self.read.token = self.read.token.max(floor);
        Ok(())
    }

    fn open(self: Box<Self>, new_lineage: Lineage) -> Result<OpenState, StoreError> {
        let Self { shared, here, there, read } = *self;
        let world = if read.recovery == Recovery::Absent { World::new(new_lineage) } else { read.world };
        let drawn = random::<2>().map_err(|source| StoreError::Io { verb: "written", source })?;
        let token = read.token + 2 + u64::from(u16::from_le_bytes(drawn));
        // Posted before it is mirrored: a mirror's token is always one that the server has seen.
        match shared.remote.post((&world, token), &there.info)? {
            Posting::Done => {}
            Posting::LockLost => return Err(StoreError::LockLost),
        }
        // A journal of an earlier mirror, which this snapshot holds, is passed over when it is read, and goes then.
        crate::snapshot::save(&shared.mirror, (&world, token), shared.seal.as_ref())?;
        remove(&local::journal_path(&shared.mirror))?;
        let files = local::Files::clean(&shared.mirror, (here, token), Arc::clone(&shared.seal));
        let tape = tape::Mirrored::new(shared, files, there, (world.serial, token))?;
        Ok(OpenState::new(world, token, Box::new(tape)))
    }
}
