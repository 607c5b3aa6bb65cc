//! Plans in files: carried out exactly, refused when they are stale, foreign, damaged or made for another state.

use lustre_model::plan::PLAN_VERSION;

use crate::folder::Folder;

const SPEC: &str = "value \"a\" {\n  input = 1\n}\n\noutput \"a\" {\n  value = value.a.output\n}\n";

#[test]
fn a_saved_plan_is_applied_without_asking_and_without_reading_the_spec_again() {
    let folder = Folder::with(SPEC);
    let plan = folder.must("plan -out=saved.plan");
    assert!(plan.stdout.contains("saved.plan"), "the next command is told: {}", plan.all());
    folder.write("main.hcl", "value \"a\" {\n  input = 2\n}\n");
    folder.must("apply saved.plan");
    assert_eq!(folder.must("output -raw a").stdout, "1");
}

#[test]
fn a_stale_plan_is_refused() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    folder.must("apply -auto-approve");
    let stale = folder.run("apply saved.plan");
    assert_eq!(stale.code, Some(1), "{}", stale.all());
    assert!(stale.stderr.contains("stale") && stale.stderr.contains("plan again"), "{}", stale.all());
}

#[test]
fn a_plan_of_another_state_is_refused() {
    let (one, two) = (Folder::with(SPEC), Folder::with(SPEC));
    for folder in [&one, &two] {
        folder.must("apply -auto-approve");
        folder.write("main.hcl", &SPEC.replace('1', "2"));
    }
    one.must("plan -out=saved.plan");
    fs_err::copy(one.path("saved.plan"), two.path("saved.plan")).expect("a plan can be copied");
    let foreign = two.run("apply saved.plan");
    assert_eq!(foreign.code, Some(1), "{}", foreign.all());
    assert!(foreign.stderr.contains("was made for the state"), "{}", foreign.all());
}

#[test]
fn a_file_that_is_not_this_plan_whole_is_refused_with_reason_and_remedy() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    folder.must("apply -auto-approve");
    let state = fs_err::read(folder.path("lustre.state")).expect("the state is there");
    let other = Folder::with(SPEC);
    fs_err::copy(folder.path("saved.plan"), other.path("saved.plan")).expect("a plan can be copied");
    let bytes = fs_err::read(folder.path("saved.plan")).expect("the plan is there");
    let body = bytes.iter().position(|byte| *byte == b'\n').expect("it has a header") + 1;
    let text = |from: &str, to: &str| String::from_utf8_lossy(&bytes).replacen(from, to, 1).into_bytes();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let ours = format!("\"version\":{PLAN_VERSION}");
    let newer = format!("has version 99, and this lustre carries out version {PLAN_VERSION}; plan again");
    let (foreign, altered) =
        ("it is not a plan of lustre", "altered or cut off since it was made; plan again");
    for (name, bytes, cause) in [
        ("empty", Vec::new(), "it is empty; plan again"),
        ("one byte", bytes[..1].to_vec(), foreign),
        ("half a header", bytes[..body / 2].to_vec(), foreign),
        ("a header alone", bytes[..body].to_vec(), altered),
        ("half", bytes[..bytes.len() / 2].to_vec(), altered),
        ("without its end", bytes[..bytes.len() - 1].to_vec(), altered),
        ("longer", [&bytes[..], b"x"].concat(), altered),
        ("a bit of its body", flipped(body + 100), altered),
        ("a bit of its checksum", flipped(body - 10), altered),
        ("a bit of its format", flipped(12), foreign),
        ("newer", text(&ours, "\"version\":99"), &newer),
        ("older", text(&ours, "\"version\":1"), "has version 1, and"),
        ("a state", state, foreign),
        ("a spec", SPEC.into(), foreign),
        (
            "Terraform's, which is a zip",
            b"PK\x03\x04\x14\0\x08\0".to_vec(),
            "it is a plan of Terraform or OpenTofu",
        ),
        (
            "JSON of a plan",
            b"{\"format_version\":\"1.2\",\"resource_changes\":[]}\n".to_vec(),
            "what `show -json` prints",
        ),
    ] {
        fs_err::write(other.path("odd.plan"), &bytes).expect("it can be written");
        for words in ["apply odd.plan", "show odd.plan"] {
            let said = other.run(words);
            assert_eq!(said.code, Some(1), "{name}: {}", said.all());
            let flat = said.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                flat.contains("odd.plan cannot be read as a plan") && flat.contains(cause),
                "{name}: {}",
                said.all()
            );
        }
        assert_eq!(fs_err::read(other.path("odd.plan")).expect("it is there"), bytes, "{name} is kept");
        assert!(!other.path("lustre.state").exists(), "{name}: nothing was applied");
    }
    let said = other.run("apply absent.plan");
    assert!(said.code == Some(1) && said.stderr.contains("absent.plan"), "{}", said.all());
    other.must("apply saved.plan");
}

