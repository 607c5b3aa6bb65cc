//! [`Machines`] over the SDK's client.
//!
//! Invariant: as in [`super`].

use aws_sdk_ec2::types::{
    AttributeBooleanValue, BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState,
    IamInstanceProfileSpecification, Instance, InstanceAttributeName, InstanceMarketOptionsRequest,
    InstanceMetadataOptionsRequest, InstanceType, MarketType, Placement, ResourceType, SpotInstanceType,
    SpotMarketOptions, VolumeType,
};
use futures::FutureExt as _;
use lustre_model::resource::VolumeSpec;

use super::{PAGES_MAX, Sdk, checked, odd, refusal, tagged, tags};
use crate::ec2::{Answer, Life, Machine, Machines, NewMachine, TOKEN, WhichMachine};

/// What most images call their root volume; taken where AWS does not say it.
const ROOT_DEVICE: &str = "/dev/xvda";

impl Machines for Sdk {
    fn launch<'a>(&'a self, machine: &'a NewMachine) -> Answer<'a, String> {
        async move {
            let call = ("RunInstances", machine.ami.as_str());
            let root = match machine.volumes.iter().any(|volume| volume.device_name.is_none()) {
                true => self.root_device(&machine.ami).await?,
                false => String::new(),
            };
            let request = self.client.run_instances().min_count(1).max_count(1);
            let request = request
                .client_token(&machine.token)
                .image_id(&machine.ami)
                .instance_type(InstanceType::from(machine.instance_type.as_str()))
                .set_subnet_id(machine.subnet_id.clone())
                .set_security_group_ids((!machine.groups.is_empty()).then(|| machine.groups.clone()))
                .set_key_name(machine.key_name.clone())
                .set_iam_instance_profile(
                    machine
                        .iam_instance_profile
                        .as_ref()
                        .map(|name| IamInstanceProfileSpecification::builder().name(name).build()),
                )
                .set_placement(
                    machine
                        .placement_group
                        .as_ref()
                        .map(|name| Placement::builder().group_name(name).build()),
                )
                .set_instance_market_options(machine.spot.as_ref().map(|spot| {
                    let options = SpotMarketOptions::builder().spot_instance_type(SpotInstanceType::OneTime);
                    let options = options.set_max_price(spot.max_price.clone()).build();
                    InstanceMarketOptionsRequest::builder()
                        .market_type(MarketType::Spot)
                        .spot_options(options)
                        .build()
                }))
                .metadata_options(
                    InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build(),
                )
                .set_block_device_mappings(Some(
                    machine.volumes.iter().map(|volume| mapping(volume, &root)).collect(),
                ))
                .user_data(&machine.user_data)
                .disable_api_termination(machine.protected)
                .tag_specifications(tagged(ResourceType::Instance, &machine.tags))
                .tag_specifications(tagged(ResourceType::Volume, &machine.tags));
            let answer = request.send().await.map_err(|error| refusal(call, error))?;
            let [one] = answer.instances() else { return Err(odd(call, "it is not about one instance")) };
            let id = one.instance_id().unwrap_or_default();
            checked(id, "i-").map(|()| id.to_owned()).map_err(|why| odd(call, &why))
        }
        .boxed()
    }

