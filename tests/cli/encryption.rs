//! Encrypted states and plans through the binary: what is written, what opens it, rotation, migration, and every refusal.
//!
//! Invariant checked everywhere: no passphrase and no value of the state is in any file or on any stream that does not say so.

use std::process::Command;

use crate::bucket::Bucket;
use crate::folder::{Folder, Said, finish};

const SECRET: &str = "a secret that nobody may see";

const OLD: &str = "the passphrase of 2025";
const NEW: &str = "the passphrase of 2026";

/// Two keys and what uses them.
fn spec(uses: &str) -> String {
    format!(
        r#"
lustre {{
  encryption {{
    key "2025" {{
      passphrase_environment = "PASSPHRASE_2025"
    }}
    key "2026" {{
      passphrase = var.passphrase
    }}
    {uses}
  }}
}}

variable "passphrase" {{
  ephemeral = true
}}

value "a" {{
  input = "{SECRET}"
}}

output "a" {{
  value     = value.a.output
  sensitive = true
}}
"#
    )
}

const OLD_STATE: &str = "state {\n key = \"2025\"\n}\n";
const BOTH: &str = "state {\n key = \"2026\"\n previous = [\"2025\"]\n}\nplan {\n key = \"2026\"\n}\n";

fn run(folder: &Folder, words: &str, environment: &[(&str, &str)]) -> Said {
    let mut command = folder.command(words);
    command.envs(environment.iter().copied());
    finish(command, "")
}

fn both(folder: &Folder, words: &str) -> Said {
    run(folder, words, &[("PASSPHRASE_2025", OLD), ("LUSTRE_VAR_passphrase", NEW)])
}

#[track_caller]
fn must(folder: &Folder, words: &str) -> Said {
    let said = both(folder, words);
    assert_eq!(said.code, Some(0), "{words}: {}", said.all());
    for passphrase in [OLD, NEW] {
        assert!(!said.all().contains(passphrase), "{words}: {}", said.all());
    }
    said
}

/// Fails with these words, and leaves every file as it was.
#[track_caller]
fn refused(folder: &Folder, words: &str, environment: &[(&str, &str)], causes: &[&str]) {
    let files = || -> Vec<(String, Vec<u8>)> {
        let files = folder.names().into_iter().filter(|name| !name.ends_with(".lock"));
        files.map(|name| (name.clone(), fs_err::read(folder.path(&name)).unwrap_or_default())).collect()
    };
    let before = files();
    let said = run(folder, words, environment);
    assert_eq!(said.code, Some(1), "{words}: {}", said.all());
    for cause in causes {
        // Where a line is broken depends on the width.
        let flat = said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(flat.contains(cause), "{words}: {cause}: {}", said.all());
    }
    assert!(!said.all().contains(OLD) && !said.all().contains(NEW), "{}", said.all());
    assert_eq!(files(), before, "{words}");
}

/// No file but the spec holds what is secret.
#[track_caller]
fn nothing_in_clear(folder: &Folder) {
    for name in folder.names().into_iter().filter(|name| name != "main.hcl" && !name.starts_with('.')) {
        let text =
            String::from_utf8_lossy(&fs_err::read(folder.path(&name)).unwrap_or_default()).into_owned();
        assert!(!text.contains(SECRET) && !text.contains(OLD) && !text.contains(NEW), "{name}: {text}");
    }
}

