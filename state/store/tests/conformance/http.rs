//! The suite against a server that speaks Terraform's protocol, and what only such a server has.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lustre_model::journal::{Journal as _, JournalError};
use lustre_store::{Backend, Http, HttpOptions, HttpPlace, Recovery, StoreError};

use crate::behaviour::{opened, record, small};
use crate::server::{Outage, Server};
use crate::subject::{Break, Seals, Subject, create, encrypted, has, holder, lineage, plain};

/// A state on a server, and two machines.
pub struct OnServer {
    server: Server,
    folder: tempfile::TempDir,
    post_every: Duration,
    seals: Seals,
}

/// Nothing is posted between the beginning and the end of a test that does not ask for it.
const NEVER: Duration = Duration::from_secs(600);

fn on_server() -> OnServer {
    let folder = tempfile::tempdir().expect("a folder");
    OnServer { server: Server::new(), folder, post_every: NEVER, seals: plain }
}

fn encrypted_on_server() -> OnServer {
    OnServer { seals: encrypted, ..on_server() }
}

impl OnServer {
    fn place(&self) -> HttpPlace {
        let address = self.server.address();
        HttpPlace {
            lock_address: Some(format!("{address}/lock")),
            unlock_address: Some(format!("{address}/lock")),
            retry_wait_min: Duration::ZERO,
            retry_wait_max: Duration::ZERO,
            ..HttpPlace::new(address)
        }
    }

    fn machine(&self, name: &str) -> Box<dyn Backend> {
        self.spoken_to(self.place(), name)
    }

    fn spoken_to(&self, place: HttpPlace, name: &str) -> Box<dyn Backend> {
        let options = HttpOptions { folder: self.folder.path().join(name), post_every: self.post_every };
        Box::new(Http::with_options(place, (self.seals)(), options).expect("threads start"))
    }

    /// Files of the first machine, but for the lock.
    fn mirror(&self) -> Vec<PathBuf> {
        let entries = fs_err::read_dir(self.folder.path().join("here")).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_none_or(|it| it != "lock"))
            .collect()
    }
}

impl Subject for OnServer {
    fn client(&self) -> Box<dyn Backend> {
        self.server.contents().outage = None;
        self.machine("here")
    }

    fn elsewhere(&self) -> Box<dyn Backend> {
        self.server.contents().outage = None;
        self.machine("there")
    }

    fn breaking(&self, at: usize, how: Break, for_ever: bool) -> Box<dyn Backend> {
        let mut contents = self.server.contents();
        contents.outage = Some(Outage { at, happens: how == Break::After, for_ever });
        contents.requests = 0;
        drop(contents);
        self.machine("here")
    }

    fn requests(&self) -> usize {
        self.server.contents().requests
    }

    fn end_locks(&self) {
        self.server.contents().lock = None;
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.server.contents().state.clone()
    }

    fn set_snapshot(&self, bytes: Option<&[u8]>) {
        self.server.contents().state = bytes.map(<[u8]>::to_vec);
    }

    fn retries(&self) -> bool {
        true
    }

    fn unlocks(&self) -> bool {
        true
    }
}

conforms!(on_server);

mod sealed {
    use super::encrypted_on_server;

    conforms!(encrypted_on_server);
}

#[test]
fn a_closed_state_is_on_the_server_and_nowhere_else() {
    let subject = on_server();
    small(&subject);
    assert_eq!(subject.mirror(), Vec::<PathBuf>::new());
    assert!(has(&subject.elsewhere().read().unwrap().world, "a"));
    let body = subject.snapshot().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).expect("servers may read it as JSON");
    assert_eq!((&body["serial"], &body["lineage"]), (&2.into(), &"first".into()));
}

#[test]
fn a_state_that_was_cut_off_is_gone_on_with_from_the_mirror() {
    let subject = on_server();
    small(&subject);
    let state = opened(&*subject.client());
    record(&state, "b");
    drop(state);
    assert!(!has(&subject.elsewhere().read().unwrap().world, "b"), "it was never posted");
    let found = subject.client().read().unwrap();
    assert_eq!(found.recovery, Recovery::Replayed { events: 2, torn: 0 });
    // Its lock stands, so that nobody goes on without it.
    let held = subject.client().holder().unwrap().expect("it is kept");
    assert!(subject.elsewhere().lock(holder("c@d"), Duration::ZERO).is_err());
    subject.client().force_unlock(&held.id).unwrap();
    // Whoever locks here next posts it, although it opens nothing.
    drop(subject.client().lock(holder("a@b"), Duration::ZERO).unwrap());
    assert!(has(&subject.elsewhere().read().unwrap().world, "b"));
    assert_eq!(subject.mirror(), Vec::<PathBuf>::new());
}

#[test]
fn a_mirror_that_the_server_went_on_without_is_refused_and_kept() {
    let subject = on_server();
    small(&subject);
    let state = opened(&*subject.client());
    record(&state, "b");
    drop(state);
    subject.end_locks();
    let other = opened(&*subject.elsewhere());
    record(&other, "c");
    other.close().unwrap();
    let before = subject.snapshot();
    let error = subject.client().read().expect_err("neither is right");
    assert!(matches!(&error, StoreError::Diverged { kept: 4, .. }), "{error:?}");
    assert!(subject.client().lock(holder("a@b"), Duration::ZERO).is_err());
    assert_eq!((subject.mirror().len(), subject.snapshot()), (2, before), "both are kept");
    subject.set_snapshot(None);
    assert!(
        matches!(subject.client().read(), Err(StoreError::Diverged { .. })),
        "nothing there is no state either"
    );
}

