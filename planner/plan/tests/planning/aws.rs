//! Objects in AWS as plans have them: providers, security groups, and what makes one another.

use lustre_model::recorded::Status;
use lustre_model::value::Value;

use crate::harness::{
    actions, address, applied, carry_out, destroyed, nothing, options, plan_and_told, planned, try_plan,
};

const PROVIDER: &str = "provider \"aws\" {\n  region = \"eu-central-1\"\n  default_tags {\n    tags = { Team = \"a\" }\n  }\n}\n";

fn group(inside: &str) -> String {
    format!("{PROVIDER}security_group \"lnet\" {{\n{inside}\n}}\n")
}

const RULES: &str = r#"
  ingress {
    from_port   = 988
    to_port     = 988
    protocol    = "tcp"
    self        = true
    cidr_blocks = ["10.1.0.0/16", "10.0.0.0/16"]
  }
  egress {
    protocol    = "all"
    cidr_blocks = ["0.0.0.0/0"]
  }
"#;

fn peers(world: &lustre_model::recorded::World, name: &str, direction: &str) -> Vec<String> {
    let rules = &world.objects[&address(name)].attributes[direction];
    let peer = |rule: &Value| {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} {} {}", text("protocol"), rule.get("from_port").unwrap().as_i64().unwrap(), text("peer"))
    };
    rules.as_list().unwrap().iter().map(peer).collect()
}

#[test]
fn each_peer_is_a_rule_and_the_order_of_the_spec_means_nothing() {
    let world = applied(&group(RULES), &nothing());
    assert_eq!(
        peers(&world, "security_group.lnet", "ingress"),
        ["tcp 988 self", "tcp 988 10.0.0.0/16", "tcp 988 10.1.0.0/16"]
    );
    assert_eq!(peers(&world, "security_group.lnet", "egress"), ["-1 0 0.0.0.0/0"]);
    let turned = RULES.replace("[\"10.1.0.0/16\", \"10.0.0.0/16\"]", "[\"10.0.0.0/16\", \"10.1.0.0/16\"]");
    assert_eq!(actions(&planned(&group(&turned), &world)), [""; 0]);
    let fewer = RULES.replace("\"10.1.0.0/16\", ", "");
    assert_eq!(actions(&planned(&group(&fewer), &world)), ["update security_group.lnet"]);
}

#[test]
fn a_group_refers_to_another_before_either_is_there() {
    let other = "security_group \"clients\" {\n  ingress {\n    from_port = 1018\n    to_port = 1023\n    protocol = \"tcp\"\n    security_groups = [security_group.lnet.id]\n  }\n}\noutput \"id\" {\n  value = security_group.lnet.id\n}\n";
    let text = format!("{}{other}", group(RULES));
    let world = applied(&text, &nothing());
    assert_eq!(peers(&world, "security_group.clients", "ingress"), ["tcp 1018 sg-00000000"]);
    let steps = destroyed(&world);
    let order: Vec<String> = steps.steps().iter().map(|step| step.address.to_string()).collect();
    assert_eq!(order, ["security_group.clients", "security_group.lnet"], "rules go before whom they name");
}

#[test]
fn tags_of_the_provider_are_added_and_its_way_is_recorded_but_no_secret() {
    let world = applied(&group("  tags = { Name = \"n\" }"), &nothing());
    let attributes = &world.objects[&address("security_group.lnet")].attributes;
    let all = attributes["tags_all"].as_map().unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["Name", "Team"]);
    assert_eq!(attributes["region"].as_str(), Some("eu-central-1"));
    let other = group("  tags = { Name = \"n\" }").replace("Team = \"a\"", "Team = \"b\"");
    assert_eq!(actions(&planned(&other, &world)), ["update security_group.lnet"]);
    assert_eq!(actions(&destroyed(&world)), ["delete security_group.lnet"], "without the provider too");
}

#[test]
fn what_aws_cannot_change_makes_another_group() {
    let world = applied(&group("  name = \"a\""), &nothing());
    for text in [
        group("  name = \"b\""),
        group("  name = \"a\"\n  description = \"other\""),
        group("  name = \"a\"\n  vpc_id = \"vpc-0123456789abcdef0\""),
        group("  name = \"a\"").replace("eu-central-1", "eu-west-1"),
    ] {
        assert_eq!(actions(&planned(&text, &world)), ["replace security_group.lnet"], "{text}");
    }
    let profile = group("  name = \"a\"").replace("  region", "  profile = \"ops\"\n  region");
    assert_eq!(actions(&planned(&profile, &world)), ["update security_group.lnet"]);
}