#[test]
fn a_state_is_encrypted_and_every_command_reads_it() {
    let folder = Folder::with(&spec(BOTH));
    must(&folder, "apply -auto-approve");
    nothing_in_clear(&folder);
    let state = folder.read("lustre.state");
    assert!(state.starts_with("{\"format\":\"lustre state\"") && state.contains("\"lineage\""), "{state}");
    assert!(state.contains("{\"format\":\"lustre sealed\",\"version\":1,\"key\":\"2026\""), "{state}");
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
    assert_eq!(must(&folder, "output -raw a").stdout, SECRET);
    assert!(must(&folder, "show").stdout.contains("value \"a\""));
    assert!(must(&folder, "state show value.a").stdout.contains(SECRET));
    assert_eq!(must(&folder, "plan -detailed-exitcode").code, Some(0));
    let said = run(&folder, "force-unlock 7", &[]);
    assert_eq!(said.code, Some(0), "a lock needs no key: {}", said.all());
    must(&folder, "state mv value.a value.b");
    nothing_in_clear(&folder);
    must(&folder, "state push -force lustre.state.backup");
    let pulled = must(&folder, "state pull").stdout;
    assert!(pulled.contains("lustre sealed") && !pulled.contains(SECRET), "{pulled}");
    must(&folder, "destroy -auto-approve");
    nothing_in_clear(&folder);
}

#[test]
fn a_plan_is_encrypted_shown_and_applied() {
    let folder = Folder::with(&spec(BOTH));
    must(&folder, "plan -out=saved.plan");
    nothing_in_clear(&folder);
    assert!(must(&folder, "show saved.plan").stdout.contains("value.a"));
    assert!(must(&folder, "show -json saved.plan").stdout.contains("resource_changes"));
    assert!(must(&folder, "show -markdown saved.plan").stdout.contains("### lustre plan"));
    assert!(must(&folder, "graph -plan=saved.plan").stdout.contains("create value.a"));
    let given = [("PASSPHRASE_2025", OLD)];
    refused(&folder, "apply saved.plan", &given, &["2026", "LUSTRE_VAR_"]);
    let wrong = [("PASSPHRASE_2025", OLD), ("LUSTRE_VAR_passphrase", "another passphrase, wrong")];
    refused(
        &folder,
        "apply saved.plan",
        &wrong,
        &["saved.plan cannot be used as a plan", "does not open it"],
    );
    let mut command = folder.command("apply saved.plan");
    command.env("PASSPHRASE_2025", OLD).args(["-var", &format!("passphrase={NEW}")]);
    let said = finish(command, "");
    assert_eq!(said.code, Some(0), "an ephemeral variable is given again: {}", said.all());
    nothing_in_clear(&folder);
    assert_eq!(must(&folder, "output -raw a").stdout, SECRET);
}

#[test]
fn a_damaged_encrypted_plan_is_refused_wherever_it_is_hurt() {
    let folder = Folder::with(&spec("plan {\n key = \"2025\"\n}\n"));
    must(&folder, "plan -out=saved.plan");
    let bytes = fs_err::read(folder.path("saved.plan")).expect("it is there");
    let table: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("one byte", bytes[..1].to_vec()),
        ("half a header", bytes[..60].to_vec()),
        ("half", bytes[..bytes.len() / 2].to_vec()),
        ("without its end", bytes[..bytes.len() - 1].to_vec()),
        ("longer", [&bytes[..], b"x"].concat()),
        ("flipped in its body", flipped(&bytes, bytes.len() - 20)),
        ("flipped in its header", flipped(&bytes, 90)),
    ];
    for (name, bytes) in table {
        fs_err::write(folder.path("hurt.plan"), bytes).expect("it can be written");
        let said = both(&folder, "apply hurt.plan");
        assert_eq!(said.code, Some(1), "{name}: {}", said.all());
        assert!(said.stderr.contains("hurt.plan"), "{name}: {}", said.all());
    }
    // What was encrypted as a state does not pass as a plan, nor the other way round.
    must(&folder, "apply saved.plan");
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn keys_rotate_with_the_next_write_or_at_once() {
    let folder = Folder::with(&spec(OLD_STATE));
    must(&folder, "apply -auto-approve");
    assert!(folder.read("lustre.state").contains("\"key\":\"2025\""));
    folder.write("main.hcl", &spec(BOTH));
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
    assert!(folder.read("lustre.state").contains("\"key\":\"2025\""), "reading writes nothing");
    let said = must(&folder, "state rekey");
    assert!(said.stdout.contains("encrypted under the key \"2026\""), "{}", said.all());
    assert!(folder.read("lustre.state").contains("\"key\":\"2026\""));
    folder.write("main.hcl", &spec("state {\n key = \"2026\"\n}\n"));
    let only_new = [("LUSTRE_VAR_passphrase", NEW)];
    assert_eq!(run(&folder, "output -raw a", &only_new).stdout, SECRET, "the old key is needed no more");
    folder.write("main.hcl", &spec(OLD_STATE));
    refused(
        &folder,
        "state list",
        &[("PASSPHRASE_2025", OLD)],
        &["lustre.state cannot be read", "under the key \"2026\"", "previous"],
    );
    // The next write does the same as `rekey`.
    folder.write(
        "main.hcl",
        &spec("state {\n key = \"2025\"\n previous = [\"2026\"]\n}\n").replace(SECRET, "another text here"),
    );
    must(&folder, "apply -auto-approve");
    assert!(folder.read("lustre.state").contains("\"key\":\"2025\""));
}