#[test]
fn flags_that_shape_a_plan_are_refused_with_a_saved_one() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    for (words, flag) in [
        ("apply -var x=1 saved.plan", "-var"),
        ("apply -var-file=x.vars.hcl saved.plan", "x.vars.hcl"),
        ("apply -target=value.a saved.plan", "-target"),
        ("apply -refresh=false saved.plan", "-refresh"),
    ] {
        let said = folder.run(words);
        assert_eq!(said.code, Some(1), "{}", said.all());
        assert!(said.stderr.contains(flag), "{}", said.all());
    }
}

#[test]
fn a_plan_to_destroy_can_be_saved() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    folder.must("plan -destroy -out=saved.plan");
    folder.must("apply saved.plan");
    assert_eq!(folder.must("state list").stdout, "");
}

#[test]
fn a_saved_plan_is_shown() {
    let folder = Folder::with(SPEC);
    folder.must("plan -out=saved.plan");
    assert!(folder.must("show saved.plan").stdout.contains("value.a"));
    let json = folder.must("show -json saved.plan").json();
    assert_eq!(json["resource_changes"][0]["address"], "value.a");
}

#[test]
fn a_plan_becomes_a_comment_for_a_pull_request() {
    let folder = Folder::with(&format!(
        "{SPEC}\ncheck \"small\" {{\n  assert {{\n    condition     = false\n    error_message = \"too </details> large\"\n  }}\n}}\n"
    ));
    folder.must("plan -out=saved.plan -markdown-into=comment.md");
    let shown = folder.must("show -markdown saved.plan").stdout;
    assert!(
        shown.starts_with("<!-- lustre plan -->\n### lustre plan: 1 to add, 0 to change, 0 to destroy\n"),
        "{shown}"
    );
    let written = folder.read("comment.md");
    assert!(written.contains("#### Warnings\n\n```\nmain.hcl:"), "a saved plan has no warnings: {written}");
    assert!(
        written.contains("too </details> large") && !shown.contains("too </details>"),
        "{written}{shown}"
    );
    use std::os::unix::fs::MetadataExt as _;
    let mode = fs_err::metadata(folder.path("comment.md")).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = folder.run("show -markdown");
    assert_eq!(said.code, Some(1), "only a plan is a comment: {}", said.all());
}

#[test]
fn a_result_is_never_written_over_the_state_or_a_spec() {
    let folder = Folder::with(SPEC);
    folder.must("apply -auto-approve");
    let before = (folder.read("lustre.state"), folder.read("main.hcl"));
    for flag in ["-out", "-json-into", "-markdown-into"] {
        for name in ["lustre.state", "main.hcl"] {
            let said = folder.run(&format!("plan {flag}={name}"));
            assert_eq!(said.code, Some(1), "{flag}={name}: {}", said.all());
            assert!(said.stderr.contains("which would be lost"), "{flag}={name}: {}", said.all());
        }
    }
    assert_eq!((folder.read("lustre.state"), folder.read("main.hcl")), before);
    folder.must("plan -out=again.plan");
    folder.must("plan -out=again.plan");
}
