//! The snapshot: the whole world in one file, replaced by rename.
//!
//! ```text
//! {"format":"lustre state","version":1,"lineage":"…","serial":7,"token":3,"length":812}\n
//! { …the body, `length` bytes of JSON… }\n
//! …SHA-256 over both lines, hex…\n
//! ```
//! Not the journal; that is `record`.
//! Invariant: a file is either read completely, with its checksum, or refused; and the old file stays whole until the new
//! one is durable under its name.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use lustre_model::recorded::{Lineage, World};

use crate::disk::{Disk, Folder};
use crate::error::{Damage, StoreError};
use crate::migrate::{VERSION, migrate};
use crate::seal::Seal;

/// The first line says this, so that other files are told from ours.
const FORMAT: &str = "lustre state";

/// How every snapshot begins, whole or not.
pub const STATE_BEGIN: &[u8; 24] = b"{\"format\":\"lustre state\"";

/// The first line of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    lineage: Lineage,
    serial: u64,
    /// The fencing token under which it was written; later locks get higher ones, also when the lock file is lost.
    token: u64,
    /// Bytes of the body, the line's end not counted.
    length: usize,
}

impl Header {
    /// What is authenticated with a sealed body: all but its length, which is that of the sealed bytes.
    fn about(&self) -> Vec<u8> {
        let Self { format, version, lineage, serial, token, length: _ } = self;
        format!("{format} {version} {lineage} {serial} {token}").into_bytes()
    }
}

/// What a snapshot holds.
#[derive(Debug)]
pub struct Snapshot {
    /// The world.
    pub world: World,
    /// The fencing token under which it was written.
    pub token: u64,
}

/// Puts a world into words.
pub fn encode(world: &World, token: u64, seal: &dyn Seal) -> Result<Vec<u8>, StoreError> {
    let encoding = |source| StoreError::Encoding { source };
    let body = serde_json::to_vec(world).map_err(encoding)?;
    let mut header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        lineage: world.lineage.clone(),
        serial: world.serial,
        token,
        length: 0,
    };
    let body = seal.seal(&body, &header.about()).map_err(|source| StoreError::Seal { source })?;
    header.length = body.len();
    let mut bytes = serde_json::to_vec(&header).map_err(encoding)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&body);
    bytes.push(b'\n');
    let sum = checksum(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    Ok(bytes)
}

/// Reads a snapshot, of this version or an older one.
pub fn decode(path: &Path, bytes: &[u8], seal: &dyn Seal) -> Result<Snapshot, StoreError> {
    let damaged = |damage| StoreError::Damaged { path: path.to_owned(), damage };
    if bytes.is_empty() {
        return Err(StoreError::Empty { path: path.to_owned() });
    }
    let header = header(path, bytes)?;
    if header.version > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found: header.version, known: VERSION });
    }
    let start = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged(Damage::Short))? + 1;
    let end = start.saturating_add(header.length);
    let body = bytes.get(start..end).ok_or_else(|| damaged(Damage::Short))?;
    let summed = bytes.get(..end.saturating_add(1)).ok_or_else(|| damaged(Damage::Short))?;
    let sum = checksum(summed);
    match bytes[summed.len()..].len().cmp(&sum.len()) {
        Ordering::Less => return Err(damaged(Damage::Short)),
        Ordering::Greater => return Err(damaged(Damage::Long)),
        Ordering::Equal if &bytes[summed.len()..] == sum.as_bytes() => {}
        Ordering::Equal => return Err(damaged(Damage::Checksum)),
    }
    let content = |_| damaged(Damage::Content);
    let unsealed = seal.unseal(body, &header.about());
    let body = unsealed.map_err(|source| StoreError::Unseal { path: path.to_owned(), source })?;
    // Only an older body takes the way through JSON without a type, which is three times as long.
    let world: World = match header.version {
        VERSION => serde_json::from_slice(&body).map_err(content)?,
        older => {
            let body = serde_json::from_slice(&body).map_err(content)?;
            serde_json::from_value(migrate(older, body)).map_err(content)?
        }
    };
    if world.lineage != header.lineage || world.serial != header.serial {
        return Err(damaged(Damage::Content));
    }
    Ok(Snapshot { world, token: header.token })
}

/// Returns the token that the beginning of a snapshot gives.
pub fn token(path: &Path, beginning: &[u8]) -> Result<u64, StoreError> {
    if beginning.is_empty() {
        return Err(StoreError::Empty { path: path.to_owned() });
    }
    header(path, beginning).map(|header| header.token)
}

/// The last line: over all before it.
fn checksum(bytes: &[u8]) -> String {
    format!("{}\n", hex::encode(Sha256::digest(bytes)))
}

fn header(path: &Path, bytes: &[u8]) -> Result<Header, StoreError> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    if let Ok(header) = serde_json::from_slice::<Header>(line) {
        let foreign = header.format != FORMAT;
        return if foreign { Err(StoreError::Foreign { path: path.to_owned() }) } else { Ok(header) };
    }
    // A line that begins as ours was ours; any other file is somebody else's.
    let common = STATE_BEGIN.len().min(line.len());
    if STATE_BEGIN[..common] == line[..common] {
        let damage = if line.len() == bytes.len() { Damage::Short } else { Damage::Content };
        return Err(StoreError::Damaged { path: path.to_owned(), damage });
    }
    Err(StoreError::Foreign { path: path.to_owned() })
}

/// Writes a snapshot beside the old one and puts it in its place.
pub fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { verb: "written", source };
    let beside = beside(path);
    let mut file = disk.create(&beside).map_err(io)?;
    file.write(bytes).map_err(io)?;
    file.sync().map_err(io)?;
    drop(file);
    disk.rename(&beside, path).map_err(io)?;
    // The rename is durable only with its folder.
    disk.sync_folder(path).map_err(io)
}

/// Keeps a world in a file of its own, as [`encode`] has it; durable when it returns.
pub fn save(path: &Path, (world, token): (&World, u64), seal: &dyn Seal) -> Result<(), StoreError> {
    write(&Folder, path, &encode(world, token, seal)?)
}

/// Where a snapshot is written before it is put in place.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
