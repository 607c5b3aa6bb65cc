//! Bad specs: each mistake is told once, with its place, and all of them in one run.

use crate::harness::{nothing, options, planned, try_plan};

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let told = match try_plan(text, &[], &nothing(), &options()) {
        Ok(_) => String::new(),
        Err(told) => told,
    };
    for part in expected {
        assert!(told.contains(part), "expected `{part}` in:\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "one line each:\n{told}");
}

const CLUSTER: &str = r#"
host "h" {}
cluster "x" {
  metadata {
    host = host.h
    path = "/m"
  }
  storage {
    hosts           = host.h
    path            = "/o"
    target_capacity = "1GiB"
  }
}
"#;

#[test]
fn names_that_a_resource_does_not_have() {
    check(
        "host \"h\" {\n  adress = \"10.0.0.1\"\n}\n",
        &["2:3: E0801 a host has no attribute `adress` | Did you mean `address`?"],
    );
    check("host \"h\" {\n  sshh {\n  }\n}\n", &["2:3: E0802 a host has no block `sshh`"]);
    check("mount \"m\" {\n}\n", &["needs `cluster`", "needs `host`", "needs `path`"]);
    check(
        &CLUSTER.replace("path            = \"/o\"", "paht = \"/o\""),
        &["needs `path`", "Did you mean `path`?"],
    );
    check("host \"h\" {\n  path {\n  }\n}\n", &["`path` is an attribute"]);
    check(
        &CLUSTER.replace("  metadata {\n    host = host.h\n    path = \"/m\"\n  }\n", "  metadata = 1\n"),
        &["needs a `metadata` block", "is a block"],
    );
}

#[test]
fn values_of_the_wrong_kind() {
    check(
        "host \"h\" {\n  control_port = \"high\"\n}\n",
        &["E0804 `control_port` of a host has the wrong type"],
    );
    check("host \"h\" {\n  control_port = 70000\n}\n", &["from 1 to 65535"]);
    check("host \"h\" {\n  path = \"relative\"\n}\n", &["E0805 `path` of a host is not valid"]);
    check("host \"h\" {\n  path = \"/a/../b\"\n}\n", &["without `.`, `..`"]);
    check("host \"h\" {\n  connection = \"ssh\"\n}\n", &["E0803 a host needs `address`"]);
    check("host \"h\" {\n  connection = \"instance\"\n}\n", &["takes its address from an instance"]);
    check("host \"h\" {\n  user = \"ops\"\n}\n", &["E0803 a host needs `address`"]);
    check(
        "host \"h\" {\n  connection = \"local\"\n  user = \"ops\"\n}\n",
        &["E0822 a local host has no `user` and no `ssh` block"],
    );
    for (inside, expected) in [
        ("port = 0", "from 1 to 65535"),
        ("identity_file = \"id_ed25519\"", "~/.ssh/id_ed25519"),
        ("host_key = \"SHA256:abc\"", "It is a public key such as"),
        ("host_key = \"ssh-rsa AAAAB3NzaC1yc2E\"", "RSA host keys are not supported"),
        ("password = \"p\"", "LUSTRE_SSH_PASSPHRASE"),
        ("jump {\n  user = \"ops\"\n  }", "E0803 a jump block needs `address`"),
        ("jmp {\n  }", "Did you mean `jump`?"),
    ] {
        check(&format!("host \"h\" {{\n  address = \"h\"\n  ssh {{\n  {inside}\n  }}\n}}\n"), &[expected]);
    }
    check(
        "mount \"m\" {\n  cluster = \"cluster.x\"\n  host = host.h\n  path = \"/p\"\n}\nhost \"h\" {}\n",
        &["E0808 `cluster` of a mount must be a cluster"],
    );
    check(
        "host \"h\" {}\nmount \"m\" {\n  cluster = host.h\n  host = host.h\n  path = \"/p\"\n}\n",
        &["must be a cluster | `cluster` is host.h."],
    );
    check(&CLUSTER.replace("1GiB", "1GB"), &["Units are binary"]);
    check(&CLUSTER.replace("1GiB", "1MiB"), &["at least 16 MiB"]);
    check(&CLUSTER.replace("hosts           = host.h", "hosts = [host.h, host.h]"), &["named twice"]);
    check(&CLUSTER.replace("cluster \"x\"", "cluster \"far_too_long\""), &["give one with `fs_name`"]);
}

#[test]
fn what_fsx_has_and_we_do_not_is_refused_by_name() {
    let with = |line: &str| CLUSTER.replace("  metadata {", &format!("  {line}\n  metadata {{"));
    check(&with("deployment_type = \"PERSISTENT_2\""), &["Persistent types promise"]);
    check(&with("deployment_type = \"SCRATCH_3\""), &["Did you mean SCRATCH_1?"]);
    check(&with("storage_type = \"INTELLIGENT_TIERING\""), &["There is one tier"]);
    check(
        &with("per_unit_storage_throughput = 125"),
        &["E0806 `per_unit_storage_throughput` of a cluster is not supported"],
    );
    check(&with("root_squash_configuration {\n  }"), &["Root is not squashed yet"]);
    check(&with("subnet_ids = []"), &["name hosts in `metadata` and `storage`"]);
    check(
        &with("layout {\n    component {\n      pool = \"flash\"\n    }\n  }"),
        &["Pools of targets are not built yet"],
    );
    check(&with("storage_capacity = 1200"), &["either `target_capacity` or `storage_capacity`"]);
}

#[test]
fn every_field_of_fsx_is_accepted_or_refused_by_name() {
    let fields = [
        "subnet_ids",
        "security_group_ids",
        "kms_key_id",
        "drive_cache_type",
        "data_read_cache_configuration",
        "metadata_configuration",
        "root_squash_configuration",
        "log_configuration",
        "efa_enabled",
        "weekly_maintenance_start_time",
        "daily_automatic_backup_start_time",
        "automatic_backup_retention_days",
        "copy_tags_to_backups",
        "import_path",
        "export_path",
        "imported_file_chunk_size",
        "auto_import_policy",
        "per_unit_storage_throughput",
        "throughput_capacity",
        "file_system_type_version",
        "tags",
    ];
    for field in fields {
        let text = CLUSTER.replace("  metadata {", &format!("  {field} = 1\n  metadata {{"));
        let told = try_plan(&text, &[], &nothing(), &options()).expect_err(field);
        assert!(
            told.contains(&format!("E0806 `{field}` of a cluster is not supported | ")),
            "{field}: {told}"
        );
    }
    for field in
        ["deployment_type = \"SCRATCH_1\"", "storage_type = \"HDD\"", "data_compression_type = \"LZ4\""]
    {
        planned(&CLUSTER.replace("  metadata {", &format!("  {field}\n  metadata {{")), &nothing());
    }
}

#[test]
fn circles_are_told_with_their_path() {
    let text = "value \"a\" {\n  input = value.b.output\n}\nvalue \"b\" {\n  input = local.c\n}\nlocals {\n  c = value.a.output\n}\n";
    check(text, &["E0812 a circle of references: value.a → value.b → local.c → value.a"]);
}

#[test]
fn references_to_nothing() {
    check(
        "mount \"m\" {\n  cluster = cluster.nope\n  host = host.h\n  path = \"/p\"\n}\nhost \"h\" {}\n",
        &["undeclared cluster `nope`"],
    );
    check("value \"a\" {\n  input = value.b.outptu\n}\nvalue \"b\" {}\n", &["outptu"]);
}

#[test]
fn two_that_need_the_same_thing() {
    let mount = |name: &str, path: &str| {
        format!("mount \"{name}\" {{\n  cluster = cluster.x\n  host = host.h\n  path = \"{path}\"\n}}\n")
    };
    let text = format!("{CLUSTER}{}{}", mount("a", "/p"), mount("b", "/p"));
    check(&text, &["E0807 mount.a and mount.b both need mount point /p on host.h"]);
    check("host \"a\" {}\nhost \"b\" {\n  path = \"/other\"\n}\n", &["both need port 127.0.0.1:7988"]);
    let twice = CLUSTER
        .replace("host \"h\" {}", "")
        .replace("cluster \"x\"", "cluster \"y\"")
        .replace("path = \"/m\"", "path = \"/m\"\n  }\n  layout {\n    component {}");
    let text = format!("{CLUSTER}{}", twice.replace("metadata {", "fs_name = \"x\"\n  metadata {"));
    let told = try_plan(&text, &[], &nothing(), &options()).expect_err("same name");
    assert!(told.contains("both need file system name x"), "{told}");
}

#[test]
fn a_host_without_free_ports_is_named() {
    let text = CLUSTER.replace("host \"h\" {}", "host \"h\" {\n  port_range = \"8000-8000\"\n}");
    check(&text, &["E0810 host.h has no free port left"]);
}

#[test]
fn layouts_are_in_order() {
    let with = |components: &str| {
        CLUSTER.replace("  metadata {", &format!("  layout {{\n{components}\n  }}\n  metadata {{"))
    };
    planned(
        &with(
            "component {\n end = \"100MiB\"\n}\ncomponent {\n stripe_count = -1\n stripe_size = \"2MiB\"\n}",
        ),
        &nothing(),
    );
    check(&with("component {\n}\ncomponent {\n}"), &["only the last component has no `end`"]);
    check(
        &with("component {\n end = \"2MiB\"\n}\ncomponent {\n end = \"1MiB\"\n}\ncomponent {\n}"),
        &["lies behind"],
    );
    check(&with("component {\n end = \"2MiB\"\n}"), &["so that files can grow"]);
    check(&with("component {\n stripe_size = 1000\n}"), &["multiple of 64KiB"]);
    check(&with("component {\n stripe_count = 0\n}"), &["-1 for all"]);
    check(&with(""), &["1 to 32"]);
}

#[test]
fn links_are_checked() {
    let link = |lines: &str| {
        format!("{CLUSTER}data_repository_association \"l\" {{\n  cluster = cluster.x\n{lines}\n}}\n")
    };
    check(
        &link("file_system_path = \"/a\"\ndata_repository_path = \"s3://bucket/x//y\""),
        &["no empty part"],
    );
    check(&link("file_system_path = \"a\"\ndata_repository_path = \"s3://bucket\""), &["absolute path"]);
    let s3 = "file_system_path = \"/a\"\ndata_repository_path = \"s3://bucket\"\ns3 {\n auto_import_policy {\n  events = [\"NEW\", \"NEWER\"]\n }\n secret_access_key = \"x\"\n}";
    check(&link(s3), &["NEWER is not one of", "Keys in a spec"]);
    check(
        &link(
            "file_system_path = \"/a\"\ndata_repository_path = \"s3://bucket\"\nimported_file_chunk_size = 0",
        ),
        &["from 1 to 512000"],
    );
}

#[test]
fn all_mistakes_come_in_one_run() {
    let text = "host \"h\" {\n  adress = 1\n  path = \"x\"\n}\nmount \"m\" {\n  cluster = cluster.x\n  host = host.h\n  path = 1\n  colour = 2\n}\nvalue \"v\" {\n  imput = 1\n}\n";
    let told = try_plan(text, &[], &nothing(), &options()).expect_err("many mistakes");
    for part in ["`adress`", "`path` of a host", "undeclared cluster `x`", "`imput`"] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    assert_eq!(told.lines().count(), 6, "{told}");
}

#[test]
fn one_mistake_is_told_under_one_code() {
    let several = "module \"m\" {\n  source = \"./m\"\n  count  = 2\n}\noutput \"o\" {\n  value = module.m.x\n}\n-- m/main.hcl --\n\
                   output \"x\" {\n  value = 1\n}\n";
    check(several, &["6:11: E0311 `module.m` has several instances"]);
    check("value \"a\" {\n  input = value.a.output\n}\n", &["2:11: E0305 `value.a` refers to itself"]);
    check(
        "value \"a\" {\n  input = value.b.output\n}\nvalue \"b\" {\n  input = [value.a.output, value.b.output]\n}\n",
        &[
            "5:28: E0305 `value.b` refers to itself",
            "E0812 a circle of references: value.a → value.b → value.a",
        ],
    );
    let trigger = |name: &str| {
        format!("value \"a\" {{\n  lifecycle {{\n    replace_triggered_by = [{name}]\n  }}\n}}\n")
    };
    check(&trigger("value.c[\"x\"].input"), &["3:29: E0304 undeclared value `c`"]);
    check(&trigger("vlaue.c"), &["3:29: E0307 unknown name `vlaue`"]);
    check(&trigger("path.module"), &["3:29: E0313 `replace_triggered_by` names no resource"]);
}

#[test]
fn a_conditional_between_resources_of_different_attributes_stays_a_resource() {
    let text = CLUSTER.replace("host \"h\" {}", "variable \"far\" {\n  default = false\n}\nhost \"h\" {\n  for_each = { a = 1, b = 2 }\n  address = \"10.0.0.${each.value}\"\n}\nhost \"i\" {\n  connection = \"local\"\n}\nlocals {\n  here = var.far ? host.h[\"a\"] : host.i\n  all = var.far ? { i = host.i } : host.h\n}");
    let text = text
        .replace("host = host.h", "host = local.here")
        .replace("hosts           = host.h", "hosts           = local.all");
    let plan = planned(&text, &nothing());
    let hosts: Vec<String> = plan
        .changes()
        .iter()
        .filter(|change| change.address.to_string().starts_with("cluster.x"))
        .filter_map(|change| change.after.as_ref()?.get("host")?.as_str().map(str::to_owned))
        .collect();
    assert_eq!(hosts, ["host.i", "host.h[\"a\"]", "host.h[\"b\"]"]);
}

#[test]
fn attributes_that_the_type_of_a_variable_drops_are_told_where_they_are_written_out() {
    let text = r#"
variable "tags" {
  type    = list(object({ size = optional(number, 1), more = optional(map(object({ deep = optional(string) }))) }))
  default = [{ siez = 2, more = { a = { deeq = "x" } } }]
}
module "m" {
  source = "./m"
  one    = { "other" = 1, (var.tags[0].size) = 2 }
}
output "o" {
  value = var.tags
}
-- m/main.hcl --
variable "one" {
  type = object({ size = optional(number) })
}
"#;
    let (plan, told) = crate::harness::plan_and_told(text, &[], &nothing(), &options());
    assert!(plan.is_some(), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "4:16: W0316 variable `tags` has no attribute `siez` | Its type does not have it, so the value is dropped. Did \
             you mean `size`?",
            "4:41: W0316 variable `tags` has no attribute `deeq` | Its type does not have it, so the value is dropped. Did \
             you mean `deep`?",
            "8:14: W0316 variable `one` has no attribute `other` | Its type does not have it, so the value is dropped. The \
             type has `size`.",
        ]
    );
}
