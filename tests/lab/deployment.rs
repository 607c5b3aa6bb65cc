//! A spec in a folder of its own, and the `lustre` that plans and applies it.
//!
//! Invariant: nothing of the user's own keys, agents or known hosts has a part in it.

use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;

use super::machine::Lab;
use super::spawned::{Said, run};

/// A folder with a spec.
pub struct Deployment {
    folder: tempfile::TempDir,
    /// The `lustre` that is run; the agent that it brings is beside it.
    program: PathBuf,
}

impl Deployment {
    /// Begins without a spec.
    pub fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("lustre-lab-spec-").tempdir().expect("a folder can be made");
        Self { folder, program: PathBuf::from(env!("CARGO_BIN_EXE_lustre")) }
    }

    /// Writes `main.hcl`.
    pub fn spec(&self, text: &str) {
        fs::write(self.path("main.hcl"), text).expect("a spec can be written");
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// From now on the `lustre` of a release of its own is run, which brings this agent.
    pub fn upgrade(&mut self, release: &str, agent: &[u8]) {
        let folder = self.path(release);
        fs::create_dir(&folder).expect("a folder can be made");
        let program = folder.join("lustre");
        let own = env!("CARGO_BIN_EXE_lustre");
        if fs::hard_link(own, &program).is_err() {
            fs::copy(own, &program).expect("a program can be copied");
        }
        fs::write(folder.join("lustre-agent"), agent).expect("an agent can be written");
        self.program = program;
    }

    /// Runs `lustre` with these words.
    pub fn lustre(&self, words: &str) -> Said {
        let mut command = Command::new(&self.program);
        command.arg(format!("-chdir={}", self.folder.path().display())).args(words.split_ascii_whitespace());
        command.env("NO_COLOR", "1").env("HOME", self.folder.path());
        command.env_remove("SSH_AUTH_SOCK").env_remove("LUSTRE_SSH_PASSPHRASE");
        run(command)
    }

    /// Runs `lustre`, which must succeed.
    pub fn must(&self, words: &str) -> String {
        let said = self.lustre(words);
        assert_eq!(said.code, Some(0), "lustre {words}\n{}", said.all());
        said.stdout
    }
}

/// A host block of a machine with a user and what else its `ssh` block says.
pub fn host(lab: &Lab, name: &str, number: usize, (user, ssh): (&str, &str)) -> String {
    let machine = lab.machine(number);
    format!(
        r#"
host "{name}" {{
  address = "{}"
  user    = "{user}"
  ssh {{
    agent = false
    {ssh}
  }}
}}
"#,
        machine.address
    )
}

/// What the `ssh` block of a machine says where nothing is wrong.
pub fn good(lab: &Lab, number: usize) -> String {
    format!(
        "identity_file = \"{}\"\n    host_key = \"{}\"",
        lab.path("id").display(),
        lab.machine(number).host_key
    )
}
