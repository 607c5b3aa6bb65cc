//! The SDK's client as we set it up, and its errors in our words.
//!
//! Nothing here sends a request; operations are in `client.rs`.
//! Invariant: every request ends: attempts, their time and the time of all of them are bounded.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::DateTime;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::credentials::KeyPair;
use crate::endpoint::{ConnectError, Endpoint};
use crate::error::{Place, StorageError};

/// Attempts per request, the first included.
const ATTEMPTS_MAX: u32 = 4;

/// Pause before the second attempt; doubled for each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(3);

/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one attempt, body included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a request with all its attempts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(150);

/// Region where the endpoint names none.
const REGION_DEFAULT: &str = "us-east-1";

/// Builds the SDK's client. Reads the credentials file, if there is one; sends nothing.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    profile: Option<&str>,
) -> Result<aws_sdk_s3::Client, ConnectError> {
    let region = Region::new(endpoint.region.clone().unwrap_or_else(|| REGION_DEFAULT.to_owned()));
    let http = transport(endpoint)?;
    let mut config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(region.clone())
        .http_client(http.clone())
        .force_path_style(endpoint.path_style)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS_MAX)
                .with_initial_backoff(BACKOFF_FIRST)
                .with_max_backoff(BACKOFF_MAX),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(REQUEST_TIMEOUT)
                .build(),
        )
        // Other vendors refuse the SDK's default trailer checksums; the signature covers the payload's SHA-256.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(url) = &endpoint.endpoint_url {
        config = config.endpoint_url(url);
    }
    let config = match &endpoint.credentials_file {
        Some(file) => config.credentials_provider(key_pair(endpoint, file)?),
        None => {
            let mut chain = aws_config::defaults(BehaviorVersion::latest());
            if let Some(profile) = profile {
                chain = chain.profile_name(profile);
            }
            let chain = chain.region(region).http_client(http).load().await;
            config.set_credentials_provider(chain.credentials_provider());
            config
        }
    };
    Ok(aws_sdk_s3::Client::from_conf(config.build()))
}

fn key_pair(endpoint: &Endpoint, file: &str) -> Result<Credentials, ConnectError> {
    let pair = KeyPair::load(Path::new(file))
        .map_err(|source| ConnectError::Credentials { bucket: endpoint.bucket.clone(), source })?;
    Ok(Credentials::new(pair.access_key, pair.secret_key, pair.session_token, None, "credentials-file"))
}

/// Plain HTTP needs no root certificates, and a host without any must still reach its own bucket. The credential chain
/// may need HTTPS whatever the endpoint is.
fn transport(endpoint: &Endpoint) -> Result<SharedHttpClient, ConnectError> {
    let builder = aws_smithy_http_client::Builder::new();
    let url = endpoint.endpoint_url.as_deref().unwrap_or("https://");
    match (url.starts_with("http://"), url.starts_with("https://")) {
        (true, _) if endpoint.credentials_file.is_some() => Ok(builder.build_http()),
        (true, _) | (_, true) => Ok(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()),
        (false, false) => Err(ConnectError::EndpointUrl { endpoint_url: url.to_owned() }),
    }
}

/// Says in our words why a request failed.
pub(crate) fn classify<E>(place: Place, error: SdkError<E>) -> StorageError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    if let SdkError::ServiceError(service) = error {
        let code = service.err().code().map(str::to_owned);
        let detail = service.err().message().unwrap_or("no further word").to_owned();
        return answered(place, status, code, detail);
    }
    if matches!(error, SdkError::TimeoutError(_)) {
        return StorageError::Unreachable { place, cause: "no answer in time".to_owned() };
    }
    let cause = innermost(&error);
    // The SDK gives a chain without credentials no kind of its own.
    if DisplayErrorContext(&error).to_string().contains("redential") {
        return StorageError::NoCredentials { place, cause };
    }
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return StorageError::Other { place, code: "InvalidRequest".to_owned(), detail: cause };
    }
    StorageError::Unreachable { place, cause }
}

/// Sorts an answer by its code, or by its status where HEAD leaves no code.
fn answered(place: Place, status: Option<u16>, code: Option<String>, detail: String) -> StorageError {
    let code = code.or_else(|| status.map(|s| s.to_string())).unwrap_or_default();
    match code.as_str() {
        "NoSuchKey" | "NotFound" | "NoSuchUpload" | "404" => StorageError::NotFound { place },
        "NoSuchBucket" => StorageError::NoSuchBucket { place },
        "PreconditionFailed" | "412" => StorageError::PreconditionFailed { place },
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "429" => StorageError::Throttled { place, code },
        "AccessDenied"
        | "Forbidden"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "AllAccessDisabled"
        | "401"
        | "403" => StorageError::AccessDenied { place, code },
        _ if status == Some(403) => StorageError::AccessDenied { place, code },
        _ => StorageError::Other { place, code, detail },
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

/// Strips the quotes of an entity tag.
pub(crate) fn bare_etag(etag: Option<&str>) -> String {
    let etag = etag.unwrap_or_default();
    etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag).to_owned()
}

/// Puts the quotes of an entity tag back.
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// A moment of the SDK's; the epoch where the service gave none that can be held.
pub(crate) fn moment(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|t| SystemTime::try_from(*t).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
