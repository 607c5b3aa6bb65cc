//! How long 1 MB of HCL takes to be brought into canonical form, beside reading it from the disk's cache.
//!
//! `cargo bench -p lustre-language`; not run by `make test`. Fails when the bar is not met.
#![expect(clippy::print_stdout, reason = "figures are its purpose")]

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lustre_language::format;
use lustre_model::diagnostic::Sources;

/// Size of the text.
const BYTES: usize = 1 << 20;

/// Rounds; the fastest counts, because others may be at work meanwhile.
const ROUNDS: usize = 15;

/// What formatting of [`BYTES`] may take.
const BAR: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("canonical_form.hcl");
    let mut met = true;
    for (name, text) in [("disordered", generated(Order::Lost)), ("canonical", generated(Order::Kept))] {
        fs_err::write(&path, &text).expect("the text can be written");
        let read = fastest(|| fs_err::read_to_string(&path).expect("the text can be read").len());
        let formatted = fastest(|| result(&text).len());
        let ratio = formatted.as_secs_f64() / read.as_secs_f64();
        println!(
            "{name}: {} bytes formatted in {:.1} ms, read in {:.2} ms, ratio {ratio:.0}",
            text.len(),
            formatted.as_secs_f64() * 1e3,
            read.as_secs_f64() * 1e3
        );
        met &= formatted.mul_f64(BYTES as f64 / text.len() as f64) < BAR;
    }
    fs_err::remove_file(&path).expect("the text can be removed");
    ExitCode::from(u8::from(!met))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Kept,
    Lost,
}

fn generated(order: Order) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= BYTES {
            break;
        }
        text.push_str(&format!(
            "# Cluster number {number}.\ncluster \"c{number}\" {{\n  deployment_type = \"SCRATCH_2\" # scratch\n  \
             name=\"${{var.prefix}}-{number}\"\n  storage {{\n hosts = [for h in host.oss:h if h.id!=null]\n\
             target_capacity=\"1.2TiB\"\n  sizes={{ a=1,b = -2 }}\n}}\n  notes = <<-EOT\n    text of ${{ number + 1 }}\n  \
             EOT\n  owner = \"${{local.owners[{number}].name}}\"\n}}\n\n"
        ));
    }
    if order == Order::Kept { result(&text) } else { text }
}

fn result(text: &str) -> String {
    let mut sources = Sources::default();
    let id = sources.add("main.hcl", text);
    format(&sources, id).expect("the text parses")
}

fn fastest(mut work: impl FnMut() -> usize) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(work());
        best = best.min(start.elapsed());
    }
    best
}
