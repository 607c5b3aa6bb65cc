//! Modules in git repositories: fetched, locked, compared, upgraded; and refused when something does not fit.

use std::path::Path;
use std::process::Command;

use crate::folder::{Folder, Said};

fn git(folder: &Path, words: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]);
    let output =
        command.arg("-C").arg(folder).args(words).output().expect("git is installed: apt-get install git");
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn commit(repository: &Folder, text: &str) {
    fs_err::create_dir_all(repository.path("lab/inner")).expect("folders can be made");
    repository.write("lab/main.hcl", &format!("module \"inner\" {{\n  source = \"./inner\"\n}}\noutput \"text\" {{\n  value = \"{text} ${{module.inner.x}}\"\n}}\n"));
    repository.write("lab/inner/main.hcl", "output \"x\" {\n  value = \"inner\"\n}\n");
    git(&repository.path("."), &["add", "-A"]);
    git(&repository.path("."), &["commit", "--quiet", "-m", text]);
}

fn repository() -> Folder {
    let repository = Folder::new();
    git(&repository.path("."), &["init", "--quiet"]);
    commit(&repository, "one");
    git(&repository.path("."), &["tag", "v1"]);
    repository
}

fn user(repository: &Folder, reference: &str) -> Folder {
    let path = repository.path("").display().to_string();
    let path = path.trim_end_matches('/');
    Folder::with(&format!(
        "module \"m\" {{\n  source = \"git::file://{path}//lab{reference}\"\n}}\noutput \"o\" {{\n  value = module.m.text\n}}\n"
    ))
}

/// What a failure says, without line breaks and frames.
fn told(said: &Said) -> String {
    assert_eq!(said.code, Some(1), "{}", said.all());
    let words: Vec<&str> = said.stderr.split_whitespace().filter(|word| *word != "│").collect();
    words.join(" ")
}

#[test]
fn a_repository_is_fetched_locked_and_applied() {
    let repository = repository();
    let folder = user(&repository, "?ref=v1");
    let missing = told(&folder.run("plan"));
    assert!(missing.contains("`module.m` is not installed") && missing.contains("lustre init"), "{missing}");
    folder.must("init");
    let lock = folder.read("lustre.lock.hcl");
    assert!(lock.contains("?ref=v1\"") && lock.contains("sha256:"), "{lock}");
    folder.must("apply -auto-approve");
    assert_eq!(folder.must("output -raw o").stdout, "one inner");
    // The tag moves; what is locked stays, until somebody upgrades.
    commit(&repository, "two");
    git(&repository.path("."), &["tag", "--force", "v1"]);
    fs_err::remove_dir_all(folder.path(".lustre")).expect("it is there");
    folder.must("init -lockfile=readonly");
    assert_eq!(folder.read("lustre.lock.hcl"), lock);
    folder.must("init -upgrade");
    assert_ne!(folder.read("lustre.lock.hcl"), lock);
    folder.must("apply -auto-approve");
    assert_eq!(folder.must("output -raw o").stdout, "two inner");
}

#[test]
fn what_does_not_fit_the_lock_file_is_refused() {
    let repository = repository();
    let folder = user(&repository, "");
    let readonly = told(&folder.run("init -lockfile=readonly"));
    assert!(readonly.contains("lustre.lock.hcl does not fit the spec"), "{readonly}");
    folder.must("init");
    let installed = fs_err::read_dir(folder.path(".lustre/modules")).expect("it is there");
    let installed = installed.flatten().next().expect("a repository").path();
    fs_err::write(installed.join("lab/main.hcl"), "output \"text\" {\n  value = \"changed\"\n}\n")
        .expect("written");
    let changed = told(&folder.run("plan"));
    assert!(
        changed.contains("are not those of lustre.lock.hcl") && changed.contains("lustre init"),
        "{changed}"
    );
    folder.must("init");
    folder.must("plan");
    let lock = folder.read("lustre.lock.hcl");
    folder.write("lustre.lock.hcl", &lock.replace("sha256:", "sha256:0").replacen("\"\n}", "\n}", 1));
    assert!(told(&folder.run("plan")).contains("lustre.lock.hcl"), "a lock file that is torn");
    let start = lock.find("sha256:").expect("a hash") + "sha256:".len();
    folder.write("lustre.lock.hcl", &format!("{}{}{}", &lock[..start], "0".repeat(64), &lock[start + 64..]));
    let other = told(&folder.run("init"));
    assert!(other.contains("is not what lustre.lock.hcl says"), "{other}");
}

#[test]
fn sources_that_git_could_take_for_options_are_refused() {
    for source in [
        "git::file:///srv/m?ref=--upload-pack=touch",
        "git::ssh://-oProxyCommand=x/m",
        "git::ext::sh -c true",
    ] {
        let folder = Folder::with(&format!("module \"m\" {{\n  source = \"{source}\"\n}}\n"));
        let refused = told(&folder.run("init"));
        assert!(refused.contains("is no source of a module"), "{refused}");
        assert!(!folder.path(".lustre").exists());
    }
    let nowhere = Folder::with("module \"m\" {\n  source = \"git::file:///nowhere/at/all\"\n}\n");
    assert!(told(&nowhere.run("init")).contains("cannot be fetched"));
}
