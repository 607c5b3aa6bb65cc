//! An instance of EC2: a machine that is launched, with the key that it proves itself by.
//!
//! Not what runs on it; a `host` is made of its address and key.
//! Invariant: it answers metadata requests only with a session token (IMDSv2).

use super::aws::tags;
use super::{AttributeError, AwsAccess, Fields, Tags};
use crate::value::Value;

/// An instance as the executor reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// How AWS is reached for it.
    pub access: AwsAccess,
    /// The image.
    pub ami: String,
    /// The type, `i4i.large`.
    pub instance_type: String,
    /// Its subnet; the default one when none is given.
    pub subnet_id: Option<String>,
    /// Ids of its security groups; the VPC's default one when there is none.
    pub security_groups: Vec<String>,
    /// A key pair that AWS keeps.
    pub key_name: Option<String>,
    /// The instance profile, by name.
    pub iam_instance_profile: Option<String>,
    /// The placement group, by name.
    pub placement_group: Option<String>,
    /// Whether it is a spot instance, and the most that it may cost an hour.
    pub spot: Option<SpotSpec>,
    /// Its volumes.
    pub volumes: Vec<VolumeSpec>,
    /// Public keys that may log in.
    pub ssh_authorized_keys: Vec<String>,
    /// What cloud-init is given besides.
    pub user_data: Option<String>,
    /// Whether a call that terminates it is refused.
    pub disable_api_termination: bool,
    /// Its tags, those of the provider among them.
    pub tags: Tags,
    /// What AWS knows it by, once it is made.
    pub id: Option<String>,
}

/// How a spot instance is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotSpec {
    /// The most that it may cost an hour, in dollars; the price on demand without it.
    pub max_price: Option<String>,
}

/// A volume of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its device; that of the image's root for the root volume.
    pub device_name: Option<String>,
    /// `gp3`, `io2` …
    pub volume_type: String,
    /// GiB; what the image has for a root volume without it.
    pub volume_size: Option<i32>,
    /// Operations a second.
    pub iops: Option<i32>,
    /// MiB a second.
    pub throughput: Option<i32>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The key that it is encrypted under; AWS's own without it.
    pub kms_key_id: Option<String>,
    /// Whether it goes with the instance.
    pub delete_on_termination: bool,
}

impl VolumeSpec {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let number =
            |name: &str| value.get(name).and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok());
        Some(Self {
            device_name: text("device_name"),
            volume_type: text("volume_type")?,
            volume_size: number("volume_size"),
            iops: number("iops"),
            throughput: number("throughput"),
            encrypted: value.get("encrypted")?.as_bool()?,
            kms_key_id: text("kms_key_id"),
            delete_on_termination: value.get("delete_on_termination")?.as_bool()?,
        })
    }
}

impl InstanceSpec {
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, AttributeError> {
        let texts = |name: &str| match fields.value(name) {
            Ok(_) => fields.texts(name),
            Err(_) => Ok(Vec::new()),
        };
        let volume = |value: &Value, name: &str| {
            VolumeSpec::read(value).ok_or_else(|| fields.mistyped(name, "a volume"))
        };
        let mut volumes = Vec::new();
        if let Ok(root) = fields.value("root_block_device") {
            volumes.push(volume(root, "root_block_device")?);
        }
        let more = fields.value("ebs_block_device").ok().and_then(Value::as_list).unwrap_or_default();
        for value in more {
            volumes.push(volume(value, "ebs_block_device")?);
        }
        let market = fields.value("instance_market_options").ok();
        let spot = market.map(|market| SpotSpec {
            max_price: market.get("max_price").and_then(Value::as_str).map(str::to_owned),
        });
        Ok(Self {
            access: AwsAccess::from_fields(fields)?,
            ami: fields.text("ami")?,
            instance_type: fields.text("instance_type")?,
            subnet_id: fields.optional_text("subnet_id")?,
            security_groups: texts("vpc_security_group_ids")?,
            key_name: fields.optional_text("key_name")?,
            iam_instance_profile: fields.optional_text("iam_instance_profile")?,
            placement_group: fields.optional_text("placement_group")?,
            spot,
            volumes,
            ssh_authorized_keys: texts("ssh_authorized_keys")?,
            user_data: fields.optional_text("user_data")?,
            disable_api_termination: fields.flag("disable_api_termination")?,
            tags: tags(fields, "tags_all")?,
            id: fields.optional_text("id")?,
        })
    }
}
