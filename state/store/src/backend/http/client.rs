//! Requests to a state's server: sent, and sent again while nobody answers.
//!
//! Knows methods and bodies, not what they mean.
//! Invariant: every request ends: attempts, pauses and the time of each are bounded; credentials are in no error.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use md5::{Digest as _, Md5};
use thiserror::Error;

use super::HttpPlace;
use super::tls;
use crate::background::Background;

/// Time for one attempt, bodies included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No answer is longer.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Bytes of an answer that an error shows.
const DETAIL_BYTES_MAX: usize = 300;

/// Header with the MD5 of a body, as Terraform sends and checks it.
pub const CONTENT_MD5: &str = "content-md5";

/// Why a request failed, after its retries.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HttpError {
    /// No answer was had.
    #[error("{address} cannot be reached: {cause}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        cause: String,
    },
    /// Credentials are missing or wrong.
    #[error(
        "{address} refuses the credentials ({status}): set `username` and `password`, or LUSTRE_HTTP_USERNAME and LUSTRE_HTTP_PASSWORD"
    )]
    Denied {
        /// Where.
        address: String,
        /// 401 or 403.
        status: u16,
    },
    /// The server says no.
    #[error("{address} answers {status} to {method}: {detail}")]
    Refused {
        /// Where.
        address: String,
        /// What was sent.
        method: String,
        /// What came back.
        status: u16,
        /// Its body, or what follows from it.
        detail: String,
    },
    /// An address or a certificate does not serve.
    #[error("the way to the state's server cannot be set up: {cause}")]
    SetUp {
        /// Why.
        cause: String,
    },
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
    /// What it says the body's MD5 is.
    pub md5: Option<String>,
    /// Whether an earlier attempt may have been carried out although no answer came.
    pub is_repeated: bool,
}

/// The way to a server.
pub struct Client {
    background: Background,
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    place: Arc<HttpPlace>,
}

/// Returns the MD5 of a body as headers have it.
pub fn md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

impl Client {
    /// Sets it up; sends nothing.
    pub fn new(place: Arc<HttpPlace>) -> Result<Self, HttpError> {
        let set_up = |cause: String| HttpError::SetUp { cause };
        let background = Background::new().map_err(|error| set_up(error.to_string()))?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(&place)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let authorization = match (&place.username, &place.password) {
            (None, None) => None,
            (username, password) => {
                let pair = [username, password].map(|it| it.as_deref().unwrap_or_default()).join(":");
                let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
                    .map_err(|error| set_up(error.to_string()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            background,
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            authorization,
            place,
        })
    }

    /// Sends a request, again while no answer comes or the server is in trouble.
    pub fn send(&self, method: &str, address: &str, body: Option<Bytes>) -> Result<Answer, HttpError> {
        let mut pause = self.place.retry_wait_min;
        let mut unanswered = false;
        for attempt in 0..=self.place.retry_max {
            let last = attempt == self.place.retry_max;
            match self.once(method, address, body.clone()) {
                Ok(answer) if last || answer.status < 500 || answer.status == 501 => {
                    return self.judged(method, address, Answer { is_repeated: unanswered, ..answer });
                }
                Ok(_) => {}
                Err(cause) if last => {
                    return Err(HttpError::Unreachable { address: address.to_owned(), cause });
                }
                Err(_) => unanswered = true,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(self.place.retry_wait_max);
        }
        Err(HttpError::Unreachable { address: address.to_owned(), cause: "no attempt is allowed".to_owned() })
    }

    /// Tells refused credentials from other answers.
    fn judged(&self, method: &str, address: &str, answer: Answer) -> Result<Answer, HttpError> {
        match answer.status {
            status @ (401 | 403) => Err(HttpError::Denied { address: address.to_owned(), status }),
            500.. => Err(refused(method, address, &answer)),
            _ => Ok(answer),
        }
    }

    fn once(&self, method: &str, address: &str, body: Option<Bytes>) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(address);
        if let Some(body) = &body {
            request = request.header(CONTENT_TYPE, "application/json").header(CONTENT_MD5, md5(body));
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(|error| error.to_string())?;
        let answered = self.pool.request(request);
        let whole = async move {
            let answer = answered.await.map_err(|error| innermost(&error))?;
            let status = answer.status().as_u16();
            let md5 = answer.headers().get(CONTENT_MD5).and_then(|md5| md5.to_str().ok()).map(str::to_owned);
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| innermost(error.as_ref()))?.to_bytes();
            Ok(Answer { status, body, md5, is_repeated: false })
        };
        let limited = async move {
            let late = |_| "no answer in time".to_owned();
            tokio::time::timeout(ATTEMPT_TIMEOUT, whole).await.map_err(late)?
        };
        self.background.run(limited).map_err(|error| error.to_string())?
    }
}

/// Makes an error of an answer that is not the one that was hoped for.
pub fn refused(method: &str, address: &str, answer: &Answer) -> HttpError {
    let detail = String::from_utf8_lossy(&answer.body[..answer.body.len().min(DETAIL_BYTES_MAX)]);
    let detail = if detail.trim().is_empty() { "no further word".into() } else { detail };
    HttpError::Refused {
        address: address.to_owned(),
        method: method.to_owned(),
        status: answer.status,
        detail: detail.trim().to_owned(),
    }
}

/// The cause at the end of the chain, which is the one that says something.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
