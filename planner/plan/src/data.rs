//! Data: what a spec reads and never makes. So far `data "cluster"`, a cluster that another deployment made.
//!
//! ```text
//! data "cluster" "x" { state = "../lab/lustre.state"   name = "scratch" }
//!   → address, fs_name, mount_name, dns_name, metadata_address, targets, agents
//! ```
//! Read while planning when everything that it says is known and nothing that it depends on changes; else when the plan is
//! carried out, just before somebody needs it. What was read while planning is sealed in the plan; the other state is not.
//! Invariant: nothing secret of another state gets into a plan: no key, no attribute that is sensitive there.

use std::collections::BTreeMap;

use lustre_language::{Body, World as Outside, WorldError, nearest};
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Severity, Span};
use lustre_model::recorded::{Object, World};
use lustre_model::resource::{Attributes, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::spec::{Decoded, Evaluation, Need, Reader, any};

/// Kind of the data that is a cluster of another deployment.
pub const CLUSTER: &str = "data.cluster";

/// Attributes of a cluster that others may know, as they are recorded.
const SHOWN: [&str; 4] = ["fs_name", "mount_name", "dns_name", "metadata_address"];

/// What data is read from.
#[derive(Debug, Clone)]
pub struct Question {
    /// Path of the other state.
    state: Value,
    /// Label or address of the cluster there.
    name: Value,
    /// Where path and name are said.
    spans: (Span, Span),
}

/// What reading data came to.
pub enum Answer {
    /// It was read.
    Read(Attributes),
    /// It cannot be read now, but perhaps when the plan is carried out.
    Later,
}

/// Decodes the body of a block `data "cluster"`.
pub fn decode(
    address: &Address,
    (body, evaluation): (&Body, Evaluation),
    found: &mut Diagnostics,
) -> Option<Question> {
    let none = Decoded::new();
    let mut reader = Reader::new((address, "`data` block"), (body, evaluation), &none, found);
    let path =
        |text: &str| if text.is_empty() { Err("It is the path of a state.".to_owned()) } else { Ok(()) };
    let state = reader.text("state", Need::Required, path);
    let name = reader.text("name", Need::Required, any);
    reader.finish();
    if evaluation == Evaluation::Partial {
        return None;
    }
    let span = |name: &str| body.attributes.get(name).map_or(body.span, |attribute| attribute.span);
    Some(Question { state: state?, name: name?, spans: (span("state"), span("name")) })
}

/// Reads what a question asks for.
pub fn read(question: &Question, outside: &dyn Outside) -> Result<Answer, Box<Diagnostic>> {
    let (Some(state), Some(name)) = (question.state.as_str(), question.name.as_str()) else {
        return Ok(Answer::Later);
    };
    let refuse = |summary: String, hint: String| {
        Box::new(Diagnostic::error("E0840", summary).hint(hint).at(question.spans.1))
    };
    let world = match outside.read_state(state) {
        Ok(world) => world,
        Err(WorldError::Offline) => return Ok(Answer::Later),
        Err(error) => {
            let summary = format!("the state {state:?} cannot be read: {error}");
            let hint = "Say where that deployment keeps its state; a path that is not absolute begins at this folder.";
            return Err(Box::new(Diagnostic::error("E0854", summary).hint(hint).at(question.spans.0)));
        }
    };
    let clusters = world.objects.iter().filter(|(_, object)| object.kind == Kind::Cluster);
    let named: Vec<(&Address, &Object)> =
        clusters.clone().filter(|(address, _)| address.name == name || address.to_string() == name).collect();
    match named.as_slice() {
        [(address, cluster)] => Ok(Answer::Read(attributes((address, cluster), &world, (state, name)))),
        [] => {
            let names: Vec<String> = clusters.map(|(address, _)| address.name.clone()).collect();
            let hint =
                nearest(name, names.iter().map(String::as_str)).map(|near| format!("Did you mean {near:?}?"));
            let listed = || match names.as_slice() {
                [] => "It records no cluster.".to_owned(),
                names => format!("It records: {}.", names.join(", ")),
            };
            let summary = format!("the state {state:?} records no cluster {name:?}");
            Err(refuse(summary, hint.unwrap_or_else(listed)))
        }
        several => {
            let names: Vec<String> = several.iter().map(|(address, _)| address.to_string()).collect();
            let summary = format!("the state {state:?} records several clusters {name:?}");
            Err(refuse(summary, format!("Say which by its address: {}.", names.join(", "))))
        }
    }
}

/// Says that the data of a check could not be read, which only warns.
pub fn unreadable(check: &str, refused: Diagnostic) -> Diagnostic {
    let summary = format!("check `{check}` could not read its data");
    let detail = format!("{}. What it asserts about the data is not checked.", refused.summary);
    Diagnostic { severity: Severity::Warning, code: "W0610", summary, detail, ..refused }
}

/// Returns what data has of which only the type is known.
pub fn unread(question: &Question) -> Attributes {
    let mut attributes: Attributes = ["address"]
        .iter()
        .chain(&SHOWN)
        .map(|name| ((*name).to_owned(), Value::unknown(Type::String)))
        .collect();
    attributes.insert("targets".to_owned(), Value::unknown(Type::list(Type::String)));
    attributes.insert("agents".to_owned(), Value::unknown(Type::map(Type::String)));
    attributes.insert("state".to_owned(), question.state.clone());
    attributes.insert("name".to_owned(), question.name.clone());
    attributes
}

fn attributes(
    (address, cluster): (&Address, &Object),
    world: &World,
    (state, name): (&str, &str),
) -> Attributes {
    let targets = || {
        let own = world.objects.range(address.clone()..);
        let own = own.take_while(|(part, _)| part.whole() == *address);
        own.filter(|(_, object)| object.kind == Kind::Target)
    };
    let names = targets().filter_map(|(part, _)| part.parts.last()).map(|part| part.name.as_str());
    let mut agents: BTreeMap<String, Value> = BTreeMap::new();
    for (_, target) in targets() {
        let Some(host) = target.attributes.get("host").and_then(Value::as_str) else { continue };
        let recorded = host.parse().ok().and_then(|host: Address| world.objects.get(&host));
        let agent = recorded.and_then(|host| {
            let port = host.attributes.get("control_port")?.as_u64()?;
            Some(format!("{}:{port}", host.attributes.get("address")?.as_str()?))
        });
        if let Some(agent) = agent {
            agents.insert(host.to_owned(), Value::from(agent));
        }
    }
    let mut attributes = Attributes::from([
        ("state".to_owned(), Value::from(state)),
        ("name".to_owned(), Value::from(name)),
        ("address".to_owned(), Value::from(address.to_string())),
        ("targets".to_owned(), Value::strings(names)),
        ("agents".to_owned(), Value::map(Type::String, agents)),
    ]);
    for name in SHOWN {
        let value = cluster.attributes.get(name).filter(|value| !value.has_sensitive());
        let value = value.cloned().unwrap_or_else(|| Value::null(Type::String));
        attributes.insert(name.to_owned(), value);
    }
    attributes
}
