//! What the agent tells the systemd that started it: that it is ready, and that it still turns.
//!
//! One datagram each to the socket of `NOTIFY_SOCKET`, as sd_notify(3) has it; without that variable nobody is told anything.
//! Invariant: the agent never fails for want of somebody who listens, and says that it turns only after it did.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, timeout};
use tracing::{info, warn};

use crate::supervisor::Supervisor;

/// Names the socket.
pub(crate) const SOCKET: &str = "NOTIFY_SOCKET";

/// Says within how many microseconds the watchdog wants to hear from us.
pub(crate) const WATCHDOG: &str = "WATCHDOG_USEC";

/// Who is told.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: UnixDatagram,
    to: SocketAddr,
    /// How often the watchdog wants to hear from us; `None` without one.
    within: Option<Duration>,
}

impl Notifier {
    /// Finds who started us; `None` when nobody wants to be told.
    pub fn of_process() -> Option<Self> {
        let name = std::env::var_os(SOCKET)?;
        match Self::new(&name, std::env::var_os(WATCHDOG)) {
            Ok(notifier) => Some(notifier),
            Err(error) => {
                warn!(%error, socket = %name.display(), "nobody can be told that the agent is ready");
                None
            }
        }
    }

    fn new(name: &OsString, within: Option<OsString>) -> io::Result<Self> {
        let bytes = name.as_bytes();
        let to = match bytes.strip_prefix(b"@") {
            Some(abstracted) => SocketAddr::from_abstract_name(abstracted)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not make the agent wait.
        socket.set_nonblocking(true)?;
        let within = within.and_then(|text| text.to_str()?.parse().ok()).map(Duration::from_micros);
        Ok(Self { socket, to, within: within.filter(|within| !within.is_zero()) })
    }

    fn tell(&self, words: &str) {
        if let Err(error) = self.socket.send_to_addr(words.as_bytes(), &self.to) {
            warn!(%error, words, "systemd was not told");
        }
    }

    /// Says that the agent listens.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Says three times within the watchdog's time that the agent turns, for as long as it does. Never returns where there is a
    /// watchdog.
    pub async fn keep_telling(&self, supervisor: Arc<Supervisor>) {
        let Some(within) = self.within else { return };
        info!(?within, "a watchdog is told that the agent turns");
        let every = within / 3;
        let mut ticks = interval(every);
        loop {
            ticks.tick().await;
            if turns(&supervisor, every).await {
                self.tell("WATCHDOG=1");
            } else {
                warn!("the agent does not turn: its watchdog is not told otherwise");
            }
        }
    }
}

/// Finds out whether tasks and threads are run and what processes there are can be looked at.
async fn turns(supervisor: &Arc<Supervisor>, limit: Duration) -> bool {
    let asked = Arc::clone(supervisor);
    let task = tokio::spawn(async move { tokio::task::spawn_blocking(move || asked.count()).await.is_ok() });
    matches!(timeout(limit, task).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn who_started_the_agent_hears_that_it_is_ready_and_then_again_and_again_that_it_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let notifier = Notifier::new(&path.into_os_string(), Some("60000".into())).unwrap();
        assert_eq!(notifier.within, Some(Duration::from_millis(60)));
        notifier.ready();
        let telling = tokio::spawn(async move {
            notifier.keep_telling(Arc::new(Supervisor::without_processes())).await;
        });
        let words = tokio::task::spawn_blocking(move || [(); 4].map(|()| heard(&socket))).await.unwrap();
        assert_eq!(words, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
        telling.abort();
    }

    #[tokio::test]
    async fn sockets_may_be_abstract_and_without_a_watchdog_nothing_more_is_said() {
        let name = format!("lustre-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::new(&format!("@{name}").into(), None).unwrap();
        notifier.ready();
        assert_eq!(heard(&socket), "READY=1");
        notifier.keep_telling(Arc::new(Supervisor::without_processes())).await;
    }

    #[test]
    fn nobody_who_listens_is_no_failure() {
        let notifier = Notifier::new(&"/nowhere/at/all".into(), Some("soon".into())).unwrap();
        assert_eq!(notifier.within, None);
        notifier.ready();
    }
}
