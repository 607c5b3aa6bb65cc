//! The table: medians, ratios to the pass-through, CPU per GiB, memory.
//!
//! The only place of the benchmark that prints.
//! Invariant: every ratio compares medians of the same run.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on the terminal")]

use std::collections::BTreeMap;

use super::LOADS;
use super::load::{Load, Outcome};

/// The system that the others are compared with.
const REFERENCE: &str = "fuse-passthrough";

/// Samples of all rounds.
#[derive(Debug, Default)]
pub struct Report {
    rates: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    rounds: usize,
    /// CPU time for each GiB, or for each file.
    cpu: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    startup: BTreeMap<&'static str, Vec<f64>>,
    memory: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Report {
    /// Knows nothing yet of so many rounds.
    pub fn new(rounds: usize) -> Self {
        Self { rounds, ..Self::default() }
    }

    /// Adds one outcome; `cpu` is in seconds, of the system and the load together.
    pub fn add(&mut self, system: &'static str, load: &Load, outcome: Outcome, cpu: f64) {
        let key = (system, load.name);
        self.rates.entry(key).or_default().push(outcome.amount / outcome.seconds);
        let unit = if load.counts_bytes() { f64::from(1 << 30) } else { 1.0 };
        self.cpu.entry(key).or_default().push(cpu / (outcome.amount / unit));
    }

    /// Adds the seconds from nothing to mounted.
    pub fn add_startup(&mut self, system: &'static str, seconds: f64) {
        self.startup.entry(system).or_default().push(seconds);
    }

    /// Adds the peak resident bytes of each process of a system, by role.
    pub fn add_memory(&mut self, system: &'static str, peaks: Vec<(String, u64)>) {
        let known = self.memory.entry(system).or_default();
        for (role, bytes) in peaks {
            let peak = known.entry(role).or_default();
            *peak = (*peak).max(bytes);
        }
    }

    /// Prints the tables as Markdown.
    pub fn print(&self) {
        let rounds = self.rounds;
        println!(
            "\nMedians of {rounds} interleaved rounds; in brackets: share of {REFERENCE}; CPU of system and load.\n"
        );
        let systems: Vec<&str> = self.startup.keys().copied().collect();
        println!("| load | {} | asked |", systems.join(" | "));
        println!("|---|{}---|", "---|".repeat(systems.len()));
        for load in LOADS {
            let cells: Vec<String> = systems.iter().map(|system| self.cell(system, load)).collect();
            let bar = load.bar.map_or_else(String::new, |bar| format!("≥ {bar}"));
            println!("| {} | {} | {bar} |", load.name, cells.join(" | "));
        }
        let cells: Vec<String> = systems.iter().map(|s| format!("{:.2}", median(&self.startup[s]))).collect();
        println!("| nothing to mounted, s | {} | < 5 |", cells.join(" | "));
        println!("\nPeak resident memory, MiB:");
        for (system, peaks) in &self.memory {
            for (role, bytes) in peaks {
                println!("  {system:18} {role:28} {:8.1}", *bytes as f64 / f64::from(1 << 20));
            }
        }
    }

    fn cell(&self, system: &'static str, load: &Load) -> String {
        let Some(samples) = self.rates.get(&(system, load.name)) else { return String::new() };
        let rate = median(samples);
        let shown = if load.counts_bytes() {
            format!("{:.0} MiB/s", rate / f64::from(1 << 20))
        } else {
            format!("{rate:.0}/s")
        };
        let cpu = self.cpu.get(&(system, load.name)).map_or(f64::NAN, |samples| median(samples));
        let cpu =
            if load.counts_bytes() { format!("{cpu:.2} s/GiB") } else { format!("{:.0} µs", cpu * 1e6) };
        match self.rates.get(&(REFERENCE, load.name)) {
            Some(reference) if system != REFERENCE => {
                format!("{shown} ({:.2}), {cpu}", rate / median(reference))
            }
            Some(_) | None => format!("{shown}, {cpu}"),
        }
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Says what is being done.
pub fn progress(text: &str) {
    eprintln!("bench: {text}");
}

/// Says why there are no figures.
pub fn complain(cause: &str) {
    eprintln!("bench: {cause}");
}
