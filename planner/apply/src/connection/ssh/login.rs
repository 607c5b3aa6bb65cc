//! Logging in: keys from files, and those of an SSH agent.
//!
//! No passwords: a pipeline has nobody to ask.
//! Invariant: what was tried is named when the host lets nobody in.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{self, HashAlg, PrivateKey, PrivateKeyWithHashAlg, load_secret_key};

use super::Surroundings;
use super::error::SshError;
use super::host_key::HostKey;

/// Most keys of an SSH agent that are tried; OpenSSH's servers close after six that they refused, files counted in.
const AGENT_KEYS_MAX: usize = 4;

/// Who logs in, and with what.
#[derive(Debug, Clone)]
pub(super) struct Login {
    /// `address:port`, for messages.
    pub(super) address: String,
    /// The login name.
    pub(super) user: String,
    /// A key that was named.
    pub(super) identity_file: Option<String>,
    /// Whether the keys of an SSH agent may be used.
    pub(super) agent: bool,
}

/// Logs in, or says what was tried.
pub(super) async fn log_in(
    handle: &mut Handle<HostKey>,
    login: &Login,
    surroundings: &Surroundings,
) -> Result<(), SshError> {
    let (mut tried, mut unusable) = (Vec::new(), None);
    for (path, named) in files(login, surroundings) {
        let key = match load(&path, surroundings) {
            Ok(Some(key)) => key,
            Ok(None) if !named => continue,
            Ok(None) => {
                let source = std::io::Error::new(ErrorKind::NotFound, "there is no such file");
                let path = path.display().to_string();
                return Err(SshError::Identity { path, source: Box::new(source.into()) });
            }
            // The SSH agent may have it.
            Err(error) => {
                unusable = unusable.or(Some(error));
                continue;
            }
        };
        tried.push(path.display().to_string());
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        match handle.authenticate_publickey(&login.user, key).await {
            Ok(result) if result.success() => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(refused(login, tried)),
        }
    }
    if let Some(socket) = surroundings.agent_socket.as_ref().filter(|_| login.agent)
        && ask_agent(handle, login, (socket, &mut tried)).await?
    {
        return Ok(());
    }
    match unusable {
        Some(error) if login.identity_file.is_some() || tried.is_empty() => Err(error),
        Some(_) | None => Err(refused(login, tried)),
    }
}

/// What a server that has had enough does is to close the connection; that too is a refusal.
fn refused(login: &Login, tried: Vec<String>) -> SshError {
    SshError::Refused { address: login.address.clone(), user: login.user.clone(), tried }
}

/// Returns the files to try, and whether they were named: those that were not need not be there.
fn files(login: &Login, surroundings: &Surroundings) -> Vec<(PathBuf, bool)> {
    match &login.identity_file {
        Some(path) => vec![(surroundings.expand(path), true)],
        None => ["id_ed25519", "id_ecdsa"]
            .iter()
            .map(|name| (surroundings.expand(&format!("~/.ssh/{name}")), false))
            .collect(),
    }
}

fn load(path: &std::path::Path, surroundings: &Surroundings) -> Result<Option<PrivateKey>, SshError> {
    let shown = || path.display().to_string();
    match load_secret_key(path, None) {
        Ok(key) if !key.is_encrypted() => return Ok(Some(key)),
        Err(keys::Error::IO(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(keys::Error::KeyIsEncrypted) => {}
        Err(source) => return Err(SshError::Identity { path: shown(), source: Box::new(source) }),
    }
    let Some(passphrase) = surroundings.passphrase.as_deref() else {
        return Err(SshError::Encrypted { path: shown(), tried: false });
    };
    load_secret_key(path, Some(passphrase))
        .map(Some)
        .map_err(|_| SshError::Encrypted { path: shown(), tried: true })
}

/// Tries the keys of the SSH agent; tells whether one was good.
async fn ask_agent(
    handle: &mut Handle<HostKey>,
    login: &Login,
    (socket, tried): (&PathBuf, &mut Vec<String>),
) -> Result<bool, SshError> {
    let listed = async {
        let mut agent = AgentClient::connect_uds(socket).await?;
        let identities = agent.request_identities().await?;
        Ok::<_, keys::Error>((agent, identities))
    };
    let Ok((mut agent, identities)) = listed.await else {
        tried.push(format!("the SSH agent at {}, which does not answer", socket.display()));
        return Ok(false);
    };
    for identity in identities.into_iter().take(AGENT_KEYS_MAX) {
        let AgentIdentity::PublicKey { key, comment } = identity else { continue };
        tried.push(format!("{comment} ({}) of the SSH agent", key.fingerprint(HashAlg::Sha256)));
        match handle.authenticate_publickey_with(&login.user, key, None, &mut agent).await {
            Ok(result) if result.success() => return Ok(true),
            // It may be of a type that we cannot use; the next may be good.
            Ok(_) | Err(russh::AgentAuthError::Key(_)) => {}
            Err(russh::AgentAuthError::Send(_)) => return Err(refused(login, std::mem::take(tried))),
        }
    }
    Ok(false)
}
