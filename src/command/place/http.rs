//! `state "http"`: a server that speaks Terraform's protocol, with Terraform's names.
//!
//! Credentials may come from the environment, as there: LUSTRE_HTTP_USERNAME, LUSTRE_HTTP_PASSWORD and
//! LUSTRE_HTTP_CLIENT_PRIVATE_KEY_PEM.
//! Invariant: what the environment says counts only where the spec says nothing.

use std::time::Duration;

use lustre_store::{HttpPlace, Place};

use super::attributes::Attributes;

/// What the backend has.
pub const NAMES: &[&str] = &[
    "address",
    "lock_address",
    "unlock_address",
    "update_method",
    "lock_method",
    "unlock_method",
    "username",
    "password",
    "skip_cert_verification",
    "client_ca_certificate_pem",
    "client_certificate_pem",
    "client_private_key_pem",
    "retry_max",
    "retry_wait_min",
    "retry_wait_max",
];

/// Most times that a request can be asked to be sent again.
const RETRY_MAX: u32 = 20;

/// Shortest pause between two attempts that can be asked for.
const PAUSE_LEAST: Duration = Duration::ZERO;

/// Reads the block.
pub fn read(attributes: &mut Attributes<'_>) -> Option<Place> {
    let address = attributes.required("address");
    let plain = HttpPlace::new(address?);
    let mut url = |name: &str| attributes.text(name);
    let (lock_address, unlock_address) = (url("lock_address"), url("unlock_address"));
    let mut method = |name: &str, default: String| Some(attributes.text(name)?.unwrap_or(default));
    let update_method = method("update_method", plain.update_method);
    let lock_method = method("lock_method", plain.lock_method);
    let unlock_method = method("unlock_method", plain.unlock_method);
    let mut secret =
        |name: &str, variable: &str| Some(attributes.text(name)?.or_else(|| environment(variable)));
    let username = secret("username", "LUSTRE_HTTP_USERNAME");
    let password = secret("password", "LUSTRE_HTTP_PASSWORD");
    let key = secret("client_private_key_pem", "LUSTRE_HTTP_CLIENT_PRIVATE_KEY_PEM");
    let authority = attributes.text("client_ca_certificate_pem");
    let certificate = attributes.text("client_certificate_pem");
    let skip_cert_verification = attributes.flag("skip_cert_verification");
    let retry_max = attributes.number("retry_max", (RETRY_MAX, plain.retry_max));
    let retry_wait_min = attributes.duration("retry_wait_min", (PAUSE_LEAST, plain.retry_wait_min));
    let retry_wait_max = attributes.duration("retry_wait_max", (PAUSE_LEAST, plain.retry_wait_max));
    let place = HttpPlace {
        address: plain.address,
        lock_address: lock_address?,
        unlock_address: unlock_address?,
        update_method: update_method?,
        lock_method: lock_method?,
        unlock_method: unlock_method?,
        username: username?,
        password: password?,
        skip_cert_verification: skip_cert_verification?,
        client_ca_certificate_pem: authority?,
        client_certificate_pem: certificate?,
        client_private_key_pem: key?,
        retry_max: retry_max?,
        retry_wait_min: retry_wait_min?,
        retry_wait_max: retry_wait_max?,
    };
    check(attributes, &place);
    Some(Place::Http(place))
}

/// Completes a place with the secrets that the environment has.
pub fn with_secrets_of_environment(place: HttpPlace) -> HttpPlace {
    HttpPlace {
        username: place.username.or_else(|| environment("LUSTRE_HTTP_USERNAME")),
        password: environment("LUSTRE_HTTP_PASSWORD"),
        client_private_key_pem: environment("LUSTRE_HTTP_CLIENT_PRIVATE_KEY_PEM"),
        ..place
    }
}

/// Says what cannot be sent.
fn check(attributes: &mut Attributes<'_>, place: &HttpPlace) {
    let addresses = [
        ("address", Some(&place.address)),
        ("lock_address", place.lock_address.as_ref()),
        ("unlock_address", place.unlock_address.as_ref()),
    ];
    let wrong = |address: &str| {
        !(address.starts_with("https://") || address.starts_with("http://"))
            || address.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    for (name, _) in addresses.into_iter().filter(|(_, address)| address.is_some_and(|it| wrong(it))) {
        attributes.wrong(name, "a URL that begins with https:// or http://");
    }
    let methods = [
        ("update_method", &place.update_method),
        ("lock_method", &place.lock_method),
        ("unlock_method", &place.unlock_method),
    ];
    let no_method = |method: &str| !method.bytes().all(|byte| byte.is_ascii_uppercase());
    for (name, _) in methods.into_iter().filter(|(_, method)| no_method(method)) {
        attributes.wrong(name, "a method of HTTP in capitals, such as \"PUT\"");
    }
    if place.unlock_address.is_some() && place.lock_address.is_none() {
        attributes.wrong("unlock_address", "absent where there is no `lock_address`");
    }
    if place.client_certificate_pem.is_some() != place.client_private_key_pem.is_some() {
        attributes.wrong("client_certificate_pem", "given together with its private key");
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
