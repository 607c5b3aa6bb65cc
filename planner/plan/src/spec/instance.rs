//! `instance`: a machine that is launched on EC2, with the fields that Terraform users know.
//!
//! ```text
//! private_ip, host_key        known after apply; what a `host` is made of
//! ssh_authorized_keys         who may log in; they and the machine's own key come with its first boot
//! ```
//! Invariant: what AWS can only set at launch is refused where it would be passed over, or makes another instance.

use lustre_model::diagnostic::Diagnostic;
use lustre_model::resource::{Attributes, AwsAccess};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::reader::{Need, Reader, attributes};
use super::security_group::{id, reached};
use super::tags;

/// Types of volumes, the default first.
const VOLUME_TYPES: [&str; 7] = ["gp3", "gp2", "io2", "io1", "st1", "sc1", "standard"];

/// What cloud-init gets of AWS, at most, with what we add.
const USER_DATA_MAX: usize = 12 * 1024;

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    reader.refuse(
        "metadata_options",
        "Metadata is always asked for with a token (IMDSv2); nothing else is offered.",
    );
    reader.refuse("user_data_base64", "Give the text itself as `user_data`.");
    reader.refuse(
        "security_groups",
        "Names of groups are only unique in a VPC: give ids in `vpc_security_group_ids`.",
    );
    reader.refuse("get_password_data", "Windows is not supported.");
    let provider = reader.attribute(AwsAccess::PROVIDER, Need::Optional).map(|it| it.value.clone());
    let ami = reader.text("ami", Need::Required, |text| id(text, "ami-"));
    let instance_type = reader.text("instance_type", Need::Required, instance_type);
    let subnet_id = reader.text("subnet_id", Need::Optional, |text| id(text, "subnet-"));
    let groups = texts(reader, "vpc_security_group_ids", |text| id(text, "sg-"));
    let key_name = reader.text("key_name", Need::Optional, name);
    let profile = reader.text("iam_instance_profile", Need::Optional, name);
    let placement_group = reader.text("placement_group", Need::Optional, name);
    let keys = texts(reader, "ssh_authorized_keys", authorized_key);
    let user_data = reader.text("user_data", Need::Optional, user_data);
    let protected = reader.flag("disable_api_termination", false);
    let own_tags = tags::read(reader, "tags");
    let market = match reader.block("instance_market_options", Need::Optional) {
        Some(block) => reader.nested("instance_market_options block", block, market),
        None => None,
    };
    let root = match reader.block("root_block_device", Need::Optional) {
        Some(block) => reader.nested("root_block_device block", block, |reader| volume(reader, Volume::Root)),
        None => None,
    };
    let more: Vec<Option<Value>> = reader
        .blocks("ebs_block_device")
        .into_iter()
        .map(|block| reader.nested("ebs_block_device block", block, |reader| volume(reader, Volume::More)))
        .collect();
    let more = more.into_iter().collect::<Option<Vec<Value>>>().map(Value::tuple);
    let all = tags::all(provider.as_ref().and_then(|it| it.get("default_tags")), own_tags.as_ref());
    let mut decoded = attributes([
        ("ami", ami),
        ("instance_type", instance_type),
        ("subnet_id", subnet_id),
        ("vpc_security_group_ids", groups),
        ("key_name", key_name),
        ("iam_instance_profile", profile),
        ("placement_group", placement_group),
        ("ssh_authorized_keys", keys),
        ("user_data", user_data),
        ("disable_api_termination", protected),
        ("instance_market_options", market),
        ("root_block_device", root),
        ("ebs_block_device", more.filter(|more| more.parts().next().is_some())),
        ("tags", own_tags),
        ("tags_all", Some(all)),
    ]);
    decoded.extend(reached(provider.as_ref()));
    decoded
}

/// Reads a list of texts in the order of the spec; elements may come with what they name.
fn texts(
    reader: &mut Reader<'_>,
    name: &'static str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<Value> {
    let (value, span) = reader.typed(name, &Type::list(Type::String), Need::Optional)?;
    let wrong = value.parts().filter_map(Value::as_str).find_map(|text| check(text).err());
    match wrong {
        Some(reason) => reader.invalid(name, &value, (&reason, span)),
        None => Some(value),
    }
}

/// Reads how a spot instance is asked for.
fn market(reader: &mut Reader<'_>) -> Option<Value> {
    let kind =
        reader.word("market_type", &["spot"], &[("capacity-block", "Capacity blocks are not supported.")]);
    let price = match reader.block("spot_options", Need::Optional) {
        Some(block) => reader
            .nested("spot_options block", block, |reader| reader.text("max_price", Need::Optional, price)),
        None => None,
    };
    let all = [("market_type", Some(kind?)), ("max_price", price)];
    Some(Value::object(all.into_iter().filter_map(|(name, value)| Some((name, value?)))))
}

