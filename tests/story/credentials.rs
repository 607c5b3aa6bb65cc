//! Certificates while everything runs: another one for who has one that ends, credentials for other machines, and their end.

use std::time::{Duration, SystemTime};

use fs_err as fs;
use lustre_wire::authority::{Authority, KeyPair, Validity};
use lustre_wire::{Issued, Role, Subject};
use serde_json::Value as Json;

use crate::lab::{Lab, Said, ended, wait_until};

const DAY: Duration = Duration::from_hours(24);

fn flat(said: &Said) -> String {
    said.all().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Finds a text below a name, wherever it is.
fn find<'a>(json: &'a Json, name: &str) -> Option<&'a str> {
    match json {
        Json::Object(fields) => fields
            .get(name)
            .and_then(Json::as_str)
            .or_else(|| fields.values().find_map(|value| find(value, name))),
        Json::Array(items) => items.iter().find_map(|value| find(value, name)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}

/// The authority of the story's cluster, as its state has it.
fn authority(lab: &Lab) -> Authority {
    let state = lab.must(["state", "pull"]).stdout;
    let state: Json = serde_json::Deserializer::from_str(&state)
        .into_iter::<Json>()
        .flatten()
        .collect::<Vec<Json>>()
        .into();
    let text = |name| find(&state, name).expect("the state has the cluster's authority");
    Authority::load(text("authority_certificate"), text("authority_key")).expect("it is one")
}

/// Gives a process a certificate that ends so soon.
fn shorten(lab: &Lab, authority: &Authority, (process, role, name): (&str, Role, &str), valid: Duration) {
    let folder = lab.path("agent/processes").join(process);
    let key = KeyPair::from_pem(&fs::read_to_string(folder.join("key.pem")).expect("a key")).expect("a key");
    let now = SystemTime::now();
    let validity = Validity { from: now - DAY, until: now + valid };
    let subject = Subject::new("story", role, name);
    let csr = key.csr().expect("a request");
    let certificate = authority.sign_within(&csr, &subject, Some(validity)).expect("it is signed");
    // In place at once, as the agent writes it.
    fs::write(folder.join("new"), certificate).expect("written");
    fs::rename(folder.join("new"), folder.join("cert.pem")).expect("in place");
}

fn folders(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.path("agent/processes")).expect("there are processes");
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// How many days each process's certificate is good.
fn days_left(lab: &Lab) -> Vec<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_secs();
    let path = |name: &String| lab.path("agent/processes").join(name).join("cert.pem");
    let until = |name| Issued::of_pem(&fs::read_to_string(path(name)).expect("one")).expect("one").until;
    folders(lab).iter().map(|name| (until(name) - now) / 86_400).collect()
}

#[test]
fn certificates_that_end_get_successors_and_nothing_that_runs_is_interrupted() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(1, "NONE") + &lab.mount("mnt")));
    lab.apply();
    let processes = lab.processes();
    let authority = authority(&lab);
    assert!(days_left(&lab).iter().all(|days| *days >= 700), "{:?}", days_left(&lab));
    assert_eq!(lab.must(["plan", "-detailed-exitcode"]).code, Some(0), "nothing is to be done");
    let status = lab.must(["status"]);
    assert!(status.stdout.contains("certificate until"), "{}", status.all());

    // A file stays open over all of it.
    let open = fs::File::create(lab.path("mnt/open")).expect("a file can be made");
    let path = lab.path("mnt").display().to_string();
    let names = folders(&lab);
    let shortened = |valid: Duration| {
        for name in &names {
            if name.contains("OST") {
                shorten(&lab, &authority, (name, Role::Target, "story-OST0000"), valid);
            } else if name.contains("MDT") {
                shorten(&lab, &authority, (name, Role::Target, "story-MDT0000"), valid);
            } else {
                shorten(&lab, &authority, (name, Role::Client, &format!("host.here:{path}")), valid);
            }
        }
    };
    shortened(DAY * 90);
    let plan = lab.must(["plan"]);
    assert!(flat(&plan).contains("W1002"), "{}", plan.all());
    assert!(plan.stdout.contains("0 to add, 3 to change, 0 to destroy"), "{}", plan.all());
    assert_eq!(lab.lustre(["status"]).code, Some(0), "there is time");
    shortened(DAY * 9);
    let status = lab.lustre(["status"]);
    assert_eq!(status.code, Some(1), "{}", status.all());
    assert!(flat(&status).contains("ends on") && flat(&status).contains("apply"), "{}", status.all());

    lab.apply();
    assert!(days_left(&lab).iter().all(|days| *days >= 700), "{:?}", days_left(&lab));
    assert_eq!(lab.processes(), processes, "no process was started anew");
    std::io::Write::write_all(&mut open.into_file(), b"still open").expect("it goes on");
    assert_eq!(lab.read("mnt/open"), "still open");
    assert_eq!(lab.must(["plan", "-detailed-exitcode"]).code, Some(0));
    assert_eq!(lab.lustre(["status"]).code, Some(0));
}

