//! What every way to a host must do alike: `Local` here, `Ssh` in the lab.
//!
//! Only through the trait, so that the list says what callers may rely on.
//! Invariant: each check begins in a folder of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lustre_apply::connection::{Command, Connection, ConnectionError, Found, Source, run_ok};

/// Runs every check below `folder`, which the host makes.
pub async fn run(host: &dyn Connection, folder: &Path) {
    commands_say_what_they_say(host).await;
    arguments_and_input_arrive_as_they_are(host).await;
    what_cannot_be_run_is_told_from_what_failed(host).await;
    a_command_that_takes_too_long_is_killed(host, &folder.join("limit")).await;
    files_are_put_with_their_mode_and_read_back(host, &folder.join("files")).await;
    large_files_arrive_whole_and_nothing_else(host, &folder.join("large")).await;
    names_may_be_strange(host, &folder.join("it's a $(strange) \"place\"")).await;
    what_is_at_a_path_is_told(host, &folder.join("stat")).await;
    removing_is_done_once_and_again(host, &folder.join("remove")).await;
    another_file_system_is_not_deleted(host, &folder.join("mounted")).await;
    host.remove(folder).await.expect("removed");
}

async fn sh(host: &dyn Connection, script: &str) -> String {
    let said = run_ok(host, &Command::new("sh", &["-euc", script])).await.expect("the script works");
    String::from_utf8(said).expect("text").trim().to_owned()
}

async fn commands_say_what_they_say(host: &dyn Connection) {
    let said = host.run(&Command::new("sh", &["-c", "echo out; echo err >&2; exit 3"])).await.expect("run");
    assert_eq!((said.code, said.stdout.as_slice(), said.stderr.trim()), (Some(3), &b"out\n"[..], "err"));
    let error = run_ok(host, &Command::new("sh", &["-c", "echo no >&2; false"])).await.expect_err("it fails");
    assert!(matches!(&error, ConnectionError::Failed { said, .. } if said.contains("no")), "{error}");
    // Much output, much of it at once.
    let many = host.run(&Command::new("sh", &["-c", "head -c 3000000 /dev/zero"])).await.expect("run");
    assert_eq!(many.stdout.len(), 3_000_000);
}

