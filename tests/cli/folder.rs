//! A hermetic folder and the binary run in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One test's folder.
pub struct Folder(tempfile::TempDir);

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Both streams, for messages.
    pub fn all(&self) -> String {
        format!("exit {:?}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("standard output is JSON")
    }

    /// Standard output as one JSON object a line.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

impl Folder {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("lustre-cli-").tempdir().expect("a folder can be made"))
    }

    /// Makes one with this `main.hcl`.
    pub fn with(spec: &str) -> Self {
        let folder = Self::new();
        folder.write("main.hcl", spec);
        folder
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).expect("a file can be written");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).expect("a file can be read")
    }

    /// Names in it.
    pub fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.0.path()).expect("the folder can be listed");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The binary, to be run here.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lustre"));
        command.args(words.split_whitespace()).current_dir(self.0.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LUSTRE_"))
        {
            command.env_remove(name);
        }
        command
    }

    /// Runs it with nothing to read.
    pub fn run(&self, words: &str) -> Said {
        finish(self.command(words), "")
    }

    /// Runs it and fails the test unless it succeeds.
    pub fn must(&self, words: &str) -> Said {
        let said = self.run(words);
        assert_eq!(said.code, Some(0), "{words}: {}", said.all());
        said
    }

    /// Runs it with this on its standard input.
    pub fn answer(&self, words: &str, input: impl AsRef<[u8]>) -> Said {
        finish(self.command(words), input)
    }

    /// Starts it and lets it run.
    pub fn start(&self, words: &str) -> Child {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary starts")
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command, input: impl AsRef<[u8]>) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that reads nothing may be gone already.
    let _gone = stdin.write_all(input.as_ref());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it says UTF-8");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The folder of this test's files.
pub fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/bad")
}
