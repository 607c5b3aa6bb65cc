//! One connection to an SSH server, and the commands that run over it side by side.
//!
//! Connects, checks the host's key, logs in, becomes root; a host on the way is gone through. Not files; those are scripts.
//! Invariant: nothing is sent to a host before its key was found good.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle, Msg};
use russh::{
    Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Preferred, cipher, compression,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::SshError;
use super::host_key::{GivenUp, HostKey};
use super::login::{Login, log_in};
use super::script::{self, As};
use super::{Surroundings, Way};
use crate::connection::Said;

/// How long a connection may take until the host's key was checked, and again until the user is in.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a host may say nothing until it is asked whether it is there, and how often in vain.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_MAX: usize = 3;

/// Commands at a time; OpenSSH's servers allow ten unless told otherwise.
const COMMANDS_MAX: usize = 8;

/// How long the last words of a command may take after it ended: what it left running may hold its output open.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// How long the first words with a host may take.
const GREETING_MAX: Duration = Duration::from_secs(30);

/// Most bytes of a command's output that are kept.
const OUTPUT_MAX: usize = 4 << 20;

/// A host that let us in.
pub(super) struct Session {
    handle: Handle<HostKey>,
    /// The host on the way, which carries this connection.
    _jump: Option<Handle<HostKey>>,
    run_as: As,
    turns: Semaphore,
}

impl Session {
    /// Connects, logs in, and becomes root.
    pub(super) async fn open(way: &Way, surroundings: &Surroundings) -> Result<Self, SshError> {
        let (handle, jump) = match &way.jump {
            None => (reach(&way.host_key, &way.login, tcp(way).await?, surroundings).await?, None),
            Some(over) => {
                let jump = reach(&over.host_key, &over.login, tcp(over).await?, surroundings).await?;
                let (address, port) = (way.address.clone(), u32::from(way.port));
                let opened = jump.channel_open_direct_tcpip(address, port, "127.0.0.1", 0);
                let slow = || SshError::Slow { address: way.login.address.clone(), limit: CONNECT_MAX };
                let channel = timeout(CONNECT_MAX, opened).await.map_err(|_| slow())?.map_err(|source| {
                    let source = std::io::Error::other(format!("{} said: {source}", over.login.address));
                    SshError::Unreachable { address: way.login.address.clone(), source }
                })?;
                (reach(&way.host_key, &way.login, channel.into_stream(), surroundings).await?, Some(jump))
            }
        };
        let turns = Semaphore::new(COMMANDS_MAX);
        let mut session = Self { handle, _jump: jump, run_as: As::User, turns };
        session.become_root(&way.login.user).await?;
        Ok(session)
    }

    /// Tells whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says good-bye; as best it can.
    pub(super) async fn close(&self) {
        let _gone = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
    }

    /// Runs a script of ours as root with this input.
    pub(super) async fn script(
        &self,
        script: &str,
        arguments: &[&str],
        input: impl AsyncRead + Unpin,
    ) -> Result<Said, SshError> {
        self.execute(&script::line(self.run_as, script, arguments), input).await
    }

    async fn become_root(&mut self, user: &str) -> Result<(), SshError> {
        let greeting = async {
            let said = self.script(script::WHO, &[], &[][..]).await?;
            let words = String::from_utf8_lossy(&said.stdout).into_owned();
            if said.code != Some(0) || words.split_ascii_whitespace().count() != 2 {
                return Err(SshError::Odd { said: format!("{words}{}", said.stderr).trim().to_owned() });
            }
            if words.split_ascii_whitespace().next() == Some("0") {
                return Ok(As::User);
            }
            let said = self.execute(&script::line(As::Sudo, script::ROOT, &[]), &[][..]).await?;
            if said.code == Some(0) {
                return Ok(As::Sudo);
            }
            Err(SshError::Sudo { user: user.to_owned(), said: said.stderr.trim().to_owned() })
        };
        let slow = || SshError::Odd { said: format!("nothing within {} s", GREETING_MAX.as_secs()) };
        self.run_as = timeout(GREETING_MAX, greeting).await.map_err(|_| slow())??;
        Ok(())
    }

    async fn execute(&self, line: &str, input: impl AsyncRead + Unpin) -> Result<Said, SshError> {
        let lost = |source: russh::Error| SshError::Lost { source: Box::new(source) };
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await.map_err(|_| lost(russh::Error::Disconnect))?;
        let channel: Channel<Msg> = self.handle.channel_open_session().await.map_err(lost)?;
        channel.exec(true, line).await.map_err(lost)?;
        let (mut from, to) = channel.split();
        let said = tokio::select! {
            said = listen(&mut from) => said,
            never = feed(&to, input) => match never {},
        };
        // A command that has not ended loses its input and output; what came is enough.
        let _closed = to.close().await;
        said.ok_or_else(|| lost(russh::Error::Disconnect))
    }
}

/// Connects to an SSH server, without anybody in between.
async fn tcp(way: &Way) -> Result<TcpStream, SshError> {
    let address = || way.login.address.clone();
    let connected = timeout(CONNECT_MAX, TcpStream::connect((way.address.as_str(), way.port))).await;
    let stream = connected
        .map_err(|_| SshError::Slow { address: address(), limit: CONNECT_MAX })?
        .map_err(|source| SshError::Unreachable { address: address(), source })?;
    // Commands are small; without it each waits for the answer to the one before.
    let _slower = stream.set_nodelay(true);
    Ok(stream)
}

/// Checks the host's key and logs in, over a stream that leads to it.
async fn reach(
    host_key: &HostKey,
    login: &Login,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    surroundings: &Surroundings,
) -> Result<Handle<HostKey>, SshError> {
    let slow = || SshError::Slow { address: login.address.clone(), limit: CONNECT_MAX };
    let shaken = client::connect_stream(Arc::new(config(host_key)), stream, host_key.clone());
    let mut handle =
        timeout(CONNECT_MAX, shaken).await.map_err(|_| slow())?.map_err(|given_up| match given_up {
            GivenUp::Key(error) => *error,
            GivenUp::Ssh(russh::Error::NoCommonAlgo { kind: russh::AlgorithmKind::Key, theirs, .. }) => {
                SshError::NoHostKey { address: login.address.clone(), offered: theirs }
            }
            GivenUp::Ssh(source) => {
                SshError::Handshake { address: login.address.clone(), source: Box::new(source) }
            }
        })?;
    timeout(CONNECT_MAX, log_in(&mut handle, login, surroundings)).await.map_err(|_| slow())??;
    Ok(handle)
}

fn config(host_key: &HostKey) -> client::Config {
    // GCM is by far the fastest, and what we send is packed or already random.
    let ciphers = [cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_128_CTR];
    client::Config {
        preferred: Preferred {
            key: Cow::Owned(host_key.algorithms()),
            cipher: Cow::Owned(ciphers.to_vec()),
            compression: Cow::Owned(vec![compression::NONE]),
            ..Preferred::default()
        },
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVE_MAX,
        ..client::Config::default()
    }
}

/// Sends a command its input. A command that does not read it ends without it, so this never ends before the command does.
async fn feed(to: &ChannelWriteHalf<Msg>, input: impl AsyncRead + Unpin) -> Infallible {
    if to.data(input).await.is_ok() {
        let _ended = to.eof().await;
    }
    pending().await
}

/// Takes what a command says until it has ended; `None` when the connection broke before.
async fn listen(from: &mut ChannelReadHalf) -> Option<Said> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut ended: Option<Option<i32>> = None;
    loop {
        let next = match ended {
            None => from.wait().await,
            Some(_) => timeout(LAST_WORDS_MAX, from.wait()).await.ok().flatten(),
        };
        match next {
            Some(ChannelMsg::Data { data }) => keep(&mut stdout, &data),
            Some(ChannelMsg::ExtendedData { data, .. }) => keep(&mut stderr, &data),
            Some(ChannelMsg::ExitStatus { exit_status }) => ended = Some(i32::try_from(exit_status).ok()),
            Some(ChannelMsg::ExitSignal { .. }) => ended = Some(None),
            None | Some(ChannelMsg::Close | ChannelMsg::Failure) => break,
            Some(_) => {}
        }
    }
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    ended.map(|code| Said { code, stdout, stderr })
}

fn keep(output: &mut Vec<u8>, data: &[u8]) {
    let room = OUTPUT_MAX.saturating_sub(output.len());
    output.extend_from_slice(&data[..data.len().min(room)]);
}
