//! The plan file: a sealed plan as bytes, and back, refusing what was altered.
//!
//! ```text
//! {"format":"lustre plan","version":3,"length":812,"sha256":"…"}\n
//! { …the plan, `length` bytes of JSON… }\n
//! ```
//! Holds sensitive values in clear, as the state does: whoever writes it lets only its owner read it. The JSON for other
//! programs is `render::json`.
//! Invariant: what [`decode`] returns is what [`encode`] was given, byte for byte under a checksum.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use lustre_model::plan::{PLAN_VERSION, Plan};
use lustre_model::recorded::{Lineage, World};

const FORMAT: &str = "lustre plan";

/// Bytes in which what `show -json` prints is known.
const SHOWN_BYTES: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    length: usize,
    sha256: String,
}

/// A plan file cannot be used. Always plan again; the state was not touched.
#[derive(Debug, Error)]
pub enum PlanFileError {
    /// Some other file.
    #[error("it is not a plan of lustre")]
    Foreign,
    /// Not a byte.
    #[error("it is empty; plan again")]
    Empty,
    /// A zip, as other tools save plans.
    #[error(
        "it is a plan of Terraform or OpenTofu, which lustre does not carry out; make one with `lustre plan -out=FILE`"
    )]
    OtherTool,
    /// A plan as other programs read it.
    #[error(
        "it is what `show -json` prints, which has no steps; give the file that `lustre plan -out=FILE` wrote"
    )]
    Shown,
    /// Made by other code.
    #[error("the plan has version {found}, and this lustre carries out version {PLAN_VERSION}; plan again")]
    Version {
        /// What it has.
        found: u32,
    },
    /// Altered or cut off since it was made.
    #[error("the plan was altered or cut off since it was made; plan again")]
    Altered,
    /// Whole, but not a plan.
    #[error("the plan does not hold together; plan again")]
    Content {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A plan does not fit the state any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StaleError {
    /// Made for another state.
    #[error("the plan was made for the state {planned}, and this is {found}")]
    Lineage {
        /// The plan's.
        planned: Lineage,
        /// The state's.
        found: Lineage,
    },
    /// The state moved on.
    #[error("the plan was made at serial {planned} of the state, which is at {found} now; plan again")]
    Serial {
        /// The plan's.
        planned: u64,
        /// The state's.
        found: u64,
    },
}

/// Puts a plan into bytes.
pub fn encode(plan: &Plan) -> Result<Vec<u8>, PlanFileError> {
    let content = |source| PlanFileError::Content { source };
    let body = serde_json::to_vec(plan).map_err(content)?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: PLAN_VERSION,
        length: body.len(),
        sha256: hex::encode(Sha256::digest(&body)),
    };
    let mut bytes = serde_json::to_vec(&header).map_err(content)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&body);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Tells whether bytes are not a plan of any version, whole or not.
pub fn is_foreign(bytes: &[u8]) -> bool {
    header(bytes).is_err()
}

fn header(bytes: &[u8]) -> Result<(Header, usize), PlanFileError> {
    let start = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| other(bytes))? + 1;
    let header: Header = serde_json::from_slice(&bytes[..start]).map_err(|_| other(bytes))?;
    if header.format == FORMAT { Ok((header, start)) } else { Err(other(bytes)) }
}

/// Says what a file is that does not begin as a plan.
fn other(bytes: &[u8]) -> PlanFileError {
    let shown = |field: &[u8]| bytes.windows(field.len()).take(SHOWN_BYTES).any(|window| window == field);
    match bytes {
        [] => PlanFileError::Empty,
        [b'P', b'K', 3, 4, ..] => PlanFileError::OtherTool,
        [b'{', ..] if shown(b"\"format_version\"") || shown(b"\"resource_changes\"") => PlanFileError::Shown,
        _ => PlanFileError::Foreign,
    }
}

/// Reads a plan.
pub fn decode(bytes: &[u8]) -> Result<Plan, PlanFileError> {
    let (header, start) = header(bytes)?;
    if header.version != PLAN_VERSION {
        return Err(PlanFileError::Version { found: header.version });
    }
    let end = start.saturating_add(header.length);
    let body = bytes.get(start..end).ok_or(PlanFileError::Altered)?;
    if bytes[end..] != *b"\n" || hex::encode(Sha256::digest(body)) != header.sha256 {
        return Err(PlanFileError::Altered);
    }
    serde_json::from_slice(body).map_err(|source| PlanFileError::Content { source })
}

/// Tells whether a plan may be carried out on a state.
///
/// A state that does not exist yet has an empty lineage; a plan made for it fits any state that is still at serial 0.
pub fn check_fresh(plan: &Plan, world: &World) -> Result<(), StaleError> {
    let parts = plan.parts();
    let new = parts.lineage == Lineage::default();
    if !new && parts.lineage != world.lineage {
        return Err(StaleError::Lineage { planned: parts.lineage.clone(), found: world.lineage.clone() });
    }
    if parts.serial != world.serial {
        return Err(StaleError::Serial { planned: parts.serial, found: world.serial });
    }
    Ok(())
}
