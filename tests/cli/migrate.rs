//! A spec whose state moves: another place is never begun anew by accident, and `init -migrate-state` takes the state along.

use crate::bucket::Bucket;
use crate::folder::Folder;
use crate::server::Server;

const VALUES: &str = "value \"a\" {\n  input = 1\n}\n\nvalue \"b\" {\n  input = value.a.output + 1\n}\n";

fn on_server(server: &Server) -> String {
    let address = server.address();
    format!(
        "lustre {{\n  state \"http\" {{\n    address = \"{address}\"\n    lock_address = \"{address}/lock\"\n    \
         retry_wait_min = 0\n  }}\n}}\n{VALUES}"
    )
}

fn token(folder: &Folder) -> u64 {
    let pulled = folder.must("state pull").stdout;
    let header: serde_json::Value =
        serde_json::from_str(pulled.lines().next().expect("a header")).expect("the header is JSON");
    header["token"].as_u64().expect("it has a token")
}

#[test]
fn a_state_goes_from_a_file_to_a_bucket_to_a_server_and_back() {
    let (bucket, server) = (Bucket::new(), Server::new());
    let folder = Folder::with(VALUES);
    folder.must("apply -auto-approve");
    folder.must("apply -auto-approve -replace=value.a");
    let expected = folder.must("show -json").json()["values"].clone();
    let in_bucket = format!("{}{VALUES}", bucket.state(""));
    let local = format!("lustre {{\n  state \"local\" {{\n    path = \"back.state\"\n  }}\n}}\n{VALUES}");
    let mut before = token(&folder);
    for spec in [&in_bucket, &on_server(&server), &local] {
        folder.write("main.hcl", spec);
        for words in ["init", "plan", "apply -auto-approve", "state list", "destroy -auto-approve"] {
            let said = folder.run(words);
            assert_eq!(said.code, Some(1), "{words}: {}", said.all());
            assert!(said.stderr.contains("init -migrate-state"), "{words}: {}", said.all());
        }
        let said = folder.must("init -migrate-state");
        assert!(said.stdout.contains("2 objects"), "{}", said.all());
        assert_eq!(folder.must("show -json").json()["values"], expected);
        assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
        let after = token(&folder);
        assert!(after > before, "agents take orders under the new place's tokens: {before}, {after}");
        before = after;
        let again = folder.must("init -migrate-state");
        assert!(again.stdout.contains("nothing to migrate"), "{}", again.all());
    }
    assert!(server.contents().lock.is_none());
    assert!(folder.names().contains(&"lustre.state.migrated".to_owned()), "{:?}", folder.names());
}

#[test]
fn a_place_that_holds_another_state_is_not_replaced() {
    let bucket = Bucket::new();
    let in_bucket = format!("{}{VALUES}", bucket.state(""));
    let other = Folder::with(&in_bucket);
    other.must("apply -auto-approve");
    let folder = Folder::with("value \"mine\" {\n  input = 1\n}\n");
    folder.must("apply -auto-approve");
    let kept = folder.read("lustre.state");
    folder.write("main.hcl", &in_bucket);
    let said = folder.run("init -migrate-state");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("holds another state"), "{}", said.all());
    assert_eq!(folder.read("lustre.state"), kept);
    assert_eq!(other.must("state list").stdout, "value.a\nvalue.b\n");
}

#[test]
fn a_former_place_that_cannot_be_asked_is_an_error_and_not_nothing() {
    let folder = {
        let server = Server::new();
        let folder = Folder::with(&on_server(&server));
        folder.must("apply -auto-approve");
        folder
    };
    folder.write("main.hcl", VALUES);
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("which cannot be read"), "{}", said.all());
    assert!(said.stderr.contains(".lustre/state.json"), "{}", said.all());
}

#[test]
fn an_emptied_state_may_be_left_behind() {
    let bucket = Bucket::new();
    let folder = Folder::with(VALUES);
    folder.must("apply -auto-approve");
    folder.must("destroy -auto-approve");
    folder.write("main.hcl", &format!("{}{VALUES}", bucket.state("")));
    folder.must("apply -auto-approve");
    assert_eq!(folder.must("state list").stdout, "value.a\nvalue.b\n");
}

#[test]
fn an_older_copy_of_the_state_is_never_gone_on_from() {
    let bucket = Bucket::new();
    let spec =
        |key: &str, more: &str| format!("{}{VALUES}{more}", bucket.state("").replace("prod.state", key));
    let folder = Folder::with(&spec("a.state", ""));
    folder.must("apply -auto-approve");
    folder.write("main.hcl", &spec("b.state", ""));
    folder.must("init -migrate-state");
    let more = "value \"c\" {\n  input = 3\n}\n";
    folder.write("main.hcl", &spec("b.state", more));
    folder.must("apply -auto-approve");
    // As a revert of the commit that moved it would have it.
    folder.write("main.hcl", &spec("a.state", more));
    for words in ["plan", "apply -auto-approve", "destroy -auto-approve", "state list"] {
        let said = folder.run(words);
        assert_eq!(said.code, Some(1), "{words}: {}", said.all());
        assert!(said.all().contains("is a copy at serial"), "{words}: {}", said.all());
    }
    folder.must("init -migrate-state");
    assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0));
}

#[test]
fn another_file_for_the_state_is_another_place() {
    let spec =
        |path: &str| format!("lustre {{\n  state \"local\" {{\n    path = \"{path}\"\n  }}\n}}\n{VALUES}");
    let folder = Folder::with(VALUES);
    folder.must("apply -auto-approve");
    for (path, before) in [("o.state", "lustre.state"), ("p.state", "o.state")] {
        folder.write("main.hcl", &spec(path));
        let said = folder.run("plan");
        assert_eq!(said.code, Some(1), "{path}: {}", said.all());
        assert!(said.all().contains(&format!("had it at {before} before")), "{path}: {}", said.all());
        folder.must("init -migrate-state");
        assert_eq!(folder.run("plan -detailed-exitcode").code, Some(0), "{path}");
    }
}