    fn machines<'a>(&'a self, which: &'a WhichMachine) -> Answer<'a, Vec<Machine>> {
        async move {
            let (what, ids, filters) = match which {
                WhichMachine::Id(id) => (id, Some(vec![id.clone()]), None),
                WhichMachine::Token(token) => {
                    let filter = Filter::builder().name(format!("tag:{TOKEN}")).values(token).build();
                    (token, None, Some(vec![filter]))
                }
            };
            let call = ("DescribeInstances", what.as_str());
            let (mut found, mut next) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let request = self.client.describe_instances().set_instance_ids(ids.clone());
                let request = request.set_filters(filters.clone()).set_next_token(next);
                let answer = request.send().await.map_err(|error| refusal(call, error))?;
                for reservation in answer.reservations() {
                    let owner = reservation.owner_id().unwrap_or_default();
                    for one in reservation.instances() {
                        found.push(machine(one, owner).map_err(|why| odd(call, &why))?);
                    }
                }
                next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
                if next.is_none() {
                    return Ok(found);
                }
            }
            Err(odd(call, "it has no end"))
        }
        .boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let request = self.client.start_instances().instance_ids(id);
            request.send().await.map_err(|error| refusal(("StartInstances", id), error))?;
            Ok(())
        }
        .boxed()
    }

    fn terminate<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let request = self.client.terminate_instances().instance_ids(id);
            request.send().await.map_err(|error| refusal(("TerminateInstances", id), error))?;
            Ok(())
        }
        .boxed()
    }

    fn set_groups<'a>(&'a self, id: &'a str, groups: &'a [String]) -> Answer<'a, ()> {
        async move {
            let request = self.client.modify_instance_attribute().instance_id(id);
            let request = request.set_groups(Some(groups.to_vec()));
            request.send().await.map_err(|error| refusal(("ModifyInstanceAttribute", id), error))?;
            Ok(())
        }
        .boxed()
    }

    fn protected<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        async move {
            let request = self.client.describe_instance_attribute().instance_id(id);
            let request = request.attribute(InstanceAttributeName::DisableApiTermination);
            let answer = request.send().await;
            let answer = answer.map_err(|error| refusal(("DescribeInstanceAttribute", id), error))?;
            Ok(answer.disable_api_termination().and_then(AttributeBooleanValue::value).unwrap_or(false))
        }
        .boxed()
    }

    fn protect<'a>(&'a self, id: &'a str, protected: bool) -> Answer<'a, ()> {
        async move {
            let request = self.client.modify_instance_attribute().instance_id(id);
            let value = AttributeBooleanValue::builder().value(protected).build();
            let answer = request.disable_api_termination(value).send().await;
            answer.map_err(|error| refusal(("ModifyInstanceAttribute", id), error))?;
            Ok(())
        }
        .boxed()
    }

    fn demand_tokens<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let request = self.client.modify_instance_metadata_options().instance_id(id);
            let answer = request.http_tokens(HttpTokensState::Required).send().await;
            answer.map_err(|error| refusal(("ModifyInstanceMetadataOptions", id), error))?;
            Ok(())
        }
        .boxed()
    }
}

impl Sdk {
    /// Returns what an image calls its root volume.
    async fn root_device(&self, ami: &str) -> Result<String, crate::ec2::Refusal> {
        let request = self.client.describe_images().image_ids(ami);
        let answer = request.send().await.map_err(|error| refusal(("DescribeImages", ami), error))?;
        let device = answer.images().first().and_then(|image| image.root_device_name());
        Ok(device.unwrap_or(ROOT_DEVICE).to_owned())
    }
}

fn mapping(volume: &VolumeSpec, root: &str) -> BlockDeviceMapping {
    let disk = EbsBlockDevice::builder()
        .volume_type(VolumeType::from(volume.volume_type.as_str()))
        .set_volume_size(volume.volume_size)
        .set_iops(volume.iops)
        .set_throughput(volume.throughput)
        .encrypted(volume.encrypted)
        .set_kms_key_id(volume.kms_key_id.clone())
        .delete_on_termination(volume.delete_on_termination)
        .build();
    let device = volume.device_name.as_deref().unwrap_or(root);
    BlockDeviceMapping::builder().device_name(device).ebs(disk).build()
}

fn machine(found: &Instance, owner: &str) -> Result<Machine, String> {
    let id = found.instance_id().unwrap_or_default();
    checked(id, "i-")?;
    let state = found.state().and_then(|state| state.name()).ok_or_else(|| format!("{id} has no state"))?;
    let life = match state.as_str() {
        "pending" => Life::Pending,
        "running" => Life::Running,
        "stopped" | "stopping" => Life::Stopped,
        "shutting-down" | "terminated" => Life::Terminated,
        other => return Err(format!("{id} is {other:?}")),
    };
    let address = |text: Option<&str>| {
        let text = text.filter(|text| !text.is_empty())?;
        Some(
            text.parse::<std::net::IpAddr>()
                .map(|address| address.to_string())
                .map_err(|_| format!("{id} has the address {text:?}")),
        )
    };
    let reason = found.state_reason().and_then(|reason| reason.message());
    let options = found.metadata_options().and_then(|options| options.http_tokens());
    Ok(Machine {
        id: id.to_owned(),
        owner_id: owner.to_owned(),
        life,
        reason: reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
        ami: found.image_id().unwrap_or_default().to_owned(),
        instance_type: found.instance_type().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        subnet_id: found.subnet_id().map(str::to_owned),
        groups: found.security_groups().iter().filter_map(|it| it.group_id().map(str::to_owned)).collect(),
        private_ip: address(found.private_ip_address()).transpose()?,
        public_ip: address(found.public_ip_address()).transpose()?,
        private_dns: found.private_dns_name().filter(|name| !name.is_empty()).map(str::to_owned),
        zone: found.placement().and_then(|it| it.availability_zone()).map(str::to_owned),
        metadata_by_token: options == Some(&HttpTokensState::Required),
        tags: tags(found.tags()),
    })
}
