//! `host`: a machine and how it is reached.
//!
//! `local` is this machine; `ssh` any other. Who gives a login means `ssh`.
//! Invariant: an ordinary user can use the default ports of a host.

use lustre_model::diagnostic::Diagnostic;
use lustre_model::resource::{Attributes, PortRange};
use lustre_model::value::Value;

use super::reader::{Need, Reader, absolute_path, attributes};

/// The agent's port and its processes' ports; low ones need root.
const CONTROL_PORT: u64 = 7988;
const PORT_RANGE: &str = "7018-7117";

/// Where an agent keeps what it needs.
const PATH: &str = "/var/lib/lustre";

/// Where SSH servers listen.
const SSH_PORT: u64 = 22;

/// Who logs in when nobody is named: an agent needs root.
const USER: &str = "root";

/// What is said to who looks for another way to an instance of EC2.
const FROM_INSTANCE: &str = "A host takes its address from an instance: `address = instance.x.private_ip`, and in its `ssh` block \
                             `host_key = instance.x.host_key`.";

/// Types of host keys that we can verify.
const KEY_TYPES: [&str; 4] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    for name in ["instance", "aws"] {
        reader.refuse(name, FROM_INSTANCE);
    }
    let user = reader.text("user", Need::Optional, login_name);
    let block = reader.block("ssh", Need::Optional);
    let is_ssh = user.is_some() || block.is_some();
    let refused = [("instance", FROM_INSTANCE)];
    let named = reader.word("connection", &["local", "ssh"], &refused);
    let is_named = reader.attribute("connection", Need::Optional).is_some();
    let connection = if is_ssh && !is_named { Some(Value::from("ssh")) } else { named };
    let over_ssh = connection.as_ref().and_then(Value::as_str).map(|word| word == "ssh");
    let ssh = match block {
        Some(block) => reader.nested("ssh block", block, ssh),
        None => Some(ssh_value(Value::from(SSH_PORT), Value::from(true), [None, None, None, None])),
    };
    if over_ssh == Some(false) && is_ssh {
        let summary = "a local host has no `user` and no `ssh` block";
        let detail = "This machine is reached without a login; `user` and `ssh` say how to log in elsewhere.";
        reader.push(
            Diagnostic::error("E0822", summary)
                .detail(detail)
                .hint("Remove them, or `connection`.")
                .at(reader.span()),
        );
    }
    // Only this machine has an address that needs no saying.
    let need = if over_ssh == Some(true) { Need::Required } else { Need::Optional };
    let address = reader.text("address", need, network_address);
    let path = reader.text("path", Need::Optional, absolute_path);
    let control_port = reader.number("control_port", Need::Optional, 1..=65_535);
    let port_range = reader.text("port_range", Need::Optional, port_range);
    let mut decoded = attributes([
        ("connection", connection),
        ("address", address.or_else(|| (need == Need::Optional).then(|| Value::from("127.0.0.1")))),
        ("path", path.or_else(|| Some(Value::from(PATH)))),
        ("control_port", control_port.or_else(|| Some(Value::from(CONTROL_PORT)))),
        ("port_range", port_range.or_else(|| Some(Value::from(PORT_RANGE)))),
    ]);
    if over_ssh != Some(false) {
        let user = user.or_else(|| Some(Value::from(USER)));
        decoded.extend(attributes([("user", user), ("ssh", ssh)]));
    }
    decoded
}

/// Reads how to log in.
fn ssh(reader: &mut Reader<'_>) -> Option<Value> {
    for name in ["password", "passphrase", "private_key"] {
        reader.refuse(
            name,
            "Secrets do not belong in a spec: name a key in `identity_file`, or add it to an SSH agent. The passphrase \
             of a key is read from LUSTRE_SSH_PASSPHRASE.",
        );
    }
    let port = reader.number("port", Need::Optional, 1..=65_535);
    let identity_file = reader.text("identity_file", Need::Optional, home_path);
    let host_key = reader.text("host_key", Need::Optional, public_key);
    let known_hosts_file = reader.text("known_hosts_file", Need::Optional, home_path);
    let agent = reader.flag("agent", true)?;
    let jump = match reader.block("jump", Need::Optional) {
        Some(block) => Some(reader.nested("jump block", block, jump)?),
        None => None,
    };
    let port = port.unwrap_or_else(|| Value::from(SSH_PORT));
    Some(ssh_value(port, agent, [identity_file, host_key, known_hosts_file, jump]))
}

fn ssh_value(port: Value, agent: Value, others: [Option<Value>; 4]) -> Value {
    let names = ["identity_file", "host_key", "known_hosts_file", "jump"];
    let given = names.into_iter().zip(others).filter_map(|(name, value)| Some((name, value?)));
    Value::object([("port", port), ("agent", agent)].into_iter().chain(given))
}

/// Reads the way to a host on the way.
fn jump(reader: &mut Reader<'_>) -> Option<Value> {
    let address = reader.text("address", Need::Required, network_address);
    let user = reader.text("user", Need::Optional, login_name);
    let port = reader.number("port", Need::Optional, 1..=65_535);
    let identity_file = reader.text("identity_file", Need::Optional, home_path);
    let host_key = reader.text("host_key", Need::Optional, public_key);
    let port = port.unwrap_or_else(|| Value::from(SSH_PORT));
    let user = user.unwrap_or_else(|| Value::from(USER));
    let others = [("identity_file", identity_file), ("host_key", host_key)];
    let given = others.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Some(Value::object([("address", address?), ("user", user), ("port", port)].into_iter().chain(given)))
}

fn login_name(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) && !text.starts_with('-') {
        return Ok(());
    }
    Err("It is a login name such as ops.".to_owned())
}

/// A path on the machine that plans: from the root or from the user's home.
fn home_path(text: &str) -> Result<(), String> {
    absolute_path(text.strip_prefix('~').unwrap_or(text)).map_err(|_| {
        "It is a path such as /etc/keys/id_ed25519 or ~/.ssh/id_ed25519, without `.`, `..` and `//`."
            .to_owned()
    })
}

/// A public key as it stands in a `.pub` file; its comment may follow.
fn public_key(text: &str) -> Result<(), String> {
    let expected = "It is a public key such as \"ssh-ed25519 AAAAC3Nz…\", as in /etc/ssh/ssh_host_ed25519_key.pub of the host.";
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return Err(expected.to_owned()) };
    if kind == "ssh-rsa" || kind.starts_with("rsa-") {
        return Err("RSA host keys are not supported: give the host's ed25519 or ecdsa key.".to_owned());
    }
    if !KEY_TYPES.contains(&kind) {
        return Err(format!("{expected} Its type is one of {}.", KEY_TYPES.join(", ")));
    }
    let base64 = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    // All begin with the length of the type's name, whose first three bytes are zero.
    if base64 && key.len() >= 64 && key.starts_with("AAAA") && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(expected.to_owned())
}

fn port_range(text: &str) -> Result<(), String> {
    let parsed = text.parse::<PortRange>();
    parsed.map(drop).map_err(|_| "It is a range of ports such as \"7018-7117\".".to_owned())
}

/// An IP address or a DNS name; no port, no scheme.
fn network_address(text: &str) -> Result<(), String> {
    let label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        (1..=63).contains(&label.len()) && letters && !label.starts_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(());
    }
    Err("It is an IPv4 address or a DNS name, without a port.".to_owned())
}
