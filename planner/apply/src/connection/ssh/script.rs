//! What the host's `sh` does for us, and how words reach it unharmed.
//!
//! Only what POSIX's `sh`, coreutils and busybox have in common. Arguments are never part of a script: they are its `$1`, `$2`, ….
//! Invariant: no byte of an argument is ever read as a command.

use std::time::Duration;

/// How long a command that the host does not kill at its limit is waited for beyond it.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Ends with which a script says more than that it failed.
pub(super) mod exit {
    /// There is no such file.
    pub(in super::super) const ABSENT: i32 = 44;
    /// An upload was cut off or disturbed; what came of it may be continued.
    pub(in super::super) const CUT_OFF: i32 = 75;
    /// The disk is full; bytes that are free are on standard output.
    pub(in super::super) const FULL: i32 = 76;
    /// A program that visits finds no place, or did not arrive whole.
    pub(in super::super) const NO_PLACE: i32 = 77;
    /// It was killed, as `timeout` says it.
    pub(in super::super) const KILLED: i32 = 137;
    /// There is no such program.
    pub(in super::super) const NO_PROGRAM: i32 = 127;
}

/// Says that a program is not there, apart from what a program says itself.
pub(super) const NO_PROGRAM: &str = "lustre: no such program";

const PRELUDE: &str = r#"set -eu
LC_ALL=C; export LC_ALL
PATH="${PATH:-/usr/bin:/bin}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; export PATH
umask 022
folder_of() { folder=${1%/*}; [ -n "$folder" ] || folder=/; }
size_of() { if [ -f "$1" ] && [ ! -L "$1" ]; then stat -c %s "$1"; else echo 0; fi; }
free_in() { df -Pk "$1" | { read -r _; read -r _ _ _ free _; echo "$((free * 1024))"; }; }
fail() { echo "$1" >&2; exit 1; }
place() {
    sum=$(sha256sum < "$1")
    [ "${sum%% *}" = "$3" ] || { rm -f "$1"; fail "$2: what arrived is not what was sent"; }
    chmod "$4" "$1"
    sync "$1" 2>/dev/null || sync
    mv -f "$1" "$2"
    folder_of "$2"
    sync "$folder" 2>/dev/null || sync
}
"#;

/// Says who we are, what machine this is, and whether systemd runs it. Without sudo.
pub(super) const WHO: &str = r#"id -u; uname -m"#;

/// Becomes root, or says why not.
pub(super) const ROOT: &str = "true";

/// `$1`: seconds; then the program and its arguments.
pub(super) const RUN: &str = r#"limit=$1; shift
command -v "$1" >/dev/null 2>&1 || { echo "lustre: no such program" >&2; exit 127; }
if command -v timeout >/dev/null 2>&1; then exec timeout -s KILL "$limit" "$@"; fi
exec "$@""#;

/// `$1`: path, `$2`: hash, `$3`: mode. The content is the input.
pub(super) const PUT_SMALL: &str = r#"folder_of "$1"
[ ! -d "$1" ] || fail "$1 is a directory"
mkdir -p "$folder"
part="$1.$$.part"
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM PIPE
(umask 077; cat > "$part")
place "$part" "$1" "$2" "$3""#;

/// `$1`: path, `$2`: part, `$3`: size. Prints how much is there already, and how much is free.
pub(super) const PUT_LOOK: &str = r#"folder_of "$1"
[ ! -d "$1" ] || fail "$1 is a directory"
mkdir -p "$folder"
have=$(size_of "$2")
if [ "$have" -gt "$3" ]; then rm -f "$2"; have=0; fi
echo "$have $(free_in "$folder")""#;

/// `$1`: path, `$2`: part, `$3`: hash, `$4`: mode, `$5`: what is there already, `$6`: size. The rest is the input.
pub(super) const PUT_REST: &str = r#"folder_of "$1"
[ "$(size_of "$2")" = "$5" ] || { echo "$2 was changed meanwhile" >&2; exit 75; }
if ! said=$( (umask 077; cat >> "$2") 2>&1); then
    case "$said" in
    *"No space left"* | *"quota exceeded"*) rm -f "$2"; free_in "$folder"; exit 76 ;;
    esac
    fail "$2: $said"
fi
[ "$(size_of "$2")" = "$6" ] || { echo "$2: the upload was cut off" >&2; exit 75; }
place "$2" "$1" "$3" "$4""#;

/// `$1`: path, `$2`: most bytes.
pub(super) const READ: &str = r#"[ -e "$1" ] || exit 44
head -c "$2" "$1""#;

/// `$1`: path.
pub(super) const STAT: &str = r#"if [ -L "$1" ]; then echo other
elif [ -f "$1" ]; then stat -c %s "$1"
elif [ -d "$1" ]; then echo directory
elif [ -e "$1" ]; then echo other
else echo absent; fi"#;

/// `$1`: path. Nothing is deleted when something is mounted there or below. The list of mounts writes blanks, tabs and backslashes
/// in octal; device numbers are no help, for on an overlay they differ from file to file.
pub(super) const REMOVE: &str = r#"if [ -d "$1" ] && [ ! -L "$1" ]; then
    own=$(cd "$1" && pwd -P | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g')
    while read -r _ _ _ _ point _; do
        case "$point" in
        "$own" | "$own"/*) fail "$point is another file system; it is not deleted" ;;
        esac
    done < /proc/self/mountinfo
fi
rm -rf "$1""#;

/// `$1`: path.
pub(super) const REMOVE_EMPTY: &str = r#"[ -d "$1" ] || exit 0
[ -z "$(ls -A "$1")" ] || exit 0
rmdir "$1""#;

/// `$1`: hash, `$2`: size, `$3`: seconds, `$4`: how many pieces of the program's input follow; then these, then its arguments. The
/// program is the input.
pub(super) const VISIT: &str = r#"hash=$1; size=$2; limit=$3; count=$4; shift 4
visit=
for place in "${TMPDIR:-/tmp}" /var/tmp /dev/shm /run; do
    [ -d "$place" ] && [ "$(free_in "$place")" -gt "$size" ] || continue
    visit="$place/lustre-visit-$$"
    (umask 077; mkdir "$visit") || { visit=; continue; }
    trap 'rm -rf "$visit"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
    printf '#!/bin/sh
exit 0
' > "$visit/try"
    chmod 700 "$visit/try"
    if "$visit/try" 2>/dev/null; then break; fi
    rm -rf "$visit"
    visit=
done
[ -n "$visit" ] || {
    echo "neither /tmp, /var/tmp, /dev/shm nor /run has room for a program and lets it run" >&2
    exit 77
}
cat > "$visit/program"
sum=$(sha256sum < "$visit/program")
[ "${sum%% *}" = "$hash" ] || { echo "the program did not arrive whole" >&2; exit 77; }
chmod 700 "$visit/program"
: > "$visit/input"
while [ "$count" -gt 0 ]; do
    printf %s "$1" >> "$visit/input"
    shift
    count=$((count - 1))
done
code=0
if command -v timeout >/dev/null 2>&1; then set -- timeout -s KILL "$limit" "$visit/program" "$@"
else set -- "$visit/program" "$@"; fi
"$@" < "$visit/input" || code=$?
exit "$code""#;

/// Most bytes of one word of a command; Linux allows 128 KiB.
pub(super) const WORD_MAX: usize = 100_000;

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// As who logged in.
    User,
    /// As root, through sudo, which must not ask for anything.
    Sudo,
}

/// Returns the line for the login shell that runs a script with these arguments.
pub(super) fn line(run_as: As, script: &str, arguments: &[&str]) -> String {
    let before = match run_as {
        As::User => "exec sh -c ",
        As::Sudo => "exec sudo -n -- sh -c ",
    };
    let mut line = format!("{before}{} sh", quoted(&format!("{PRELUDE}{script}")));
    for argument in arguments {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line
}

/// Returns a word as every shell reads it unchanged: in single quotes, where only the quote itself ends them.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn words_reach_the_script_as_they_are() {
        let words =
            ["plain", "", "a b", "it's", "$(touch x) `y` \\ \" ; & | > *", "--", "-n", "new\nline", "ü"];
        let line = line(As::User, r#"printf '%s\0' "$@""#, &words);
        let said = Command::new("sh").args(["-c", &line]).output().unwrap();
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), expected);
    }

    #[test]
    fn every_script_is_good_sh() {
        for script in [WHO, ROOT, RUN, PUT_SMALL, PUT_LOOK, PUT_REST, READ, STAT, REMOVE, REMOVE_EMPTY, VISIT]
        {
            let whole = format!("{PRELUDE}{script}");
            let said = Command::new("sh").args(["-n", "-c", &whole]).output().unwrap();
            assert!(said.status.success(), "{script}\n{}", String::from_utf8_lossy(&said.stderr));
        }
    }
}