async fn arguments_and_input_arrive_as_they_are(host: &dyn Connection) {
    let words = ["-c", r#"printf '%s|' "$@"; cat"#, "sh", "", "a b", "it's", "$HOME `x` \\ * ; \"", "ü\nn"];
    let mut command = Command::new("sh", &words);
    command.input = vec![b'x'; 300_000];
    let said = host.run(&command).await.expect("run");
    let text = String::from_utf8(said.stdout).expect("text");
    assert_eq!(text.trim_end_matches('x'), "|a b|it's|$HOME `x` \\ * ; \"|ü\nn|");
    assert_eq!(text.len() - text.trim_end_matches('x').len(), 300_000);
    // One that does not read its input ends all the same.
    let mut command = Command::new("true", &[]);
    command.input = vec![b'x'; 8_000_000];
    assert_eq!(host.run(&command).await.expect("run").code, Some(0));
}

async fn what_cannot_be_run_is_told_from_what_failed(host: &dyn Connection) {
    let error = host.run(&Command::new("/nowhere/at/all", &[])).await.expect_err("there is none");
    assert!(matches!(error, ConnectionError::Spawn { .. }), "{error}");
    let said = host.run(&Command::new("sh", &["-c", "exit 127"])).await.expect("it ran");
    assert_eq!(said.code, Some(127));
}

async fn a_command_that_takes_too_long_is_killed(host: &dyn Connection, folder: &Path) {
    sh(host, &format!("mkdir -p '{}'", folder.display())).await;
    let pid = folder.join("pid");
    let script = format!("echo $$ > '{}'; exec sleep 600", pid.display());
    let mut command = Command::new("sh", &["-c", &script]);
    command.limit = Duration::from_secs(2);
    let begun = Instant::now();
    let error = host.run(&command).await.expect_err("it is killed");
    assert!(matches!(error, ConnectionError::TooLong { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let gone = format!("p=$(cat '{}'); while kill -0 \"$p\" 2>/dev/null; do sleep 0.1; done", pid.display());
    sh(host, &gone).await;
}

async fn files_are_put_with_their_mode_and_read_back(host: &dyn Connection, folder: &Path) {
    let path = folder.join("a/b/key.pem");
    assert_eq!(host.read(&path).await.expect("asked"), None);
    host.put(Source::Bytes(b"secret"), &path, 0o600).await.expect("put");
    assert_eq!(host.read(&path).await.expect("read"), Some(b"secret".to_vec()));
    assert_eq!(
        sh(host, &format!("stat -c %a '{0}'; stat -c %a '{1}'", path.display(), folder.display())).await,
        "600\n755"
    );
    host.put(Source::Bytes(b""), &path, 0o644).await.expect("put over it");
    assert_eq!(host.read(&path).await.expect("read"), Some(Vec::new()));
    assert_eq!(sh(host, &format!("stat -c %a '{}'", path.display())).await, "644");
    assert_eq!(sh(host, &format!("ls -A '{}'", folder.join("a/b").display())).await, "key.pem");
    let error = host.put(Source::Bytes(b"x"), &folder.join("a/b"), 0o644).await.expect_err("it is a folder");
    assert!(matches!(error, ConnectionError::File { .. }), "{error}");
    assert_eq!(host.stat(&folder.join("a/b")).await.expect("asked"), Found::Directory);
    let error = host.read(folder).await.expect_err("it is a folder");
    assert!(matches!(error, ConnectionError::File { .. }), "{error}");
}

async fn large_files_arrive_whole_and_nothing_else(host: &dyn Connection, folder: &Path) {
    let source = tempfile::NamedTempFile::new().expect("a file");
    let bytes: Vec<u8> = (0..5_000_003_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs_err::write(source.path(), &bytes).expect("written");
    let path = folder.join("bin/agent");
    host.put(Source::File(source.path()), &path, 0o755).await.expect("put");
    assert_eq!(host.stat(&path).await.expect("asked"), Found::File { size: 5_000_003 });
    let local = sh_here(&format!("sha256sum < '{}'", source.path().display()));
    assert_eq!(sh(host, &format!("sha256sum < '{}'", path.display())).await, local);
    assert_eq!(
        sh(host, &format!("stat -c %a '{}'; ls -A '{}'", path.display(), folder.join("bin").display())).await,
        "755\nagent"
    );
    // Over itself.
    host.put(Source::File(source.path()), &path, 0o700).await.expect("put again");
    assert_eq!(sh(host, &format!("stat -c %a '{}'", path.display())).await, "700");
}

fn sh_here(script: &str) -> String {
    let said = std::process::Command::new("sh").args(["-euc", script]).output().expect("sh is there");
    String::from_utf8(said.stdout).expect("text").trim().to_owned()
}

async fn names_may_be_strange(host: &dyn Connection, folder: &Path) {
    let path = folder.join("-n & co");
    host.put(Source::Bytes(b"x"), &path, 0o644).await.expect("put");
    assert_eq!(host.read(&path).await.expect("read"), Some(b"x".to_vec()));
    assert_eq!(host.stat(&path).await.expect("asked"), Found::File { size: 1 });
    host.remove(folder).await.expect("removed");
    assert_eq!(host.stat(folder).await.expect("asked"), Found::Absent);
}

async fn what_is_at_a_path_is_told(host: &dyn Connection, folder: &Path) {
    host.put(Source::Bytes(b"12345"), &folder.join("file"), 0o644).await.expect("put");
    let root = folder.display();
    sh(host, &format!("cd '{root}'; ln -s file link; ln -s nowhere dangling; mkfifo pipe")).await;
    let cases = [
        ("file", Found::File { size: 5 }),
        ("link", Found::Other),
        ("dangling", Found::Other),
        ("pipe", Found::Other),
        (".", Found::Directory),
        ("none", Found::Absent),
        ("none/below", Found::Absent),
    ];
    for (name, expected) in cases {
        assert_eq!(host.stat(&folder.join(name)).await.expect("asked"), expected, "{name}");
    }
}

async fn removing_is_done_once_and_again(host: &dyn Connection, folder: &Path) {
    let file = folder.join("a/b/file");
    host.put(Source::Bytes(b"x"), &file, 0o644).await.expect("put");
    host.remove_empty(folder).await.expect("left alone: it is not empty");
    assert_eq!(host.stat(&file).await.expect("asked"), Found::File { size: 1 });
    for _ in 0..2 {
        host.remove(&file).await.expect("removed");
        assert_eq!(host.stat(&file).await.expect("asked"), Found::Absent);
    }
    // A link goes, what it leads to stays.
    let outside: PathBuf = folder.join("outside");
    host.put(Source::Bytes(b"x"), &outside.join("kept"), 0o644).await.expect("put");
    sh(host, &format!("ln -s '{}' '{}'", outside.display(), folder.join("a/link").display())).await;
    host.remove(&folder.join("a")).await.expect("removed");
    assert_eq!(host.stat(&outside.join("kept")).await.expect("asked"), Found::File { size: 1 });
    host.remove(&outside).await.expect("removed");
    for _ in 0..2 {
        host.remove_empty(folder).await.expect("removed, or gone");
        assert_eq!(host.stat(folder).await.expect("asked"), Found::Absent);
    }
}

async fn another_file_system_is_not_deleted(host: &dyn Connection, folder: &Path) {
    let inside = folder.join("a/disk");
    let shown = inside.display();
    sh(host, &format!("mkdir -p '{shown}'; mount -t tmpfs -o size=1m tmpfs '{shown}'; touch '{shown}/kept'"))
        .await;
    let error = host.remove(folder).await.expect_err("it holds another file system");
    assert!(matches!(error, ConnectionError::File { .. }), "{error}");
    assert_eq!(host.stat(&inside.join("kept")).await.expect("asked"), Found::File { size: 0 });
    sh(host, &format!("umount '{shown}'")).await;
    host.remove(folder).await.expect("removed");
}
