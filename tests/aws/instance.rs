//! Instances: launched once, changed, repaired, made anew, terminated; and hosts that are made of them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::moto::Region;

const INSTANCES: &str = r#"
security_group "ssh" {
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["10.0.0.0/8"]
  }
}

instance "oss" {
  count                  = 2
  ami                    = "AMI"
  instance_type          = "i4i.large"
  subnet_id              = "SUBNET"
  vpc_security_group_ids = [security_group.ssh.id]
  ssh_authorized_keys    = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdQ0Zk3JrS1mG4sVt8q6lC0i6sQx3v0o7t1Yb5xQm3X ops"]
  tags = {
    Name = "oss ${count.index}"
  }
  root_block_device {
    volume_size = 20
    iops        = 4000
    throughput  = 200
  }
  ebs_block_device {
    device_name = "/dev/sdf"
    volume_size = 100
    volume_type = "gp3"
    iops        = 5000
  }
}

output "addresses" {
  value = instance.oss[*].private_ip
}
"#;

/// Prints the instances that live, one a line: type, key of its first tag, metadata, groups.
const ALIVE: &str = "
for r in ec2.describe_instances(Filters=[{'Name': 'instance-state-name', 'Values': ['pending', 'running', 'stopped']}])['Reservations']:
    for i in r['Instances']:
        names = [t['Value'] for t in i['Tags'] if t['Key'] == 'Name']
        print(i['InstanceId'], i['InstanceType'], i['State']['Name'], i['MetadataOptions']['HttpTokens'], len(i['SecurityGroups']), *names)
";

fn spec(region: &Region, edit: impl Fn(String) -> String) {
    let found = region.python(
        "print(ec2.describe_images(Owners=['amazon'])['Images'][0]['ImageId'], ec2.describe_subnets()['Subnets'][0]['SubnetId'])",
    );
    let (ami, subnet) = found.split_once(' ').expect("two words");
    region.spec(&edit(INSTANCES.replace("AMI", ami).replace("SUBNET", subnet)));
}

fn alive(region: &Region) -> Vec<String> {
    region.python(ALIVE).lines().map(str::to_owned).collect()
}

#[test]
fn instances_are_launched_changed_repaired_made_anew_and_terminated() {
    let region = Region::new("eu-central-1");
    spec(&region, |text| text);
    region.must("apply -auto-approve");
    let there = alive(&region);
    assert_eq!(there.len(), 2, "{there:?}");
    assert!(there.iter().all(|one| one.contains("i4i.large running required 1 oss")), "{there:?}");
    assert_eq!(region.run("plan -detailed-exitcode").code, Some(0), "{}", region.run("plan").all());

    // A tag changes in place; another type is another instance, whose bytes go.
    spec(&region, |text| text.replace("oss $", "server $"));
    region.must("apply -auto-approve");
    assert!(alive(&region).iter().all(|one| one.contains("server")), "{:?}", alive(&region));
    spec(&region, |text| text.replace("i4i.large", "i4i.xlarge"));
    let said = region.run("apply -auto-approve");
    assert_eq!(said.code, Some(4), "{}", said.all());
    assert!(said.all().contains("-allow-data-loss='instance.oss[0]'"), "{}", said.all());

    // Somebody stops one and terminates the other.
    spec(&region, |text| text.replace("oss $", "server $"));
    let ids: Vec<&str> = there.iter().map(|one| one.split(' ').next().expect("an id")).collect();
    region.python(&format!(
        "ec2.stop_instances(InstanceIds=[{:?}])\nec2.terminate_instances(InstanceIds=[{:?}])",
        ids[0], ids[1]
    ));
    let plan = region.must("plan");
    let told = plan.all().replace("\n  │ ", " ");
    assert!(told.contains("it is stopped") && told.contains("was terminated"), "{told}");
    assert!(plan.stdout.contains("is gone, so must be made anew"), "{}", plan.all());
    region.must("apply -auto-approve");
    let now = alive(&region);
    assert_eq!(now.len(), 2, "{now:?}");
    assert!(now.iter().all(|one| one.contains("running")), "{now:?}");
    assert_eq!(region.run("plan -detailed-exitcode").code, Some(0));

    let said = region.run("destroy -auto-approve");
    assert_eq!(said.code, Some(4), "bytes go with instances: {}", said.all());
    region.must("destroy -auto-approve -allow-data-loss=instance.*");
    assert_eq!(alive(&region), [""; 0]);
}

#[test]
fn an_apply_that_is_killed_anywhere_launches_nothing_twice() {
    let region = Region::new("eu-west-2");
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    spec(&region, |text| text);
    let begun = Instant::now();
    region.must("apply -auto-approve");
    let lasted = begun.elapsed();
    region.must("destroy -auto-approve -allow-data-loss=*");
    for kill in 1..=6_u32 {
        let mut command = region.command("apply -auto-approve", keys);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut apply = command.spawn().expect("the binary starts");
        std::thread::sleep((lasted * kill / 7).max(Duration::from_millis(20)));
        // It may have ended already; that is a moment as good as any.
        let _ended = kill_process(Pid::from_child(&apply), Signal::KILL);
        apply.wait().expect("it ends");
        region.must("apply -auto-approve");
        assert_eq!(alive(&region).len(), 2, "kill {kill}: {:?}", alive(&region));
        assert_eq!(region.run("plan -detailed-exitcode").code, Some(0), "kill {kill}");
        region.must("destroy -auto-approve -allow-data-loss=*");
        assert_eq!(alive(&region), [""; 0], "kill {kill}");
    }
}

#[test]
fn a_host_takes_its_address_and_its_key_from_an_instance() {
    let region = Region::new("eu-west-3");
    spec(&region, |text| {
        format!(
            "{text}\nhost \"oss\" {{\n  count   = 2\n  address = instance.oss[count.index].private_ip\n  user    = \"admin\"\n  ssh {{\n    host_key = instance.oss[count.index].host_key\n  }}\n}}\n"
        )
    });
    let plan = region.must("plan");
    assert!(plan.stdout.contains("5 to add"), "{}", plan.all());
    assert!(
        plan.stdout.contains("host_key") && plan.stdout.contains("(known after apply)"),
        "{}",
        plan.all()
    );
    region.must("apply -auto-approve -target=instance.oss");
    let plan = region.must("plan -refresh=false");
    assert!(plan.stdout.contains("ssh-ed25519 AAAA"), "{}", plan.all());
}
