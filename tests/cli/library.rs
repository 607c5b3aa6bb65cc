//! The modules that come with the program: each plans its example, and its README is made from its own descriptions.

use std::path::PathBuf;

use crate::folder::Folder;

fn modules() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("modules");
    let entries = fs_err::read_dir(root).expect("there are modules").flatten();
    let mut modules: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    modules.sort();
    assert!(modules.len() >= 2, "{modules:?}");
    modules
}

#[test]
fn every_module_plans_its_example() {
    for module in modules() {
        let folder = Folder::new();
        let example = module.join("example").join("main.hcl");
        let text = fs_err::read_to_string(&example).expect("a module has an example");
        folder.write("main.hcl", &text.replace("\"../\"", &format!("\"{}\"", "./module")));
        fs_err::create_dir(folder.path("module")).expect("a folder can be made");
        for entry in fs_err::read_dir(&module).expect("a module can be read").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".hcl") {
                fs_err::copy(entry.path(), folder.path("module").join(name)).expect("a file can be copied");
            }
        }
        // What lies on hosts has a folder there; what is in AWS has none.
        let on_hosts = text.contains("variable \"root\"");
        let root = if on_hosts { "-var root=/srv/lab" } else { "" };
        let said = folder.run(&format!("plan -refresh=false -input=false -detailed-exitcode {root}"));
        assert_eq!(said.code, Some(2), "{}: {}", module.display(), said.all());
        let wanted = match on_hosts {
            true => ["host.", "module.", "will be created", "data_compression_type"],
            false => ["provider", "module.", "will be created", "tags_all"],
        };
        assert!(wanted.iter().all(|text| said.stdout.contains(text)), "{}", said.all());
    }
}

#[test]
fn the_readme_of_every_module_is_what_docs_makes() {
    let folder = Folder::new();
    for module in modules() {
        let said = folder.run(&format!("docs -check {}", module.display()));
        assert_eq!(said.code, Some(0), "lustre docs -write {}: {}", module.display(), said.all());
    }
    let path = modules().swap_remove(0);
    let text = folder.must(&format!("docs {}", path.display())).stdout;
    assert!(text.contains("## Inputs") && text.contains("| `"), "{text}");
    folder.write("main.hcl", "# A module.\nvariable \"a\" {\n  default = [1,\n    2]\n}\n");
    folder.must("docs -write");
    let read = folder.read("README.md");
    assert!(read.contains("\nA module.\n") && read.contains("`[1, 2]`"), "{read}");
    folder.write("README.md", "old");
    assert_eq!(folder.run("docs -check").code, Some(3));
}
