//! Plan files as they lie on a disk: a plan, perhaps encrypted, perhaps signed as it is then.
//!
//! What encrypts and whose signatures count is `encryption`'s; the format of the plan itself is the planner's.
//! Invariant: of a file that is not signed or encrypted as the spec or a flag demands, nothing is carried out or shown.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use lustre_model::plan::Plan;
use lustre_store::signature::{SignatureError, SigningKey, signed};
use lustre_store::{SealError, sealed_under};

use super::encryption::{Plans, verifying_key};
use crate::exit::Failure;
use crate::files;

/// Only its owner reads a plan: it holds what the state holds.
const PLAN_MODE: u32 = 0o600;

/// What is authenticated with a plan, so that nothing else can stand in its place.
const ABOUT: &[u8] = b"lustre plan";

/// All that is needed to write plans, so that what is missing is told before a plan is made.
pub struct Writer {
    plans: Plans,
    sign_key: Option<SigningKey>,
}

impl Writer {
    /// Takes what encrypts plans, and the file of the key that signs them.
    pub fn new(plans: Plans, sign_key: Option<&Path>) -> Result<Self, Failure> {
        let read = |path: &Path| {
            let text = zeroize::Zeroizing::new(files::text(path)?);
            let wrong = |source| Failure::PlanSignature { path: path.display().to_string(), source };
            SigningKey::from_pem(&text).map_err(wrong)
        };
        Ok(Self { plans, sign_key: sign_key.map(read).transpose()? })
    }

    /// Writes a plan.
    pub fn write(&self, path: &Path, plan: &Plan) -> Result<(), Failure> {
        let shown = || path.display().to_string();
        let bytes =
            lustre_plan::file::encode(plan).map_err(|source| Failure::PlanFile { path: shown(), source })?;
        let seal = &self.plans.seal;
        let sealed =
            seal.seal(&bytes, ABOUT).map_err(|source| Failure::PlanSeal { path: shown(), source })?;
        let mut file = sealed.into_owned();
        if seal.writes_under().is_some() {
            file.push(b'\n');
        }
        if let Some(key) = &self.sign_key {
            file =
                key.sign(ABOUT, &file).map_err(|source| Failure::PlanSignature { path: shown(), source })?;
        }
        write_private(path, &file)
    }
}

/// Reads a plan that is signed and encrypted as demanded.
pub fn read(path: &Path, plans: &Plans) -> Result<Plan, Failure> {
    let shown = || path.display().to_string();
    let bytes = fs_err::read(path)?;
    let file = trusted(&bytes, plans).map_err(|source| Failure::PlanSignature { path: shown(), source })?;
    let unsealed = |source| Failure::PlanSeal { path: shown(), source };
    let body = match sealed_under(file).map_err(unsealed)? {
        Some(_) => file.strip_suffix(b"\n").ok_or(SealError::Malformed).map_err(unsealed)?,
        None => file,
    };
    // Bytes that are no plan at all are told as such, whatever is demanded of plans.
    let foreign = sealed_under(file).map_err(unsealed)?.is_none() && lustre_plan::file::is_foreign(file);
    let plain = if foreign { body.into() } else { plans.seal.unseal(body, ABOUT).map_err(unsealed)? };
    lustre_plan::file::decode(&plain).map_err(|source| Failure::PlanFile { path: shown(), source })
}

/// Returns what is signed, when those who must have signed it have.
fn trusted<'a>(bytes: &'a [u8], plans: &Plans) -> Result<&'a [u8], SignatureError> {
    match signed(bytes)? {
        None if plans.signed_by.is_empty() => Ok(bytes),
        None => Err(SignatureError::Missing),
        Some(found) if plans.signed_by.is_empty() => Ok(found.file()),
        Some(found) => found.verify(ABOUT, &plans.signed_by).map(|()| found.file()),
    }
}

/// Trusts the owners of these keys, whatever the spec says; without keys, those that it says.
pub fn trust_only(plans: &mut Plans, keys: &[PathBuf]) -> Result<(), Failure> {
    if keys.is_empty() {
        return Ok(());
    }
    let hint =
        "give -verify-key the file of a public key, as `openssl pkey -in KEY -pubout -out FILE` writes it"
            .to_owned();
    let said = |cause| Failure::Said { cause, hint: Some(hint.clone()) };
    plans.signed_by = keys.iter().map(|path| verifying_key(path).map_err(said)).collect::<Result<_, _>>()?;
    Ok(())
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    files::spare(path)?;
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(PLAN_MODE).open(path)?;
    file.write_all(bytes)?;
    Ok(())
}