#[test]
fn a_plain_state_is_taken_in_and_given_back() {
    let plain = spec("");
    let folder = Folder::with(&plain);
    must(&folder, "apply -auto-approve");
    assert!(folder.read("lustre.state").contains(SECRET));
    folder.write("main.hcl", &spec(OLD_STATE));
    refused(
        &folder,
        "plan",
        &[("PASSPHRASE_2025", OLD), ("LUSTRE_VAR_passphrase", NEW)],
        &["it is not encrypted", "migrate"],
    );
    folder.write("main.hcl", &spec("state {\n key = \"2025\"\n plaintext = \"migrate\"\n}\n"));
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
    must(&folder, "state rekey");
    nothing_in_clear(&folder);
    folder.write("main.hcl", &spec(OLD_STATE));
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
    folder.write("main.hcl", &plain);
    refused(
        &folder,
        "state list",
        &[("LUSTRE_VAR_passphrase", NEW)],
        &["is encrypted under the key \"2025\"", "no `encryption`"],
    );
    folder.write("main.hcl", &spec("state {\n previous = [\"2025\"]\n plaintext = \"write\"\n}\n"));
    let said = must(&folder, "state rekey");
    assert!(said.stdout.contains("is not encrypted"), "{}", said.all());
    folder.write("main.hcl", &plain);
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
}

#[test]
fn a_plain_plan_is_refused_where_encryption_is_demanded() {
    let folder = Folder::with(&spec(""));
    must(&folder, "plan -out=saved.plan");
    folder.write("main.hcl", &spec(BOTH));
    let given = [("PASSPHRASE_2025", OLD), ("LUSTRE_VAR_passphrase", NEW)];
    refused(
        &folder,
        "apply saved.plan",
        &given,
        &["saved.plan cannot be used as a plan", "it is not encrypted"],
    );
    folder.write("main.hcl", &spec("plan {\n key = \"2025\"\n}\n"));
    must(&folder, "plan -out=saved.plan");
    folder.write("main.hcl", &spec(""));
    refused(&folder, "show saved.plan", &given, &["saved.plan cannot be used as a plan", "no `encryption`"]);
    folder.write("main.hcl", "lustre {");
    refused(&folder, "apply saved.plan", &given, &["main.hcl"]);
}

