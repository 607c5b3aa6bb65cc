//! Security groups: made, changed rule by rule, repaired, taken over, destroyed.

use crate::moto::Region;

const GROUP: &str = r#"
security_group "lnet" {
  description = "LNet between servers"
  vpc_id      = "VPC"
  tags = {
    Name = "lnet"
  }
  ingress {
    from_port   = 988
    to_port     = 988
    protocol    = "tcp"
    self        = true
    cidr_blocks = ["10.0.0.0/16"]
    description = "LNet"
  }
  egress {
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

output "id" {
  value = security_group.lnet.id
}
"#;

const CLIENTS: &str = r#"
security_group "clients" {
  name   = "clients of lnet"
  vpc_id = "VPC"
  ingress {
    from_port       = 1018
    to_port         = 1023
    protocol        = "tcp"
    security_groups = [security_group.lnet.id]
  }
}
"#;

/// Prints the rules of the group `lnet`, one a line. Descriptions of groups as peers moto does not tell here.
const RULES: &str = "
for rule in sorted((r['IsEgress'], r['IpProtocol'], r.get('FromPort'), r.get('CidrIpv4') or 'group', r.get('CidrIpv4') and r.get('Description') or '')
        for r in ec2.describe_security_group_rules(Filters=[{'Name': 'group-id', 'Values': [id]}])['SecurityGroupRules']):
    print(*rule)
";

fn spec(region: &Region, edit: impl Fn(String) -> String) {
    let vpc = region.python("v = ec2.describe_vpcs(Filters=[{'Name': 'is-default', 'Values': ['true']}])['Vpcs'][0]['VpcId']; print(v)");
    region.spec_with(
        "  default_tags {\n    tags = {\n      Team = \"storage\"\n    }\n  }\n",
        &edit(format!("{GROUP}{CLIENTS}").replace("VPC", &vpc)),
    );
}

#[test]
fn a_group_is_made_changed_rule_by_rule_repaired_and_destroyed() {
    let region = Region::new("eu-central-1");
    spec(&region, |text| text);
    region.must("apply -auto-approve");
    assert_eq!(region.run("plan -detailed-exitcode").code, Some(0), "{}", region.run("plan").all());
    let id = region.must("output -raw id").stdout;
    let rules = || region.python(&format!("id = {:?}\n{RULES}", id.trim()));
    assert_eq!(rules(), "False tcp 988 10.0.0.0/16 LNet\nFalse tcp 988 group \nTrue -1 -1 0.0.0.0/0");

    // One range becomes another, and nothing else moves.
    spec(&region, |text| text.replace("10.0.0.0/16", "10.1.0.0/16"));
    let plan = region.must("plan");
    assert!(
        plan.stdout.contains("10.1.0.0/16") && plan.stdout.contains("unchanged element"),
        "{}",
        plan.all()
    );
    region.must("apply -auto-approve");
    assert_eq!(rules(), "False tcp 988 10.1.0.0/16 LNet\nFalse tcp 988 group \nTrue -1 -1 0.0.0.0/0");

    // Somebody opens SSH to the world and takes a tag.
    region.python(&format!(
        "id = {:?}\nec2.authorize_security_group_ingress(GroupId=id, IpProtocol='tcp', FromPort=22, ToPort=22, CidrIp='0.0.0.0/0')\nec2.delete_tags(Resources=[id], Tags=[{{'Key': 'Team'}}])",
        id.trim()
    ));
    let plan = region.run("plan -detailed-exitcode");
    assert_eq!(plan.code, Some(2), "{}", plan.all());
    for said in ["ingress rule tcp 22 with 0.0.0.0/0 was added", "tag Team is gone"] {
        // Long lines are broken.
        assert!(plan.stderr.replace("\n  │ ", " ").contains(said), "{}", plan.all());
    }
    assert!(plan.stdout.contains("as AWS reports"), "{}", plan.all());
    region.must("apply -auto-approve");
    assert_eq!(region.run("plan -detailed-exitcode").code, Some(0));
    assert!(!rules().contains("22"), "{}", rules());

    region.must("destroy -auto-approve");
    let left =
        region.python("print([g['GroupName'] for g in ec2.describe_security_groups()['SecurityGroups']])");
    assert_eq!(left, "['default']");
}

#[test]
fn a_group_that_somebody_deleted_is_made_anew() {
    let region = Region::new("eu-west-1");
    spec(&region, |text| text);
    region.must("apply -auto-approve");
    let id = region.must("output -raw id").stdout;
    region.python(&format!(
        "for group in ec2.describe_security_groups(GroupNames=['clients of lnet'])['SecurityGroups']:\n    ec2.delete_security_group(GroupId=group['GroupId'])\nec2.delete_security_group(GroupId={:?})",
        id.trim()
    ));
    let plan = region.must("plan");
    assert!(plan.stdout.contains("security_group.lnet is gone, so must be made anew"), "{}", plan.all());
    region.must("apply -auto-approve");
    assert_ne!(region.must("output -raw id").stdout, id);
    assert_eq!(region.run("plan -detailed-exitcode").code, Some(0));
}

#[test]
fn a_group_that_is_there_is_taken_over() {
    let region = Region::new("eu-north-1");
    let alone = |text: String| text.split("security_group \"clients\"").next().unwrap_or_default().to_owned();
    spec(&region, alone);
    region.must("apply -auto-approve");
    let id = region.must("output -raw id").stdout;
    region.must("state rm security_group.lnet");
    // Without it, the name is taken by a group that this state does not record.
    let refused = region.run("apply -auto-approve");
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(
        refused.all().contains(id.trim()) && refused.all().contains("does not record it"),
        "{}",
        refused.all()
    );
    region.must("state rm security_group.lnet");
    spec(&region, |text| {
        let text = alone(text);
        format!("{text}\nimport {{\n  to = security_group.lnet\n  id = {:?}\n}}\n", id.trim())
    });
    let plan = region.must("plan");
    assert!(plan.stdout.contains("0 to add, 0 to change, 0 to destroy"), "{}", plan.all());
    region.must("apply -auto-approve");
    assert_eq!(region.must("output -raw id").stdout, id);
    region.must("destroy -auto-approve");
}

#[test]
fn what_aws_refuses_is_said_with_place_call_code_and_remedy() {
    let region = Region::new("us-west-2");
    let rule = "from_port = 1\n    to_port = 1\n    protocol = \"tcp\"";
    let peer = "security_groups = [\"sg-0123456789abcdef0\"]";
    region.spec(&format!("security_group \"a\" {{\n  ingress {{\n    {rule}\n    {peer}\n  }}\n}}\n"));
    let said = region.run("apply -auto-approve");
    assert_eq!(said.code, Some(1), "{}", said.all());
    for part in [
        "security_group.a",
        "AuthorizeSecurityGroupIngress",
        "InvalidGroup.NotFound",
        "hint: say the id of a group",
    ] {
        assert!(said.all().contains(part), "{part}: {}", said.all());
    }
    // What was begun is known, and can be destroyed.
    region.must("destroy -auto-approve");
    let left =
        region.python("print([g['GroupName'] for g in ec2.describe_security_groups()['SecurityGroups']])");
    assert_eq!(left, "['default']");
    let said = region.run_as("apply -auto-approve", []);
    assert!(said.all().contains("give this machine credentials"), "{}", said.all());
}
