//! `make bench`: what the mounted file system costs and gives, beside libfuse's pass-through on the same disk in one run.
//!
//! Not a unit test and never run by `make test`: figures are ratios of medians over interleaved rounds. For a quick look,
//! `LUSTRE_BENCH_ROUNDS` says how many rounds, `LUSTRE_BENCH_SYSTEMS` which systems, and `LUSTRE_BENCH_PROGRAM` names another
//! build's `lustre`.
//! Invariant: both systems see the same load, in the same order, from the same program, with caches dropped alike.

mod load;
mod report;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use load::{Load, Phase};
use report::Report;
use system::System;

/// Rounds over all systems, unless told otherwise; the median is reported.
const ROUNDS: usize = 3;

/// All systems, as they are named in the report.
const SYSTEMS: &str = "fuse-passthrough,lustre,lustre LZ4";

/// What runs on each system in each round, in this order.
const LOADS: &[Load] = &[
    Load {
        name: "write 1 MiB",
        phase: Phase::WriteSequential,
        processes: 1,
        files: 1,
        bytes: 1 << 30,
        cold: false,
        bar: Some(0.7),
    },
    Load {
        name: "read 1 MiB",
        phase: Phase::ReadSequential,
        processes: 1,
        files: 1,
        bytes: 1 << 30,
        cold: true,
        bar: Some(0.7),
    },
    Load {
        name: "create, 8 processes",
        phase: Phase::Create,
        processes: 8,
        files: 1875,
        bytes: 0,
        cold: true,
        bar: Some(0.5),
    },
    Load {
        name: "stat, 8 processes",
        phase: Phase::Stat,
        processes: 8,
        files: 1875,
        bytes: 0,
        cold: true,
        bar: Some(0.5),
    },
    Load {
        name: "unlink, 8 processes",
        phase: Phase::Unlink,
        processes: 8,
        files: 1875,
        bytes: 0,
        cold: false,
        bar: Some(0.5),
    },
    Load {
        name: "write 4 KiB files",
        phase: Phase::Create,
        processes: 4,
        files: 2500,
        bytes: 4096,
        cold: false,
        bar: None,
    },
    Load {
        name: "read 4 KiB files",
        phase: Phase::ReadFiles,
        processes: 4,
        files: 2500,
        bytes: 4096,
        cold: true,
        bar: Some(0.5),
    },
];

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(report) => {
            report.print();
            ExitCode::SUCCESS
        }
        Err(cause) => {
            report::complain(&cause);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report, String> {
    let folder = std::env::var_os("LUSTRE_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("figures"), PathBuf::from);
    system::remove_folder(&folder)?;
    let rounds = match std::env::var("LUSTRE_BENCH_ROUNDS") {
        Ok(text) => text.parse().map_err(|_| format!("LUSTRE_BENCH_ROUNDS={text} is no number"))?,
        Err(_) => ROUNDS,
    };
    let wanted = std::env::var("LUSTRE_BENCH_SYSTEMS").unwrap_or_else(|_| SYSTEMS.to_owned());
    let mut report = Report::new(rounds);
    for round in 1..=rounds {
        for name in wanted.split(',') {
            let mut system = System::named(name, &folder)?;
            report::progress(&format!("round {round} of {rounds}: {name}"));
            report.add_startup(system.name(), system.up()?);
            let outcome = measure(&mut system, &mut report);
            report.add_memory(system.name(), system.memory_peaks());
            system.down()?;
            outcome?;
        }
    }
    Ok(report)
}

fn measure(system: &mut System, report: &mut Report) -> Result<(), String> {
    for load in LOADS {
        if load.cold {
            system.forget_caches()?;
        }
        let before = system.cpu_seconds();
        let outcome = load.run(system.mountpoint())?;
        let cpu = system.cpu_seconds() - before + outcome.cpu_seconds;
        report.add(system.name(), load, outcome, cpu);
    }
    Ok(())
}