#[test]
fn what_encryption_says_wrongly_is_refused_by_name() {
    let key = |body: &str| {
        format!("lustre {{\n encryption {{\n key \"k\" {{\n{body}\n}}\n state {{\n key = \"k\"\n}}\n}}\n}}\n")
    };
    let uses = |body: &str| {
        format!(
            "lustre {{\n encryption {{\n key \"k\" {{\n passphrase_environment = \"P\"\n}}\n{body}\n}}\n}}\n"
        )
    };
    let variable = "variable \"v\" {\n ephemeral = true\n default = \"long enough to be one\"\n}\nvariable \"w\" {\n default = \"long enough to be one\"\n}\n";
    for (text, causes) in [
        (key("passphrase = \"written in clear in here\""), &["E0985", "it is not a variable alone"][..]),
        (key("passphrase = file(\"main.hcl\")"), &["E0985", "it is not a variable alone"]),
        (format!("{}{variable}", key("passphrase = \"${var.v}x\"")), &["E0985"]),
        (format!("{}{variable}", key("passphrase = var.v")), &["E0985", "has a default"]),
        (format!("{}{variable}", key("passphrase = var.w")), &["E0985", "not ephemeral"]),
        (key("passphrase_file = \"absent\""), &["E0988", "absent"]),
        (key("passphrase_environment = \"ABSENT\""), &["E0988", "no ABSENT"]),
        (key("passphrase_environment = \"SHORT\""), &["E0988", "at least 16 bytes"]),
        (key("command = []"), &["E0988", "list of texts"]),
        (key(""), &["E0987", "not plain what the key \"k\" is"]),
        (key("passphrase_file = \"x\"\n command = [\"y\"]"), &["E0987"]),
        (key("passfrase_file = \"x\""), &["E0986", "no attribute `passfrase_file`"]),
        (uses("state {\n key = \"other\"\n}"), &["E0987", "no key \"other\"", "There are: k."]),
        (uses("key \"unused\" {\n passfile = \"x\"\n}"), &["E0986", "no attribute `passfile`"]),
        (uses("state {\n}"), &["E0986", "`state` names no key"]),
        (
            uses("state {\n key = \"k\"\n plaintext = \"maybe\"\n}"),
            &["E0986", "`plaintext` is not understood"],
        ),
        (
            uses("state {\n key = \"k\"\n plaintext = \"write\"\n}"),
            &["E0986", "`plaintext` is not understood"],
        ),
        (uses("state {\n key = \"k\"\n}\nstate {\n key = \"k\"\n}"), &["E0986", "twice"]),
        (uses("state {\n key = \"k\"\n previous = \"k\"\n}"), &["E0986", "a list of texts"]),
        (uses("stat {\n}"), &["E0986", "no block `stat`"]),
        (uses("plan {\n signed_by = [\"absent.pub\"]\n}"), &["E0988", "absent.pub"]),
    ] {
        let folder = Folder::with(&format!("{text}value \"a\" {{\n}}\n"));
        let given = [("P", "long enough to be one"), ("SHORT", "short")];
        let words = if text.contains("signed_by") { "plan -out=p" } else { "plan" };
        refused(&folder, words, &given, causes);
        // What needs no key to be seen is seen without one.
        if !causes[0].contains("E0988") {
            refused(&folder, "validate", &[], causes);
        }
    }
}

#[test]
fn a_spec_is_valid_before_anybody_gives_a_passphrase() {
    let which = "variable \"which\" {\n type = string\n}\n";
    let folder = Folder::with(&format!("{}{which}", spec("state {\n key = var.which\n}\n")));
    folder.must("validate");
    let said = run(&folder, "plan -input=false -var which=2026", &[]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("E0988") && said.stderr.contains("LUSTRE_VAR_"), "{}", said.all());
}