#[test]
fn a_credential_mounts_elsewhere_until_it_is_revoked_and_then_it_is_good_for_nothing() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(2, "NONE") + &lab.mount("mnt") + &lab.mount("lost")));
    lab.apply();
    fs::write(lab.path("mnt/secret"), vec![7; 3 << 20]).expect("written");

    let said = lab.lustre(["credential", "issue", "cluster.other", "anna", "-out=anna.json"]);
    assert!(said.code == Some(1) && flat(&said).contains("is not a cluster"), "{}", said.all());
    assert!(!lab.path("anna.json").exists());
    let said = lab.must(["credential", "issue", "cluster.story", "anna", "-out=anna.json", "-valid=2d"]);
    let (bundle, key) = (lab.read("anna.json"), lab.read("anna.json"));
    let key = serde_json::from_str::<Json>(&key).expect("JSON")["key"].as_str().expect("a key").to_owned();
    assert!(bundle.contains("PRIVATE KEY") && !said.all().contains("PRIVATE"), "{}", said.all());
    assert!(!lab.must(["state", "pull"]).stdout.contains(key.lines().nth(1).expect("a line")));
    assert_eq!(lab.sh("stat -c %a anna.json").trim(), "600");
    let said = lab.lustre(["credential", "issue", "cluster.story", "anna", "-out=again.json"]);
    assert!(said.code == Some(1) && flat(&said).contains("handed out already"), "{}", said.all());
    assert!(!lab.path("again.json").exists());
    let said = lab.lustre(["credential", "issue", "cluster.story", "other", "-out=anna.json"]);
    assert_eq!((said.code, lab.read("anna.json")), (Some(1), bundle), "nothing is written over");

    lab.sh("mkdir elsewhere; chmod 644 anna.json");
    let mount = ["mount", "-credential=anna.json", "elsewhere"];
    let said = lab.lustre(mount);
    assert!(said.code == Some(1) && flat(&said).contains("chmod 600"), "{}", said.all());
    lab.sh("chmod 600 anna.json");
    let mounted = lab.start("elsewhere-log", &mount);
    wait_until("it is mounted", || lab.try_sh("mountpoint -q elsewhere").code == Some(0));
    lab.sh("cmp elsewhere/secret mnt/secret; echo hello > elsewhere/new; [ \"$(cat mnt/new)\" = hello ]");
    let keys = lab.sh("find tmp -name key.pem -printf '%m %h\\n'");
    assert!(keys.starts_with("600 "), "{keys}");
    fs::write(lab.path("mnt/later"), vec![9; 3 << 20]).expect("written");

    let said = lab.must(["credential", "revoke", "cluster.story", "anna"]);
    assert!(flat(&said).contains("3 targets refuse it"), "{}", said.all());
    // Neither what it has not read yet, nor names, nor another start.
    for refused in ["cat elsewhere/later", "touch elsewhere/never", "ls elsewhere"] {
        let said = lab.try_sh(refused);
        assert!(said.code != Some(0) && said.stdout.is_empty(), "{refused}: {}", said.all());
        assert!(said.stderr.contains("Permission denied"), "{refused}: {}", said.all());
    }
    assert!(!lab.path("mnt/never").exists());
    lab.sh("umount -l elsewhere");
    assert_eq!(ended(mounted), Some(0), "an unmount is a good end");
    assert_eq!(lab.sh("find tmp -name key.pem"), "", "the key is gone with the mount");
    let said = lab.lustre(mount);
    assert!(said.code == Some(1) && flat(&said).contains("revoked"), "{}", said.all());
    lab.sh("cmp mnt/later mnt/later; echo x > mnt/goes-on");
    assert_eq!(lab.lustre(["status"]).code, Some(0), "the others are as they were");
    let list = lab.must(["credential", "list"]);
    assert!(list.stdout.contains("anna") && list.stdout.contains("revoked"), "{}", list.all());

    // A mount of the spec whose machine is lost. Nobody answers for the targets at that moment: the next apply tells them.
    let agent = lab.read("agent/agent.pid");
    let agent = serde_json::from_str::<Json>(&agent).expect("JSON")["proof"]["pid"].as_u64().expect("a pid");
    crate::lab::kill(u32::try_from(agent).expect("a pid"));
    let said = lab.lustre(["credential", "revoke", "cluster.story", "mount.lost"]);
    assert!(said.code == Some(1) && flat(&said).contains("3 of 3 targets go on"), "{}", said.all());
    lab.sh("agent/bin/*/lustre-agent start --dir agent");
    let plan = lab.lustre(["plan"]);
    assert!(flat(&plan).contains("still accepts"), "what was not told is drift: {}", plan.all());
    lab.apply();
    let later = lab.try_sh("cat lost/later");
    assert!(later.code != Some(0) && later.stdout.is_empty(), "{}", later.stderr);
    lab.must(["apply", "-auto-approve", "-replace=mount.lost"]);
    lab.sh("cmp lost/later mnt/later");
    assert_eq!(lab.lustre(["status"]).code, Some(0), "with another key it is welcome");
}
