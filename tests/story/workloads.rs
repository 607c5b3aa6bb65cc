//! Programs that people run on a file system: git, tar, a database, a compiler.

use crate::lab::Lab;

#[test]
fn git_tar_sqlite_and_a_compiler_work_on_the_mount() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(4, "LZ4") + &lab.mount("mnt")));
    lab.apply();

    lab.sh("export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
             GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a; \
         git init -q origin && cd origin && \
         for i in $(seq 120); do mkdir -p d$((i % 9)); seq $((i * 50)) > d$((i % 9))/f$i; done && \
         git add . && git commit -qm one && cd .. && \
         git clone -q --no-hardlinks origin mnt/clone && cd mnt/clone && git fsck --strict && \
         git status --porcelain | wc -l | grep -qx 0 && seq 9 > new && git add new && git commit -qm two && \
         git gc -q && git fsck --strict && git log --oneline | wc -l | grep -qx 2");
    lab.sh("tar -C origin -cf tree.tar . && mkdir mnt/tree && tar -C mnt/tree -xpf tree.tar && \
         diff -r origin mnt/tree && tar -C mnt/tree -df tree.tar && rm -rf mnt/tree && test ! -e mnt/tree");
    lab.sh(
        "sqlite3 mnt/db 'pragma journal_mode=wal; create table t(i integer primary key, x text); \
           with recursive n(i) as (select 1 union all select i+1 from n where i<3000) insert into t select i, hex(randomblob(40)) from n;' && \
         sqlite3 mnt/db 'update t set x = i where i % 3 = 0; delete from t where i % 5 = 0; vacuum; pragma integrity_check;' | grep -qx ok && \
         sqlite3 mnt/db 'select count(*) from t' | grep -qx 2400",
    );
    lab.sh(
        "mkdir -p mnt/hello/src && cd mnt/hello && \
         printf '[package]\\nname = \"hello\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' > Cargo.toml && \
         printf 'fn main() { println!(\"hello from a stripe\"); }\\n' > src/main.rs && \
         env -u CARGO_TARGET_DIR cargo build --offline -q && ./target/debug/hello | grep -qx 'hello from a stripe'",
    );
}

#[test]
fn posix_corners_behave() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(2, "NONE") + &lab.mount("mnt")));
    lab.apply();
    // Read and written after its last name is gone.
    lab.sh("cd mnt && exec 9<>open && echo content >&9 && rm open && test ! -e open && cat <&9; echo more >&9; exec 9>&-");
    // Truncated and grown again: no old byte reappears.
    lab.sh("cd mnt && yes old | head -c 300000 > t && truncate -s 1000 t && truncate -s 300000 t && test $(tr -d '\\000' < t | wc -c) = 1000");
    // Sparse: a hole costs nothing and reads as zeros.
    lab.sh("cd mnt && truncate -s 1G sparse && test $(stat -c %s sparse) = 1073741824 && test $(du -k sparse | cut -f1) -lt 1000");
    lab.sh("cd mnt && ln t hard && test $(stat -c %h t) = 2 && ln -s t soft && test -L soft && cmp soft hard && rm t && test $(stat -c %h hard) = 1");
    lab.sh(
        "cd mnt && mkdir -p p/q && ! rmdir p 2>/dev/null && ! mv p p/q 2>/dev/null && mv p/q q && rmdir p q",
    );
    lab.sh("cd mnt && mkfifo pipe && test -p pipe && (echo through > pipe & cat pipe | grep -qx through) && chmod 4751 hard && test $(stat -c %a hard) = 4751");
    lab.sh("cd mnt && n=$(printf 'n%.0s' $(seq 255)) && touch $n && test -e $n && ! touch n$n 2>/dev/null");
}