/// Which volume a block is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volume {
    /// The image's.
    Root,
    /// One besides.
    More,
}

fn volume(reader: &mut Reader<'_>, which: Volume) -> Option<Value> {
    let (device, size_need) = match which {
        Volume::Root => (None, Need::Optional),
        Volume::More => (Some(reader.text("device_name", Need::Required, device)), Need::Required),
    };
    let kind = reader.word("volume_type", &VOLUME_TYPES, &[]);
    let size = reader.number("volume_size", size_need, 1..=65_536);
    let iops = reader.number("iops", Need::Optional, 100..=256_000);
    let throughput = reader.number("throughput", Need::Optional, 125..=2_000);
    let encrypted = reader.flag("encrypted", true);
    let key = reader.text("kms_key_id", Need::Optional, kms_key);
    let goes = reader.flag("delete_on_termination", true);
    let (kind, encrypted, goes) = (kind?, encrypted?, goes?);
    let text = kind.as_str().unwrap_or_default();
    let misfit = match text {
        "gp3" => None,
        "io1" | "io2" if iops.is_none() => Some(format!("an {text} volume needs `iops`")),
        "io1" | "io2" => throughput.as_ref().map(|_| format!("an {text} volume has no `throughput`")),
        _ if iops.is_some() || throughput.is_some() => {
            Some(format!("a {text} volume has neither `iops` nor `throughput`"))
        }
        _ => None,
    };
    if let Some(summary) = misfit {
        let hint = "`gp3` takes both, `io1` and `io2` take `iops`.";
        reader.push(Diagnostic::error("E1050", summary).hint(hint).at(reader.span()));
        return None;
    }
    if key.is_some() && encrypted.as_bool() == Some(false) {
        let summary = "`kms_key_id` of a volume that is not encrypted";
        let hint = "Leave `encrypted` out, which is true then, or the key.";
        reader.push(Diagnostic::error("E1050", summary).hint(hint).at(reader.span()));
        return None;
    }
    let device = match device {
        Some(device) => Some(device?),
        None => None,
    };
    let all = [
        ("device_name", device),
        ("volume_type", Some(kind)),
        ("volume_size", size),
        ("iops", iops),
        ("throughput", throughput),
        ("encrypted", Some(encrypted)),
        ("kms_key_id", key),
        ("delete_on_termination", Some(goes)),
    ];
    Some(Value::object(all.into_iter().filter_map(|(name, value)| Some((name, value?)))))
}

fn instance_type(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    if text.len() <= 64 && text.bytes().all(plain) && text.split('.').filter(|it| !it.is_empty()).count() == 2
    {
        return Ok(());
    }
    Err("It is a type such as i4i.large.".to_owned())
}

fn name(text: &str) -> Result<(), String> {
    if (1..=255).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err("It is a name of 1 to 255 characters.".to_owned())
}

fn device(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let rest = text.strip_prefix("/dev/").unwrap_or(text);
    if (2..=32).contains(&rest.len()) && rest.bytes().all(plain) {
        return Ok(());
    }
    Err("It is a device such as /dev/sdf.".to_owned())
}

fn kms_key(text: &str) -> Result<(), String> {
    if (1..=2048).contains(&text.len()) && !text.chars().any(|one| one.is_control() || one == ' ') {
        return Ok(());
    }
    Err("It is the ARN, id or alias of a key.".to_owned())
}

fn price(text: &str) -> Result<(), String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(whole) && digits(part) {
        Ok(())
    } else {
        Err("It is a price an hour such as \"0.05\".".to_owned())
    }
}

fn authorized_key(text: &str) -> Result<(), String> {
    let text = text.trim_end();
    let words = text.split(' ').collect::<Vec<_>>();
    let known = ["ssh-ed25519", "ecdsa-sha2-nistp", "sk-ssh-ed25519@", "sk-ecdsa-sha2-", "ssh-rsa"];
    let kind = words.first().copied().unwrap_or_default();
    if known.iter().any(|it| kind.starts_with(it)) && words.len() >= 2 && !text.chars().any(char::is_control)
    {
        return Ok(());
    }
    Err("It is one public key such as \"ssh-ed25519 AAAA… you@there\", without options.".to_owned())
}

fn user_data(text: &str) -> Result<(), String> {
    if !text.starts_with("#!") && !text.starts_with("#cloud-config") {
        return Err("It begins with `#!`, as a script does, or with `#cloud-config`.".to_owned());
    }
    if text.len() > USER_DATA_MAX {
        return Err(format!("It has at most {USER_DATA_MAX} bytes."));
    }
    Ok(())
}
