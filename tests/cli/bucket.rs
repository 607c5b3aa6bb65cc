//! A real S3 server for one test: the embedded bucket over a folder.
//!
//! Invariant: it ends with its owner.

use std::path::Path;

use lustre_s3::KeyPair;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The server, while it lives.
pub struct Bucket {
    _folder: tempfile::TempDir,
    credentials: std::path::PathBuf,
    port: u16,
    stop: CancellationToken,
    _runtime: Runtime,
}

impl Bucket {
    /// Serves an empty bucket named `states`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let content = folder.path().join("content");
        fs_err::create_dir(&content).expect("a folder can be made");
        let keys = KeyPair { access_key: "AK".into(), secret_key: "secret".into(), session_token: None };
        let credentials = folder.path().join("credentials");
        fs_err::write(&credentials, keys.to_file()).expect("a file can be written");
        let runtime = Runtime::new().expect("threads start");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let stop = CancellationToken::new();
        let token = stop.clone();
        runtime.spawn(async move {
            lustre_agent::bucket::serve(listener, &content, "states", &keys, token).await.expect("it serves");
        });
        Self { _folder: folder, credentials, port, stop, _runtime: runtime }
    }

    /// The `lustre` block that keeps a state in it.
    pub fn state(&self, more: &str) -> String {
        let (port, credentials) = (self.port, self.credentials.display());
        format!(
            r#"
lustre {{
  state "s3" {{
    bucket           = "states"
    key              = "team/prod.state"
    endpoint_url     = "http://127.0.0.1:{port}"
    path_style       = true
    credentials_file = "{credentials}"
    {more}
  }}
}}
"#
        )
    }

    /// Files that the bucket's objects are, below `team`.
    pub fn objects(&self) -> Vec<String> {
        let team = self._folder.path().join("content/team");
        let mut names = Vec::new();
        collect(&team, &team, &mut names);
        names.sort();
        names
    }

    /// The file behind an object below `team`.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self._folder.path().join("content/team").join(name)
    }
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, names);
        } else {
            names.push(path.strip_prefix(root).expect("it is below").display().to_string());
        }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
