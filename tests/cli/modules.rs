//! Modules in folders: found, sealed in plans, and kept inside of the spec's folders.

use crate::folder::Folder;

const MAIN: &str = "module \"m\" {\n  source   = \"./modules/m\"\n  for_each = toset([\"a\", \"b\"])\n  text     = each.key\n}\n\n\
                    output \"texts\" {\n  value = [for m in module.m : m.text]\n}\n";

const MODULE: &str = "variable \"text\" {\n  type = string\n}\n\nvalue \"v\" {\n  input = \"${path.module} ${var.text}\"\n}\n\n\
                      output \"text\" {\n  value = value.v.output\n}\n";

fn folder() -> Folder {
    let folder = Folder::with(MAIN);
    fs_err::create_dir_all(folder.path("modules/m")).expect("folders can be made");
    folder.write("modules/m/main.hcl", MODULE);
    folder
}

#[test]
fn modules_are_applied_and_listed_under_their_addresses() {
    let folder = folder();
    folder.must("apply -auto-approve");
    let listed = folder.must("state list").stdout;
    assert_eq!(listed, "module.m[\"a\"].value.v\nmodule.m[\"b\"].value.v\n");
    assert_eq!(folder.must("output -json texts").json(), serde_json::json!(["modules/m a", "modules/m b"]));
    let again = folder.run("plan -detailed-exitcode");
    assert_eq!(again.code, Some(0), "{}", again.all());
}

#[test]
fn a_saved_plan_holds_the_modules_it_was_made_from() {
    let folder = folder();
    folder.must("plan -out=saved");
    folder.write("modules/m/main.hcl", "this is not what was planned");
    folder.must("apply saved");
    assert_eq!(folder.must("output -json texts").json(), serde_json::json!(["modules/m a", "modules/m b"]));
}

#[test]
fn mistakes_in_a_module_name_its_file() {
    let folder = folder();
    folder.write("modules/m/main.hcl", &MODULE.replace("var.text}", "var.tezt}"));
    let said = folder.run("validate");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("modules/m/main.hcl"), "{}", said.all());
    assert!(said.stderr.contains("Did you mean `text`?"), "{}", said.all());
}

#[test]
fn a_module_that_leaves_the_folders_by_a_symbolic_link_is_refused() {
    let elsewhere = Folder::with(MODULE);
    let folder = folder();
    fs_err::remove_file(folder.path("modules/m/main.hcl")).expect("it is there");
    fs_err::os::unix::fs::symlink(elsewhere.path("main.hcl"), folder.path("modules/m/main.hcl"))
        .expect("a link can be made");
    let said = folder.run("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    // Long messages are wrapped.
    let words: Vec<&str> = said.stderr.split_whitespace().filter(|word| *word != "│").collect();
    assert!(words.join(" ").contains("outside of the spec's folders"), "{}", said.all());
}

#[test]
fn the_tests_of_our_modules_pass() {
    let modules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
    for name in ["scratch-ml", "s3-linked-cluster"] {
        let said = Folder::new().run(&format!("-chdir={} test", modules.join(name).display()));
        assert_eq!(said.code, Some(0), "{name}: {}", said.all());
        assert!(
            said.stdout.contains("... pass") && said.stdout.contains("Success!"),
            "{name}: {}",
            said.all()
        );
    }
}
