//! Blocks `provider "aws"`: how AWS is reached, given to every object in AWS as its attribute `provider`.
//!
//! An object keeps what it was made through, so that it can be found and destroyed when the spec does not say it any more.
//! Region and default tags become attributes of their own: a change of the one is another object, of the other an update.
//! Invariant: an object in AWS has a provider with a region that is known at plan, or the plan has an error that says so.

use std::collections::BTreeMap;

use lustre_language::{Attribute, Body, Provided, ProviderName, Resource, nearest};
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::resource::{AwsAccess, Kind};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::spec::{Decoded, Evaluation, Need, Reader, tags};

/// What calls are sent again so often unless the provider says otherwise.
const MAX_RETRIES: u64 = 10;

/// Most retries that a provider may ask for.
const MAX_RETRIES_MOST: i64 = 100;

/// The providers of a spec, by name and alias; none of those that are wrong.
#[derive(Debug, Default)]
pub struct Providers(BTreeMap<(String, Option<String>), Option<Value>>);

impl Providers {
    /// Decodes the provider blocks.
    pub fn decode(provided: Vec<Provided>, found: &mut Diagnostics) -> Self {
        let decoded = provided.into_iter().map(|provided| {
            let value = decode(&provided, found);
            ((provided.name.name, provided.name.alias), value)
        });
        Self(decoded.collect())
    }

    /// Adds the provider that a resource uses to its body; `None` when there is none, which is then in `found`, or was.
    pub fn give(
        &self,
        (resource, kind): (&Resource, Kind),
        body: &mut Body,
        found: &mut Diagnostics,
    ) -> Option<()> {
        let named = resource.provider();
        if !kind.is_in_aws() {
            let named = named?;
            let summary = format!("a {kind} comes from no provider");
            let diagnostic = Diagnostic::error("E1043", summary).at(named.span);
            found.push(diagnostic.hint("Leave `provider` out."));
            return None;
        }
        let key = named.map_or(("aws".to_owned(), None), |ProviderName { name, alias, .. }| {
            (name.clone(), alias.clone())
        });
        let Some(value) = self.0.get(&key) else {
            found.push(self.missing((resource, kind), named));
            return None;
        };
        let (span, name_span) = (resource.span, resource.span);
        let attribute = Attribute { value: value.clone()?, span, name_span };
        body.attributes.insert(AwsAccess::PROVIDER.to_owned(), attribute);
        Some(())
    }

    fn missing(&self, (resource, kind): (&Resource, Kind), named: Option<&ProviderName>) -> Diagnostic {
        let Some(named) = named else {
            let summary =
                format!("a {kind} needs a provider, and the spec has none that says how AWS is reached");
            let hint = "Add `provider \"aws\" { region = \"eu-central-1\" }` with your region, or say `provider = aws.ALIAS` here.";
            return Diagnostic::error("E1044", summary).hint(hint).at(resource.span);
        };
        let shown = |(name, alias): &(String, Option<String>)| match alias {
            Some(alias) => format!("{name}.{alias}"),
            None => name.clone(),
        };
        let summary = format!("there is no provider `{}`", named.shown());
        let known: Vec<String> = self.0.keys().map(shown).collect();
        let diagnostic = Diagnostic::error("E1044", summary).at(named.span);
        match nearest(&named.shown(), known.iter().map(String::as_str)) {
            Some(near) => diagnostic.hint(format!("Did you mean `{near}`?")),
            None => diagnostic.hint("Add the block at the root, `provider \"aws\" { alias = … }`."),
        }
    }
}

fn decode(provided: &Provided, found: &mut Diagnostics) -> Option<Value> {
    let none = Decoded::new();
    let address = Address::new("provider", &provided.name.name);
    let evaluation = if provided.complete { Evaluation::Complete } else { Evaluation::Partial };
    let mut own = Diagnostics::new();
    let mut reader = Reader::new((&address, "provider"), (&provided.body, evaluation), &none, &mut own);
    let value = read(&mut reader);
    reader.finish();
    let good = provided.complete && !own.has_errors();
    found.extend(own);
    value.filter(|_| good)
}

fn read(reader: &mut Reader<'_>) -> Option<Value> {
    for name in ["access_key", "secret_key", "token"] {
        reader.refuse(
            name,
            "Credentials do not belong in a spec. They are taken from where AWS's own tools have them: the environment, \
             ~/.aws, a role of the machine. Say `profile` to choose among them.",
        );
    }
    let region = known(reader, "region", Need::Required, region);
    let profile = known(reader, "profile", Need::Optional, not_empty);
    let retries = reader.number("max_retries", Need::Optional, 0..=MAX_RETRIES_MOST);
    let role = match reader.block("assume_role", Need::Optional) {
        Some(block) => reader.nested("assume_role block", block, |reader| {
            let role = known(reader, "role_arn", Need::Required, role_arn);
            [("role_arn", role), ("external_id", known(reader, "external_id", Need::Optional, not_empty))]
        }),
        None => [("role_arn", None), ("external_id", None)],
    };
    let endpoints = match reader.block("endpoints", Need::Optional) {
        Some(block) => reader.nested("endpoints block", block, |reader| {
            let ec2 = known(reader, "ec2", Need::Optional, endpoint);
            [("ec2_endpoint", ec2), ("sts_endpoint", known(reader, "sts", Need::Optional, endpoint))]
        }),
        None => [("ec2_endpoint", None), ("sts_endpoint", None)],
    };
    let default_tags = match reader.block("default_tags", Need::Optional) {
        Some(block) => reader.nested("default_tags block", block, |reader| tags::read(reader, "tags")),
        None => None,
    };
    let retries = retries.unwrap_or_else(|| Value::from(MAX_RETRIES));
    let all = [("region", region), ("profile", profile), ("max_retries", Some(retries))];
    let all = all.into_iter().chain(role).chain(endpoints).chain([("default_tags", default_tags)]);
    Some(Value::object(all.filter_map(|(name, value)| Some((name, value?)))))
}

/// Reads a text that must be known while planning.
fn known(
    reader: &mut Reader<'_>,
    name: &'static str,
    need: Need,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<Value> {
    let (value, span) = {
        let value = reader.text(name, need, check)?;
        (value, reader.attribute(name, Need::Optional)?.span)
    };
    reader.known(name, (value.convert(&Type::String).ok()?, span)).map(|(value, _)| value)
}

fn region(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) && !text.starts_with('-') {
        return Ok(());
    }
    Err("It is a region such as eu-central-1.".to_owned())
}

fn not_empty(text: &str) -> Result<(), String> {
    let good = !text.is_empty() && text.len() <= 1224 && !text.chars().any(char::is_control);
    if good { Ok(()) } else { Err("It is a name, not empty and without control characters.".to_owned()) }
}

fn role_arn(text: &str) -> Result<(), String> {
    let good =
        text.starts_with("arn:") && text.contains(":iam::") && text.contains(":role/") && text.len() <= 2048;
    if good { Ok(()) } else { Err("It is an ARN such as arn:aws:iam::123456789012:role/deploy.".to_owned()) }
}

fn endpoint(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
    if good { Ok(()) } else { Err("It is a URL such as https://ec2.example.com.".to_owned()) }
}
