//! A server that keeps one state as Terraform's protocol has it, and fails when told to.
//!
//! One request a connection, a thread each. Posts under a lock need its `ID`; bodies must have the MD5 that they come with.
//! Invariant: a request happens wholly or not at all, whatever becomes of its answer.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// When requests fail.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub at: usize,
    /// Whether what fails has happened.
    pub happens: bool,
    pub for_ever: bool,
}

/// What the server has.
#[derive(Debug, Default)]
pub struct Contents {
    pub state: Option<Vec<u8>>,
    /// Body and number of the lock that is held.
    pub lock: Option<(Vec<u8>, String)>,
    pub outage: Option<Outage>,
    /// Requests since the outage was arranged.
    pub requests: usize,
    pub posts: usize,
    /// `user:password` in base64, when it asks for that.
    pub credentials: Option<String>,
}

/// The server, while it lives.
pub struct Server {
    pub port: u16,
    contents: Arc<Mutex<Contents>>,
    ended: Arc<AtomicBool>,
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What a request comes over.
pub trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

/// Secures a connection, or does not.
pub type Secure = fn(TcpStream) -> Box<dyn Line>;

impl Server {
    pub fn new() -> Self {
        Self::over(|stream| Box::new(stream))
    }

    /// Serves over connections that are secured like this.
    pub fn over(secure: Secure) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (contents, ended) = (Arc::<Mutex<Contents>>::default(), Arc::new(AtomicBool::new(false)));
        let (shared, stop) = (Arc::clone(&contents), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(secure(stream).as_mut(), &shared));
            }
        });
        Self { port, contents, ended }
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test panics with it")
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/states/prod", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _wakes_it = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: &mut dyn Line, contents: &Mutex<Contents>) {
    let Some(request) = read(stream) else { return };
    let mut contents = contents.lock().expect("no test panics with it");
    let at = contents.requests;
    contents.requests += 1;
    let hit = contents.outage.filter(|outage| at == outage.at || (outage.for_ever && at > outage.at));
    if hit.is_some_and(|outage| !outage.happens) {
        return;
    }
    let (status, body) = answer(&mut contents, &request);
    drop(contents);
    if hit.is_none() {
        let head =
            format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _gone = stream.write_all(&[head.as_bytes(), &body].concat()).and_then(|()| stream.flush());
    }
}

fn read(stream: &mut dyn Line) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().expect("a length is a number"))];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}

fn answer(contents: &mut Contents, request: &Request) -> (u16, Vec<u8>) {
    let header = |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let is_stranger = |expected: &String| header("authorization") != Some(&format!("Basic {expected}"));
    if contents.credentials.as_ref().is_some_and(is_stranger) {
        return (401, b"who are you?".to_vec());
    }
    let is_json = header("content-type").is_some_and(|kind| kind == "application/json");
    if !request.body.is_empty() && (header("content-md5").is_none_or(|md5| md5.len() != 24) || !is_json) {
        return (400, b"a body needs its MD5 and its type".to_vec());
    }
    match request.method.as_str() {
        "GET" => contents.state.clone().map_or((404, Vec::new()), |state| (200, state)),
        "POST" | "PUT" => {
            let id = request.target.split("ID=").nth(1);
            if contents.lock.as_ref().map(|(_, id)| id.as_str()) != id {
                return (409, b"that is not the lock".to_vec());
            }
            contents.posts += 1;
            contents.state = Some(request.body.clone());
            (200, Vec::new())
        }
        "LOCK" => match &contents.lock {
            Some((held, _)) => (423, held.clone()),
            None => {
                contents.lock = Some((request.body.clone(), id(&request.body)));
                (200, Vec::new())
            }
        },
        "UNLOCK" => match &contents.lock {
            Some((_, held)) if *held == id(&request.body) => {
                contents.lock = None;
                (200, Vec::new())
            }
            Some(_) | None => (409, b"that is not the lock".to_vec()),
        },
        _ => (405, Vec::new()),
    }
}

/// The number in a lock's description.
fn id(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split("\"ID\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}