/// A command that wraps by turning the text around, and notes that it was asked.
const COMMAND: &str = r#"#!/bin/sh
read -r line
echo "$line" | grep -o '"operation":"[a-z]*"' >> asked
case "$line" in
  *'"operation":"wrap"'*)   printf '{"wrapped":"%s"}' "$(echo "$line" | sed 's/.*"data_key":"\([^"]*\)".*/\1/')" ;;
  *'"operation":"unwrap"'*) printf '{"data_key":"%s"}' "$(echo "$line" | sed 's/.*"wrapped":"\([^"]*\)".*/\1/')" ;;
esac
"#;

#[test]
fn a_command_wraps_the_keys() {
    let uses = "key \"kms\" {\n command = [\"sh\", \"wrap.sh\"]\n}\nstate {\n key = \"kms\"\n}\n";
    let folder = Folder::with(&spec(uses));
    folder.write("wrap.sh", COMMAND);
    must(&folder, "apply -auto-approve");
    nothing_in_clear(&folder);
    assert_eq!(folder.read("asked").lines().collect::<Vec<_>>(), ["\"operation\":\"wrap\""]);
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
    for (script, cause) in [
        ("cat >/dev/null; exit 3", "exit status: 3"),
        ("cat >/dev/null; echo nonsense", "did not answer"),
        ("cat >/dev/null; echo '{\"data_key\":\"AAAA\"}'", "does not open it"),
        ("true", "did not answer"),
    ] {
        folder.write("wrap.sh", script);
        refused(&folder, "state list", &[("LUSTRE_VAR_passphrase", NEW)], &[cause]);
    }
    folder.write("main.hcl", &spec(&uses.replace("\"sh\", ", "\"absent-command\", ")));
    refused(&folder, "state list", &[("LUSTRE_VAR_passphrase", NEW)], &["absent-command does not start"]);
}

#[test]
fn a_state_in_a_bucket_is_encrypted_too() {
    let bucket = Bucket::new();
    let text = spec("state {\n key = \"2025\"\n}\n");
    let state = bucket.state("").replace("lustre {", "");
    let state = state.trim().trim_end_matches('}');
    let folder = Folder::with(&text.replacen("lustre {", &format!("lustre {{\n{state}\n"), 1));
    must(&folder, "apply -auto-approve");
    assert_eq!(must(&folder, "output -raw a").stdout, SECRET);
    must(&folder, "apply -auto-approve -replace=value.a");
    let objects = bucket.objects();
    assert!(objects.contains(&"prod.state".to_owned()), "{objects:?}");
    for name in objects {
        let bytes = fs_err::read(bucket.file(&name)).expect("it is there");
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{name}");
    }
    let wrong = [("PASSPHRASE_2025", "another passphrase, wrong"), ("LUSTRE_VAR_passphrase", NEW)];
    refused(&folder, "state list", &wrong, &["cannot be read", "does not open it"]);
}

#[test]
fn a_plain_state_is_encrypted_as_it_moves() {
    let bucket = Bucket::new();
    let folder = Folder::with(&spec(""));
    must(&folder, "apply -auto-approve");
    let state = bucket.state("").replace("lustre {", "");
    let state = state.trim().trim_end_matches('}');
    let moved = |uses: &str| spec(uses).replacen("lustre {", &format!("lustre {{\n{state}\n"), 1);
    let given = [("PASSPHRASE_2025", OLD), ("LUSTRE_VAR_passphrase", NEW)];
    folder.write("main.hcl", &moved(OLD_STATE));
    refused(&folder, "init -migrate-state", &given, &["it is not encrypted", "migrate"]);
    folder.write("main.hcl", &moved("state {\n key = \"2025\"\n plaintext = \"migrate\"\n}\n"));
    must(&folder, "init -migrate-state");
    folder.write("main.hcl", &moved(OLD_STATE));
    assert_eq!(must(&folder, "output -raw a").stdout, SECRET);
    let bytes = fs_err::read(bucket.file("prod.state")).expect("it is there");
    assert!(!String::from_utf8_lossy(&bytes).contains(SECRET));
}

#[test]
fn another_deployments_encrypted_state_is_read_under_our_own_keys() {
    let other = Folder::with(&spec(OLD_STATE));
    must(&other, "apply -auto-approve");
    let state = other.path("lustre.state");
    let data = format!("data \"cluster\" \"o\" {{\n state = \"{}\"\n name = \"x\"\n}}\n", state.display());
    for (text, said) in [
        (data.clone(), "is encrypted under the key \"2025\"; `data` reads it when"),
        (format!("{}{data}", spec("state {\n key = \"2026\"\n}\n")), "`encryption` reads \"2026\""),
        // It is read, and has no such cluster.
        (format!("{}{data}", spec(BOTH)), "records no cluster"),
    ] {
        let folder = Folder::with(&text);
        let found = both(&folder, "plan");
        assert_eq!(found.code, Some(1), "{}", found.all());
        let flat = found.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(flat.contains(said), "{said}: {}", found.all());
    }
}

/// Runs `openssl`, as the documentation says.
fn openssl(folder: &Folder, words: &str) {
    let mut command = Command::new("openssl");
    command.args(words.split_whitespace()).current_dir(folder.path(""));
    let said = finish(command, "");
    assert_eq!(said.code, Some(0), "openssl {words}: {}", said.all());
}

fn keys(folder: &Folder, name: &str) {
    openssl(folder, &format!("genpkey -algorithm ed25519 -out {name}.key"));
    openssl(folder, &format!("pkey -in {name}.key -pubout -out {name}.pub"));
}

#[test]
fn a_signed_plan_is_applied_only_as_it_was_signed() {
    let text = "value \"a\" {\n  input = 1\n}\n";
    let folder = Folder::with(text);
    keys(&folder, "ci");
    keys(&folder, "mallory");
    folder.must("plan -out=plain.plan");
    folder.must("plan -out=signed.plan -sign-key=ci.key");
    refused(
        &folder,
        "apply -verify-key=ci.pub plain.plan",
        &[],
        &["plain.plan cannot be trusted", "it is not signed", "-sign-key"],
    );
    refused(&folder, "apply -verify-key=mallory.pub signed.plan", &[], &["it is signed by the key"]);
    refused(&folder, "apply -verify-key=ci.key signed.plan", &[], &["not a public key"]);
    refused(&folder, "apply -verify-key=absent.pub signed.plan", &[], &["absent.pub"]);
    refused(&folder, "plan -out=x.plan -sign-key=ci.pub", &[], &["ci.pub", "not a private key"]);
    let bytes = fs_err::read(folder.path("signed.plan")).expect("it is there");
    for (name, at) in [
        ("header", 30),
        ("key", 60),
        ("signature", 160),
        ("plan", bytes.len() - 40),
        ("end", bytes.len() - 1),
    ] {
        fs_err::write(folder.path("hurt.plan"), flipped(&bytes, at)).expect("it can be written");
        let said = folder.run("apply -verify-key=ci.pub hurt.plan");
        assert_eq!(said.code, Some(1), "{name}: {}", said.all());
    }
    fs_err::remove_file(folder.path("hurt.plan")).expect("it is there");
    // The spec of the folder demands it too; the flag counts instead.
    folder.write("main.hcl", &format!("lustre {{\n  encryption {{\n    plan {{\n      signed_by = [\"ci.pub\"]\n    }}\n  }}\n}}\n{text}"));
    refused(&folder, "apply plain.plan", &[], &["it is not signed"]);
    refused(&folder, "show plain.plan", &[], &["it is not signed"]);
    assert!(folder.must("show signed.plan").stdout.contains("value.a"));
    folder.must("apply -verify-key=mallory.pub -verify-key=ci.pub signed.plan");
    assert_eq!(folder.must("state list").stdout, "value.a\n");
}

#[test]
fn an_encrypted_plan_is_signed_too() {
    let folder = Folder::with(&spec("plan {\n key = \"2025\"\n signed_by = [\"ci.pub\"]\n}\n"));
    keys(&folder, "ci");
    must(&folder, "plan -out=saved.plan -sign-key=ci.key");
    nothing_in_clear(&folder);
    must(&folder, "apply saved.plan");
    assert_eq!(must(&folder, "state list").stdout, "value.a\n");
}
