//! A server that speaks EC2's API, started once for all tests, and a view on it beside ours.
//!
//! Invariant: it ends with the tests, however they end.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::folder::{Folder, Said, finish};

/// How long it may take to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

/// Runs the server until the pipe to it is closed.
const KEEPER: &str = r#""$0" -H 127.0.0.1 -p "$1" & server=$!; read -r _; kill "$server""#;

struct Server {
    port: u16,
    folder: PathBuf,
    /// Closing its input ends the server.
    _keeper: Child,
}

/// Installs the server where it is not yet, beside what cargo builds.
fn installed() -> PathBuf {
    let target =
        Path::new(env!("CARGO_BIN_EXE_lustre")).ancestors().nth(2).expect("binaries lie in a folder");
    let folder = target.join("moto");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/moto.sh");
    let done = Command::new(&script).arg(&folder).status().expect("the script starts");
    assert!(done.success(), "moto is missing: run scripts/moto.sh {}", folder.display());
    folder
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = installed();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free");
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER]).arg(folder.join("bin/moto_server")).arg(free.port().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = command.spawn().expect("sh starts");
        let begun = Instant::now();
        while TcpStream::connect(free).is_err() {
            assert!(begun.elapsed() < START_MAX, "moto does not answer at {free}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Server { port: free.port(), folder, _keeper: keeper }
    })
}

/// A region that no other test uses.
pub struct Region {
    name: &'static str,
    folder: Folder,
}

impl Region {
    /// Takes a region.
    pub fn new(name: &'static str) -> Self {
        Self { name, folder: Folder::new() }
    }

    /// Writes the spec; the provider comes before it.
    pub fn spec(&self, text: &str) {
        self.spec_with("", text);
    }

    /// Writes the spec with more in its provider.
    pub fn spec_with(&self, provider: &str, text: &str) {
        let (port, region) = (server().port, self.name);
        let provider = format!(
            "provider \"aws\" {{\n  region = \"{region}\"\n  endpoints {{\n    ec2 = \"http://127.0.0.1:{port}\"\n  }}\n{provider}}}\n"
        );
        self.folder.write("main.hcl", &format!("{provider}\n{text}"));
    }

    /// Runs the binary with keys that moto takes.
    pub fn run(&self, words: &str) -> Said {
        self.run_as(words, [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
    }

    /// Runs the binary with nothing of the user's but this.
    pub fn run_as<const N: usize>(&self, words: &str, environment: [(&str, &str); N]) -> Said {
        finish(self.command(words, environment), "")
    }

    /// The binary with nothing of the user's but this.
    pub fn command<const N: usize>(&self, words: &str, environment: [(&str, &str); N]) -> Command {
        let mut command = self.folder.command(words);
        let users = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"));
        for (name, _) in users {
            command.env_remove(name);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", self.folder.path("home"));
        command.envs(environment);
        command
    }

    /// Runs the binary and fails the test unless it succeeds.
    pub fn must(&self, words: &str) -> Said {
        let said = self.run(words);
        assert_eq!(said.code, Some(0), "{words}: {}", said.all());
        said
    }

    /// Runs Python with `ec2`, AWS's own client; returns what it printed.
    pub fn python(&self, code: &str) -> String {
        let server = server();
        let (port, region) = (server.port, self.name);
        let head = format!(
            "import boto3, json\nec2 = boto3.client('ec2', region_name={region:?}, endpoint_url='http://127.0.0.1:{port}', aws_access_key_id='t', aws_secret_access_key='t')\n"
        );
        let mut command = Command::new(server.folder.join("bin/python"));
        command.arg("-c").arg(format!("{head}{code}"));
        let said = finish(command, "");
        assert_eq!(said.code, Some(0), "{code}: {}", said.all());
        said.stdout.trim().to_owned()
    }
}
