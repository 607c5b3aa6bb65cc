//! `host`: a machine and how it is reached.
//!
//! Only `connection = "local"` so far.
//! Invariant: an ordinary user can use the default ports of a local host.

use lustre_model::resource::{Attributes, PortRange};
use lustre_model::value::Value;

use super::reader::{Need, Reader, absolute_path, attributes};

/// The agent's port and its processes' ports on a local host; low ones need root.
const CONTROL_PORT: u64 = 7988;
const PORT_RANGE: &str = "7018-7117";

/// Where an agent keeps what it needs.
const PATH: &str = "/var/lib/lustre";

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    let remote = "Only this machine can be a host so far; hosts over ssh are not built yet.";
    let refused = [("ssh", remote), ("instance", remote), ("aws", remote)];
    let connection = reader.word("connection", &["local"], &refused);
    reader.refuse("ssh", remote);
    reader.refuse("user", "It is the login of an ssh connection, which is not built yet.");
    let address = reader.text("address", Need::Optional, network_address);
    let path = reader.text("path", Need::Optional, absolute_path);
    let control_port = reader.number("control_port", Need::Optional, 1..=65_535);
    let port_range = reader.text("port_range", Need::Optional, port_range);
    attributes([
        ("connection", connection),
        ("address", address.or_else(|| Some(Value::from("127.0.0.1")))),
        ("path", path.or_else(|| Some(Value::from(PATH)))),
        ("control_port", control_port.or_else(|| Some(Value::from(CONTROL_PORT)))),
        ("port_range", port_range.or_else(|| Some(Value::from(PORT_RANGE)))),
    ])
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