#[test]
fn a_group_that_is_gone_is_made_anew_and_one_that_drifted_is_repaired() {
    let mut world = applied(&group(RULES), &nothing());
    let object = world.objects.get_mut(&address("security_group.lnet")).unwrap();
    object.status = Status::Gone { cause: "AWS has none".to_owned() };
    let plan = planned(&group(RULES), &world);
    assert_eq!(actions(&plan), ["replace security_group.lnet"]);
    let shown = lustre_plan::render::text::plan(&plan).plain();
    assert!(shown.contains("security_group.lnet is gone, so must be made anew"), "{shown}");
    assert_eq!(plan.parts().gates, []);
    let object = world.objects.get_mut(&address("security_group.lnet")).unwrap();
    object.status = Status::Drifted { cause: "a rule was added".to_owned() };
    let plan = planned(&group(RULES), &world);
    assert_eq!(actions(&plan), ["update security_group.lnet"]);
    let id = plan.changes()[0].after.as_ref().unwrap()["id"].clone();
    assert!(id.is_known(), "a repair keeps what is known");
}

#[test]
fn providers_are_chosen_by_alias_and_modules_use_the_roots() {
    let text = "provider \"aws\" {\n  region = var.region\n}\nprovider \"aws\" {\n  alias  = \"west\"\n  region = \"us-west-2\"\n  assume_role {\n    role_arn = \"arn:aws:iam::123456789012:role/deploy\"\n  }\n}\nvariable \"region\" {\n  default = \"eu-central-1\"\n}\nsecurity_group \"here\" {\n}\nsecurity_group \"there\" {\n  provider = aws.west\n}\n";
    let world = carry_out(&planned(text, &nothing()), &nothing());
    let region = |name: &str| world.objects[&address(name)].attributes["region"].as_str().unwrap().to_owned();
    assert_eq!(region("security_group.here"), "eu-central-1");
    assert_eq!(region("security_group.there"), "us-west-2");
    let provider = &world.objects[&address("security_group.there")].attributes["provider"];
    assert_eq!(
        provider.get("role_arn").and_then(Value::as_str),
        Some("arn:aws:iam::123456789012:role/deploy")
    );
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let told = try_plan(text, &[], &nothing(), &options()).map(drop).unwrap_err();
    for part in expected {
        assert!(told.contains(part), "expected `{part}` in:\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "one line each:\n{told}");
}

#[test]
fn mistakes_in_providers() {
    refused("security_group \"a\" {\n}\n", &["1:1: E1044 a security_group needs a provider"]);
    refused("provider \"aws\" {\n}\n", &["1:17: E0803 a provider needs `region`"]);
    refused(
        "provider \"aws\" {\n  region = \"eu-central-1\"\n  access_key = \"AKIA\"\n}\n",
        &["3:3: E0806 `access_key` of a provider is not supported | Credentials do not belong in a spec."],
    );
    refused(
        "provider \"aws\" {\n  region = value.a.output\n}\nvalue \"a\" {\n  input = \"x\"\n}\n",
        &["2:12: E1041 a provider depends on a resource"],
    );
    let twice = format!("{PROVIDER}{PROVIDER}");
    refused(&twice, &["E0201 duplicate provider `aws`"]);
    refused(&group("  provider = aws.wst"), &["E1044 there is no provider `aws.wst`"]);
    refused(&group("  provider = \"aws\""), &["E1042 `provider` names no provider"]);
    refused("value \"a\" {\n  provider = aws\n}\n", &["2:14: E1043 a value comes from no provider"]);
    let local = "provider \"aws\" {\n  region = local.region\n}\nlocals {\n  region = value.a.output\n}\nvalue \"a\" {\n  input = \"eu-central-1\"\n}\nsecurity_group \"g\" {\n}\n";
    refused(local, &["E0809 `region` of a provider must be known at plan"]);
}

#[test]
fn mistakes_in_rules() {
    let rule = |inside: &str| group(&format!("  ingress {{\n{inside}\n  }}"));
    for (inside, expected) in [
        ("protocol = \"tcp\"\nfrom_port = 1\nto_port = 2", "E1046 a rule names nobody"),
        ("protocol = \"tcp\"\nself = true\nfrom_port = 2\nto_port = 1", "E1046 `to_port` 1 lies before"),
        ("protocol = \"tpc\"\nself = true\nfrom_port = 1\nto_port = 1", "It is tcp, udp"),
        (
            "protocol = \"tcp\"\nfrom_port = 1\nto_port = 1\ncidr_blocks = [\"10.0.0.1/16\"]",
            "AWS writes this range as 10.0.0.0/16",
        ),
        (
            "protocol = \"tcp\"\nfrom_port = 1\nto_port = 1\nipv6_cidr_blocks = [\"fd00::1/8\"]",
            "AWS writes this range as fd00::/8",
        ),
        (
            "protocol = \"tcp\"\nfrom_port = 1\nto_port = 1\ncidr_blocks = [\"10.0.0.0\"]",
            "such as 10.0.0.0/16",
        ),
        (
            "protocol = \"tcp\"\nfrom_port = 1\nto_port = 1\nsecurity_groups = [\"default\"]",
            "sg-0123456789abcdef0",
        ),
        ("protocol = \"tcp\"\nfrom_port = 1\nto_port = 70000\nself = true", "from 0 to 65535"),
    ] {
        refused(&rule(inside), &[expected]);
    }
    refused(&group("  name = \"sg-x\""), &["does not begin with sg-"]);
    refused(&group("  tags = { \"aws:x\" = \"y\" }"), &["begin with aws: are reserved"]);
    let both = "  ingress {\n    protocol = \"tcp\"\n    from_port = 1\n    to_port = 1\n    self = true\n    description = \"D\"\n  }\n";
    let two = format!("{both}{}", both.replace("\"D\"", "\"E\""));
    refused(&group(&two), &["E1045 two ingress rules allow the same"]);
    let (plan, told) = plan_and_told(&group(&format!("{both}{both}")), &[], &nothing(), &options());
    assert!(plan.is_some(), "the same twice is once: {told}");
}

const INSTANCE: &str = "instance \"oss\" {\n  ami = \"ami-0123456789abcdef0\"\n  instance_type = \"i4i.large\"\n  vpc_security_group_ids = [security_group.lnet.id]\n}\nhost \"oss\" {\n  address = instance.oss.private_ip\n  ssh {\n    host_key = instance.oss.host_key\n  }\n}\n";

#[test]
fn a_host_is_made_of_an_instance_and_follows_it() {
    let text = format!("{}{INSTANCE}", group(RULES));
    let world = applied(&text, &nothing());
    let host = &world.objects[&address("host.oss")].attributes;
    assert_eq!(host["address"].as_str(), Some("10.0.0.7"));
    let order: Vec<String> =
        planned(&text, &nothing()).steps().iter().map(|step| step.address.to_string()).collect();
    assert_eq!(order, ["security_group.lnet", "instance.oss", "host.oss"]);
    // Another image is another machine, and what was on it goes.
    let other = text.replace("ami-0123456789abcdef0", "ami-0123456789abcdef1");
    let plan = planned(&other, &world);
    assert_eq!(actions(&plan), ["replace host.oss", "replace instance.oss"]);
    let gates: Vec<String> = plan.parts().gates.iter().map(|gate| gate.address.to_string()).collect();
    assert_eq!(gates, ["instance.oss"]);
    // Tags and groups change while it lives.
    let tagged = text.replace("  instance_type", "  tags = { Name = \"a\" }\n  instance_type");
    assert_eq!(actions(&planned(&tagged, &world)), ["update instance.oss"]);
}

#[test]
fn an_instance_that_is_gone_needs_no_allowance_and_neither_does_one_that_never_came() {
    let text = format!("{}{INSTANCE}", group(RULES));
    for status in [Status::Gone { cause: "it was terminated".to_owned() }, Status::Creating] {
        let mut world = applied(&text, &nothing());
        world.objects.get_mut(&address("instance.oss")).unwrap().status = status.clone();
        let plan = planned(&text, &world);
        assert_eq!(plan.parts().gates, [], "{status:?}");
    }
    let world = applied(&text, &nothing());
    let gates: Vec<String> =
        destroyed(&world).parts().gates.iter().map(|gate| gate.address.to_string()).collect();
    assert_eq!(gates, ["instance.oss"]);
}

#[test]
fn mistakes_in_instances() {
    let instance = |inside: &str| {
        format!(
            "{PROVIDER}instance \"a\" {{\n  ami = \"ami-0123456789abcdef0\"\n  instance_type = \"i4i.large\"\n{inside}\n}}\n"
        )
    };
    for (inside, expected) in [
        ("root_block_device {\n  volume_type = \"io2\"\n}", "E1050 an io2 volume needs `iops`"),
        ("root_block_device {\n  volume_type = \"gp2\"\n  iops = 3000\n}", "E1050 a gp2 volume has neither"),
        (
            "root_block_device {\n  encrypted = false\n  kms_key_id = \"alias/x\"\n}",
            "E1050 `kms_key_id` of a volume",
        ),
        ("ebs_block_device {\n  volume_size = 1\n}", "E0803 a ebs_block_device block needs `device_name`"),
        ("metadata_options {\n}", "IMDSv2"),
        ("ssh_authorized_keys = [\"-----BEGIN\"]", "It is one public key"),
        ("user_data = \"echo\"", "It begins with `#!`"),
        ("security_groups = [\"default\"]", "vpc_security_group_ids"),
        (
            "instance_market_options {\n  spot_options {\n    max_price = \"cheap\"\n  }\n}",
            "It is a price an hour",
        ),
    ] {
        refused(&instance(inside), &[expected]);
    }
    refused(&instance("").replace("ami-0123456789abcdef0", "debian"), &["ami-0123456789abcdef0"]);
    refused(&instance("").replace("i4i.large", "large"), &["It is a type such as i4i.large"]);
}