#[test]
fn the_whole_state_is_posted_while_it_is_worked_on() {
    let subject = OnServer { post_every: Duration::from_millis(20), ..on_server() };
    small(&subject);
    let state = opened(&*subject.client());
    record(&state, "b");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !has(&subject.elsewhere().read().unwrap().world, "b") {
        assert!(Instant::now() < deadline, "it is posted");
        std::thread::sleep(Duration::from_millis(5));
    }
    state.close().unwrap();
}

#[test]
fn a_holder_whose_lock_was_taken_away_is_stopped_and_overwrites_nothing() {
    let subject = OnServer { post_every: Duration::from_millis(20), ..on_server() };
    small(&subject);
    let old = opened(&*subject.client());
    record(&old, "b");
    subject.end_locks();
    let new = opened(&*subject.elsewhere());
    record(&new, "c");
    let deadline = Instant::now() + Duration::from_secs(30);
    for number in 0.. {
        match old.append(&[create(&format!("d{number}"))]) {
            Ok(()) => assert!(Instant::now() < deadline, "it is told"),
            Err(error) => {
                assert!(matches!(error, JournalError::LockLost), "{error:?}");
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(old.close().is_err());
    new.close().unwrap();
    let world = subject.elsewhere().read().unwrap().world;
    assert!(has(&world, "c") && !has(&world, "d0"));
}

#[test]
fn a_post_that_fails_at_the_end_keeps_mirror_and_lock_and_says_what_to_do() {
    let subject = on_server();
    small(&subject);
    let state = opened(&*subject.client());
    record(&state, "b");
    subject.server.contents().outage = Some(Outage { at: 0, happens: false, for_ever: true });
    let error = state.close().expect_err("nobody answers");
    let StoreError::Unposted { id, .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("force-unlock"), "{error}");
    drop(state);
    assert!(has(&subject.client().read().unwrap().world, "b"), "it is in the mirror");
    assert_eq!(subject.client().holder().unwrap().unwrap().id, *id);
}

#[test]
fn credentials_are_sent_and_asked_for() {
    let subject = on_server();
    subject.server.contents().credentials = Some("b3BzOnNlY3JldA==".to_owned());
    let error = subject.client().read().expect_err("they are missing");
    let cause = std::error::Error::source(&error).expect("it has one").to_string();
    assert!(cause.contains("LUSTRE_HTTP_PASSWORD"), "{cause}");
    let (username, password) = (Some("ops".to_owned()), Some("secret".to_owned()));
    let client = subject.spoken_to(HttpPlace { username, password, ..subject.place() }, "here");
    assert_eq!(client.read().unwrap().recovery, Recovery::Absent);
}

#[test]
fn without_a_lock_address_two_on_one_machine_still_take_turns() {
    let subject = on_server();
    let place = || HttpPlace { lock_address: None, unlock_address: None, ..subject.place() };
    let first = subject.spoken_to(place(), "here").lock(holder("a@b"), Duration::ZERO).unwrap();
    assert!(subject.spoken_to(place(), "here").lock(holder("c@d"), Duration::ZERO).is_err());
    let state = first.open(lineage()).unwrap();
    record(&state, "a");
    state.close().unwrap();
    assert!(has(&subject.elsewhere().read().unwrap().world, "a"));
}

/// A certificate for `localhost` that signed itself, and its key.
fn certificate() -> &'static (String, String) {
    static MADE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it is made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

fn secured(stream: std::net::TcpStream) -> Box<dyn crate::server::Line> {
    use rustls::pki_types::pem::PemObject as _;
    let (certificate, key) = certificate();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let connection = rustls::ServerConnection::new(std::sync::Arc::new(config)).unwrap();
    Box::new(rustls::StreamOwned::new(connection, stream))
}

#[test]
fn a_server_is_believed_over_tls_only_with_a_certificate_that_is_trusted() {
    let subject = OnServer { server: Server::over(secured), ..on_server() };
    let address = format!("https://localhost:{}/states/prod", subject.server.port);
    let place = |authority: Option<&str>, skip: bool| HttpPlace {
        retry_max: 0,
        client_ca_certificate_pem: authority.map(str::to_owned),
        skip_cert_verification: skip,
        ..HttpPlace::new(address.clone())
    };
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let refused = subject.spoken_to(place(Some(&stranger), false), "here").read();
    assert!(matches!(refused, Err(StoreError::Http { .. })), "{refused:?}");
    for trusted in [place(Some(&certificate().0), false), place(None, true)] {
        let state = opened(&*subject.spoken_to(trusted.clone(), "here"));
        record(&state, &format!("v{}", state.world().serial));
        state.close().unwrap();
        assert!(has(&subject.spoken_to(trusted, "there").read().unwrap().world, "v0"));
    }
}
