//! Specs that are wrong, each a file `bad/<name>.hcl` with what `validate` says about it in `bad/<name>.txt`.
//!
//! Adding a case is adding a file; `LUSTRE_BLESS=1` writes what is said now, to be read before it is kept.

use crate::folder::{Folder, cases};

#[test]
fn every_wrong_spec_is_told_what_is_wrong_where_and_what_to_do() {
    let mut names: Vec<String> = fs_err::read_dir(cases())
        .expect("the cases are there")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".hcl").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 15, "only {} cases are found", names.len());
    let bless = std::env::var_os("LUSTRE_BLESS").is_some();
    let mut different = Vec::new();
    for name in names {
        let text = fs_err::read_to_string(cases().join(format!("{name}.hcl"))).expect("a case can be read");
        let folder = Folder::with(&text);
        let said = folder.run("validate");
        assert_eq!(said.code, Some(1), "{name}: {}", said.all());
        assert_eq!(said.stdout, "", "{name}: errors do not go to standard output");
        assert!(said.stderr.contains("main.hcl:"), "{name} names the place: {}", said.all());
        let golden = cases().join(format!("{name}.txt"));
        if bless {
            fs_err::write(&golden, &said.stderr).expect("it can be written");
        }
        let expected = fs_err::read_to_string(&golden).unwrap_or_default();
        if expected != said.stderr {
            different.push(format!("== {name}\n-- expected\n{expected}-- said\n{}", said.stderr));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn bytes_that_are_not_utf_8_are_told_with_their_place() {
    let module = "module \"m\" {\n  source = \"./m\"\n}\n";
    for (file, spec) in [("main.hcl", ""), ("m/main.hcl", module), ("lustre.vars.hcl", "")] {
        let folder = Folder::with(spec);
        fs_err::create_dir_all(folder.path("m")).expect("a folder is made");
        fs_err::write(folder.path(file), b"# \xc3\xa4\nlocals {\n  a = \"\xc3\xa4\xff\"\n}\n")
            .expect("it is written");
        let said = folder.run("validate");
        assert_eq!(said.code, Some(1), "{file}: {}", said.all());
        assert!(said.stderr.contains(&format!("{file}:3:9 is not UTF")), "{file}: {}", said.all());
    }
}
