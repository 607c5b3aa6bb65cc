//! Client and server over real TCP and TLS on the loopback interface.
//!
//! Frames, versions and numbering have their tests beside them; here is what only both sides together show.
#![expect(clippy::unwrap_used, reason = "a test program")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lustre_wire::authority::{Authority, KeyPair, Validity};
use lustre_wire::client::{Connection, Notices};
use lustre_wire::server::{Peer, Responder, Service, serve};
use lustre_wire::{Identity, IdentityError, Issued, Protocol, Refusal, Role, Subject, WireError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Lab;

#[derive(Serialize, Deserialize)]
enum Ask {
    Echo(u64),
    /// Answered when a later `Release` comes.
    Park(u64),
    Release,
    /// Notices 0 to n, then an answer.
    Notify(u64),
    Drop,
    Forever,
    Oversized,
}

impl Protocol for Lab {
    const NAME: &'static str = "lab";
    type Request = Ask;
    type Answer = (u64, Vec<u8>);
    type Notice = u64;
}

#[derive(Debug)]
struct Other;

impl Protocol for Other {
    const NAME: &'static str = "other";
    type Request = u64;
    type Answer = u64;
    type Notice = ();
}

#[derive(Default)]
struct Bench {
    parked: Mutex<Vec<(u64, Responder<Lab>)>>,
    present: AtomicUsize,
    gone: Notify,
}

impl Service<Lab> for Bench {
    fn connected(&self, _peer: &Peer<Lab>) {
        self.present.fetch_add(1, Ordering::SeqCst);
    }

    fn disconnected(&self, _peer: &Peer<Lab>) {
        self.present.fetch_sub(1, Ordering::SeqCst);
        self.gone.notify_waiters();
    }

    fn call(&self, peer: &Peer<Lab>, request: Ask, bulk: Bytes, responder: Responder<Lab>) {
        match request {
            Ask::Echo(number) => responder.send((number, Vec::new()), bulk),
            Ask::Park(number) => self.parked.lock().unwrap().push((number, responder)),
            Ask::Release => {
                let parked = std::mem::take(&mut *self.parked.lock().unwrap());
                // From another thread, last first.
                std::thread::spawn(move || {
                    for (number, waiting) in parked.into_iter().rev() {
                        waiting.send((number, Vec::new()), Bytes::new());
                    }
                    responder.send((0, Vec::new()), Bytes::new());
                });
            }
            Ask::Notify(count) => {
                (0..count).for_each(|number| peer.notify(number));
                responder.send((count, Vec::new()), Bytes::new());
            }
            Ask::Drop => drop(responder),
            Ask::Forever => self.parked.lock().unwrap().push((0, responder)),
            Ask::Oversized => responder.send((0, vec![0; 5 << 20]), Bytes::new()),
        }
    }
}

fn identity(authority: &Authority, scope: &str, role: Role) -> Identity {
    let key = KeyPair::generate().unwrap();
    let subject = Subject::new(scope, role, "one");
    let certificate = authority.sign(&key.csr().unwrap(), &subject).unwrap();
    Identity::new(&certificate, &key.pem(), &authority.certificate_pem).unwrap()
}

struct House {
    authority: Authority,
    address: String,
    bench: Arc<Bench>,
    stop: CancellationToken,
    served: JoinHandle<Result<(), WireError>>,
}

impl House {
    async fn build() -> Self {
        let authority = Authority::generate("scratch").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (bench, stop) = (Arc::new(Bench::default()), CancellationToken::new());
        let server = identity(&authority, "scratch", Role::Target);
        let served = tokio::spawn(serve::<Lab, _>(listener, server, Arc::clone(&bench), stop.clone()));
        Self { authority, address, bench, stop, served }
    }

    async fn client(&self) -> (Connection<Lab>, Notices<Lab>) {
        let identity = identity(&self.authority, "scratch", Role::Client).always_tls();
        Connection::connect(&self.address, &identity, TIMEOUT).await.unwrap()
    }

    /// A client that lets TLS end behind the handshake: server and client are one machine here.
    async fn neighbour(&self) -> (Connection<Lab>, Notices<Lab>) {
        let identity = identity(&self.authority, "scratch", Role::Client);
        Connection::connect(&self.address, &identity, TIMEOUT).await.unwrap()
    }

    /// Waits until the service was told that no peer is left.
    async fn empty(&self) {
        loop {
            let gone = self.bench.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.bench.present.load(Ordering::SeqCst) == 0 {
                return;
            }
            gone.await;
        }
    }
}

async fn echo(connection: &Connection<Lab>, number: u64) -> u64 {
    connection.call(&Ask::Echo(number), Bytes::new()).await.unwrap().0.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_side_knows_whom_the_other_is() {
    let house = House::build().await;
    let (connection, _notices) = house.client().await;
    assert_eq!(connection.peer(), &Subject::new("scratch", Role::Target, "one"));
    assert_eq!(echo(&connection, 7).await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_find_their_answers_in_whatever_order_these_come() {
    let house = House::build().await;
    for (connection, _notices) in [house.client().await, house.neighbour().await] {
        many_calls(&connection).await;
    }
}

async fn many_calls(connection: &Connection<Lab>) {
    let calls: Vec<_> = (0..500_u64)
        .map(|number| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let ask = if number % 2 == 0 { Ask::Park(number) } else { Ask::Echo(number) };
                let bulk = if number % 2 == 0 { Bytes::new() } else { Bytes::from(number.to_string()) };
                let (answer, back) = connection.call(&ask, bulk.clone()).await.unwrap();
                assert_eq!(back, bulk);
                (number, answer.0)
            })
        })
        .collect();
    loop {
        connection.call(&Ask::Release, Bytes::new()).await.unwrap();
        if calls.iter().all(JoinHandle::is_finished) {
            break;
        }
        tokio::task::yield_now().await;
    }
    for call in calls {
        let (asked, answered) = call.await.unwrap();
        assert_eq!(asked, answered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_megabytes_go_both_ways_unchanged() {
    let house = House::build().await;
    for (connection, _notices) in [house.client().await, house.neighbour().await] {
        four_megabytes(&connection).await;
    }
}

async fn four_megabytes(connection: &Connection<Lab>) {
    let bulk: Bytes = (0..4_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let calls = (0..4).map(|number| {
        let (connection, bulk) = (connection.clone(), bulk.clone());
        async move { connection.call(&Ask::Echo(number), bulk).await.unwrap() }
    });
    for call in calls.map(tokio::spawn).collect::<Vec<_>>() {
        assert!(call.await.unwrap().1 == bulk, "bulk changed on the way");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_come_in_order() {
    let house = House::build().await;
    for (connection, mut notices) in [house.client().await, house.neighbour().await] {
        connection.call(&Ask::Notify(1000), Bytes::new()).await.unwrap();
        for number in 0..1000 {
            assert_eq!(notices.next().await, Some(number));
        }
        drop(connection);
        assert_eq!(notices.next().await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_is_refused_by_the_client() {
    let house = House::build().await;
    let stranger = identity(&Authority::generate("scratch").unwrap(), "scratch", Role::Client);
    let error = Connection::<Lab>::connect(&house.address, &stranger, TIMEOUT).await.unwrap_err();
    assert!(matches!(error, WireError::Stranger { .. }), "{error:?}");
    assert_eq!(house.bench.present.load(Ordering::SeqCst), 0);
}

/// A folder with a key, as the agent makes them, and the number of its certificate.
struct Papers {
    dir: tempfile::TempDir,
    key: KeyPair,
}

impl Papers {
    fn new(authority: &Authority) -> Self {
        let (dir, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        fs_err::write(dir.path().join("key.pem"), key.pem()).unwrap();
        fs_err::write(dir.path().join("ca.pem"), &authority.certificate_pem).unwrap();
        Self { dir, key }
    }

    fn sign(&self, authority: &Authority, (role, name): (Role, &str), valid: Duration) -> String {
        let now = SystemTime::now();
        let validity = Validity { from: now - Duration::from_mins(1), until: now + valid };
        let subject = Subject::new("scratch", role, name);
        let pem = authority.sign_within(&self.key.csr().unwrap(), &subject, Some(validity)).unwrap();
        fs_err::write(self.dir.path().join("cert.pem"), &pem).unwrap();
        Issued::of_pem(&pem).unwrap().serial
    }

    fn identity(&self) -> Identity {
        Identity::load(self.dir.path()).unwrap()
    }
}

async fn serving(authority: &Authority, server: Identity) -> (String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    assert_eq!(server.subject().scope, "scratch", "{authority:?}");
    tokio::spawn(serve::<Lab, _>(listener, server, Arc::new(Bench::default()), stop.clone()));
    (address, stop)
}

async fn echoes(connection: &Connection<Lab>) -> bool {
    connection.call(&Ask::Echo(7), Bytes::new()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_shown_from_the_next_handshake_on_and_connections_go_on() {
    let authority = Authority::generate("scratch").unwrap();
    let papers = Papers::new(&authority);
    let first = papers.sign(&authority, (Role::Target, "t"), Duration::from_secs(3));
    let server = papers.identity();
    let (address, stop) = serving(&authority, server.clone()).await;
    let client = identity(&authority, "scratch", Role::Client);
    let (before, _notices) = Connection::<Lab>::connect(&address, &client, TIMEOUT).await.unwrap();
    let begun = std::time::Instant::now();
    loop {
        match Connection::<Lab>::connect(&address, &client, TIMEOUT).await {
            Ok(_) => assert!(begun.elapsed() < TIMEOUT, "a certificate that ended is refused"),
            Err(error) => {
                assert!(matches!(error, WireError::Stranger { .. }), "{error:?}");
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(echoes(&before).await, "what was connected goes on");
    let second = papers.sign(&authority, (Role::Target, "t"), Duration::from_hours(1));
    assert_eq!(first, second, "a number is that of the key");
    server.reload(papers.dir.path()).unwrap();
    let (behind, _notices) = Connection::<Lab>::connect(&address, &client, TIMEOUT).await.unwrap();
    assert!(echoes(&behind).await && echoes(&before).await);

    // Neither somebody else's certificate nor half of one changes anything.
    papers.sign(&authority, (Role::Target, "other"), Duration::from_hours(1));
    assert!(matches!(server.reload(papers.dir.path()), Err(IdentityError::Other { .. })));
    fs_err::write(papers.dir.path().join("cert.pem"), "half").unwrap();
    assert!(server.reload(papers.dir.path()).is_err());
    assert!(Connection::<Lab>::connect(&address, &client, TIMEOUT).await.is_ok());
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_is_cut_off_at_once_and_refused_from_then_on_and_others_are_not() {
    let authority = Authority::generate("scratch").unwrap();
    let papers = Papers::new(&authority);
    papers.sign(&authority, (Role::Target, "t"), Duration::from_hours(1));
    let server = papers.identity();
    let (address, stop) = serving(&authority, server.clone()).await;
    let (thief, friend) = (Papers::new(&authority), identity(&authority, "scratch", Role::Client));
    let serial = thief.sign(&authority, (Role::Client, "laptop"), Duration::from_hours(1));
    // Also where TLS would end behind the handshake: server and client are one machine here.
    for thief_identity in [thief.identity(), thief.identity().always_tls()] {
        fs_err::write(papers.dir.path().join("revoked"), "").unwrap();
        server.reload(papers.dir.path()).unwrap();
        let (stolen, _notices) =
            Connection::<Lab>::connect(&address, &thief_identity, TIMEOUT).await.unwrap();
        let (own, _notices) = Connection::<Lab>::connect(&address, &friend, TIMEOUT).await.unwrap();
        assert!(echoes(&stolen).await && echoes(&own).await);
        fs_err::write(papers.dir.path().join("revoked"), format!("00ff\n{serial}\n")).unwrap();
        server.reload(papers.dir.path()).unwrap();
        let begun = std::time::Instant::now();
        while echoes(&stolen).await {
            assert!(begun.elapsed() < TIMEOUT, "its connection is closed");
        }
        // Another certificate of the same key is no way around it.
        thief.sign(&authority, (Role::Client, "laptop"), Duration::from_hours(9));
        for again in [&thief_identity, &thief.identity()] {
            let error = Connection::<Lab>::connect(&address, again, TIMEOUT).await.unwrap_err();
            assert!(matches!(error, WireError::Unwelcome { .. }), "{error:?}");
        }
        assert!(echoes(&own).await);
        assert!(Connection::<Lab>::connect(&address, &friend, TIMEOUT).await.is_ok());
    }
    stop.cancel();
}

/// Trusts the house's authority, but shows a certificate of another one.
fn intruder(house: &House) -> (rustls::ClientConfig, rustls::pki_types::ServerName<'static>) {
    use rustls::pki_types::pem::PemObject;
    let foreign = Authority::generate("scratch").unwrap();
    let key = KeyPair::generate().unwrap();
    let subject = Subject::new("scratch", Role::Administrator, "one");
    let certificate = foreign.sign(&key.csr().unwrap(), &subject).unwrap();
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.pem().as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let ours = house.authority.certificate_pem.as_bytes();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(ours).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Credulous(Arc::clone(&provider)));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .unwrap();
    (config, "lustre".try_into().unwrap())
}

/// Believes any server.
#[derive(Debug)]
struct Credulous(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_authority_gets_no_byte_from_the_server() {
    let house = House::build().await;
    let (config, name) = intruder(&house);
    let socket = tokio::net::TcpStream::connect(&house.address).await.unwrap();
    let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    // In TLS 1.3 the client's half may look done before the server judges its certificate.
    if let Ok(mut stream) = connected {
        let _ = stream.write_all(b"lstr").await;
        let mut got = Vec::new();
        let end = stream.read_to_end(&mut got).await;
        assert!(got.is_empty() && end.is_err(), "{got:?} {end:?}");
    }
    assert_eq!(house.bench.present.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_scope_of_the_same_authority_is_refused() {
    let house = House::build().await;
    let foreign = identity(&house.authority, "archive", Role::Client);
    let error = Connection::<Lab>::connect(&house.address, &foreign, TIMEOUT).await.unwrap_err();
    assert!(
        matches!(&error, WireError::Scope { expected, found, .. }
        if expected == "archive" && found.scope == "scratch"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_peer_at_the_address_is_refused_by_name() {
    let house = House::build().await;
    let ours = identity(&house.authority, "scratch", Role::Client);
    let wanted = |name| Subject::new("scratch", Role::Target, name);
    let one = wanted("one");
    assert!(Connection::<Lab>::connect_to(&house.address, &one, &ours, TIMEOUT).await.is_ok());
    let error =
        Connection::<Lab>::connect_to(&house.address, &wanted("two"), &ours, TIMEOUT).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("target/two") && text.contains("target/one") && text.contains(&house.address),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_refused_by_name() {
    let house = House::build().await;
    let ours = identity(&house.authority, "scratch", Role::Client);
    let error = Connection::<Other>::connect(&house.address, &ours, TIMEOUT).await.unwrap_err();
    assert!(
        matches!(&error, WireError::Refused { source: Refusal::Protocol { asked, served }, .. }
        if asked == "other" && served == "lab"),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_at_the_address_is_said_with_the_address() {
    let authority = Authority::generate("scratch").unwrap();
    let ours = identity(&authority, "scratch", Role::Client);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Connection::<Lab>::connect(&address, &ours, TIMEOUT).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    assert!(matches!(error, WireError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_listener_that_never_speaks_times_out() {
    let authority = Authority::generate("scratch").unwrap();
    let ours = identity(&authority, "scratch", Role::Client);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(50);
    let error = Connection::<Lab>::connect(&address, &ours, limit).await.unwrap_err();
    assert!(matches!(error, WireError::TimedOut { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_service_drops_is_known_to_have_no_answer() {
    let house = House::build().await;
    let (connection, _notices) = house.client().await;
    for ask in [Ask::Drop, Ask::Oversized] {
        let error = connection.call(&ask, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, WireError::Unanswered { .. }), "{error:?}");
    }
    assert_eq!(echo(&connection, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_not_sent_and_harms_nothing() {
    let house = House::build().await;
    let (connection, _notices) = house.client().await;
    let bulk = Bytes::from(vec![0; lustre_wire::limit::BULK_MAX + 1]);
    let error = connection.call(&Ask::Echo(1), bulk).await.unwrap_err();
    assert!(matches!(error, WireError::Codec { .. }), "{error:?}");
    assert_eq!(echo(&connection, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_calls_end_with_the_server() {
    let house = House::build().await;
    let client = house.client().await;
    waiting_calls_end(house, client).await;
    let house = House::build().await;
    let neighbour = house.neighbour().await;
    waiting_calls_end(house, neighbour).await;
}

async fn waiting_calls_end(house: House, (connection, mut notices): (Connection<Lab>, Notices<Lab>)) {
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.call(&Ask::Forever, Bytes::new()).await.map(|_| ()) })
        })
        .collect();
    while house.bench.parked.lock().unwrap().len() < 20 {
        tokio::task::yield_now().await;
    }
    house.stop.cancel();
    for call in waiting {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, WireError::Lost { .. }), "{error:?}");
    }
    connection.closed().await;
    assert!(connection.is_closed());
    assert_eq!(notices.next().await, None);
    let late = connection.call(&Ask::Echo(1), Bytes::new()).await.unwrap_err();
    assert!(matches!(late, WireError::Lost { .. }), "{late:?}");
    house.served.await.unwrap().unwrap();
    assert_eq!(house.bench.present.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_is_noticed_by_the_service() {
    let house = House::build().await;
    for (connection, _notices) in [house.client().await, house.neighbour().await] {
        assert_eq!(echo(&connection, 1).await, 1);
        assert!(house.bench.present.load(Ordering::SeqCst) > 0);
        drop(connection);
    }
    house.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_waits_for_is_dropped() {
    let house = House::build().await;
    let (connection, _notices) = house.client().await;
    let given_up =
        tokio::time::timeout(Duration::from_millis(20), connection.call(&Ask::Park(1), Bytes::new()));
    assert!(given_up.await.is_err());
    connection.call(&Ask::Release, Bytes::new()).await.unwrap();
    assert_eq!(echo(&connection, 2).await, 2);
}

/// Far more bytes of requests than a server holds at once still all get through, and in bounded memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bulk_is_slowed_down_and_not_lost() {
    let house = House::build().await;
    for (connection, _notices) in [house.client().await, house.neighbour().await] {
        flood(&connection).await;
    }
}

async fn flood(connection: &Connection<Lab>) {
    let bulk = Bytes::from(vec![7; 4 << 20]);
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let (connection, bulk) = (connection.clone(), bulk.clone());
            tokio::spawn(async move {
                let (_, back) = connection.call(&Ask::Echo(number), bulk).await.unwrap();
                back.len()
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 4 << 20);
    }
}
