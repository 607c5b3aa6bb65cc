//! Tests as they go: a line for each file and run, or the events that Terraform's `test -json` writes.
//!
//! Results go to standard output, what is wrong beside them; with `-json` all is one stream.
//! Invariant: every run is shown once, whatever became of it, and the summary counts them all.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use lustre_language::TestFile;
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostics, Sources};
use lustre_model::plan::Plan;
use lustre_model::recorded::World;
use lustre_plan::render::json;
use serde_json::{Map, Value as Json, json};

use crate::command::test::Status;
use crate::terminal::paint;
use crate::view::voice::Voice;
use crate::view::{diagnostic, plan, styled, values};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const DIM: Style = Style::new().dimmed();

/// What a run left, for `-verbose`.
pub enum Shown {
    /// A plan.
    Plan(Box<Plan>),
    /// What is recorded.
    State(Box<World>),
}

/// Shows tests.
#[derive(Debug, Clone)]
pub struct View {
    voice: Voice,
    verbose: bool,
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Skip => "skip",
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Error => "error",
    }
}

impl View {
    /// Shows in words, as JSON, or both.
    pub fn new(voice: &Voice, verbose: bool) -> Self {
        Self { voice: voice.clone(), verbose }
    }

    /// Begins a stream.
    pub fn version(&self) {
        if let Some(stream) = &self.voice.stream {
            stream.version();
        }
    }

    /// Says which files and runs there are.
    pub fn begin(&self, files: &[TestFile]) {
        let Some(stream) = &self.voice.stream else { return };
        let runs: usize = files.iter().map(|file| file.runs.len()).sum();
        let names = |file: &TestFile| -> Json { file.runs.iter().map(|run| run.name.clone()).collect() };
        let all: Map<String, Json> = files.iter().map(|file| (file.name.clone(), names(file))).collect();
        let plural =
            |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let text = format!("Found {} and {}", plural(files.len(), "file"), plural(runs, "run block"));
        stream.line("info", &text, "test_abstract", json!({ "test_abstract": all }));
    }

    /// A file begins.
    pub fn starting(&self, file: &str) {
        self.progress(file, ("in progress", "starting"));
    }

    /// What a file applied is being destroyed.
    pub fn tearing_down(&self, file: &str) {
        self.progress(file, ("tearing down", "teardown"));
    }

    fn progress(&self, file: &str, (words, progress): (&str, &str)) {
        if let Some(stream) = &self.voice.stream {
            let more = json!({ "@testfile": file, "test_file": { "path": file, "progress": progress } });
            stream.line("info", &format!("{file}... {words}"), "test_file", more);
        }
        if self.voice.has_words() {
            let words = paint(self.voice.terminal.out_colour(), DIM, words);
            self.voice.terminal.say(&format!("{file}... {words}"));
        }
    }

    /// A file ended.
    pub fn file(&self, file: &str, status: Status) {
        // A file whose runs were broken is one that failed, for a person.
        if let Some(stream) = &self.voice.stream {
            let more = json!({
                "@testfile": file, "test_file": { "path": file, "progress": "complete", "status": word(status) },
            });
            stream.line("info", &format!("{file}... {}", told(status)), "test_file", more);
        }
        if self.voice.has_words() {
            self.voice.terminal.say(&format!("{file}... {}", self.painted(status)));
        }
    }

    /// A run ended.
    pub fn run(&self, file: &str, run: &str, (status, elapsed): (Status, Duration)) {
        if let Some(stream) = &self.voice.stream {
            let more = json!({
                "@testfile": file,
                "@testrun": run,
                "test_run": {
                    "path": file, "run": run, "progress": "complete", "status": word(status),
                    "elapsed": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                },
            });
            stream.line("info", &format!("  {run:?}... {}", told(status)), "test_run", more);
        }
        if self.voice.has_words() {
            self.voice.terminal.say(&format!("  run {run:?}... {}", self.painted(status)));
        }
    }

    fn painted(&self, status: Status) -> String {
        let style = match status {
            Status::Skip => DIM,
            Status::Pass => GOOD,
            Status::Fail | Status::Error => BAD,
        };
        paint(self.voice.terminal.out_colour(), style, told(status))
    }

    /// Shows what a run left, when that was asked for.
    pub fn left_by(&self, file: &str, run: &str, shown: &Shown) {
        if !self.verbose {
            return;
        }
        if self.voice.has_words() {
            match shown {
                Shown::Plan(planned) => plan::show(self.voice.terminal, planned),
                Shown::State(world) => {
                    let drawn = styled::draw(&values::world(world), self.voice.terminal.out_colour());
                    self.voice.terminal.say(drawn.trim_end());
                }
            }
        }
        let Some(stream) = &self.voice.stream else { return };
        let (what, kind, shown) = match shown {
            Shown::Plan(plan) => ("plan", "test_plan", json::plan(plan)),
            Shown::State(world) => ("state", "test_state", values::world_json(world)),
        };
        let text = format!("-verbose flag enabled, printing {what}");
        stream.line("info", &text, kind, json!({ "@testfile": file, "@testrun": run, kind: shown }));
    }

    /// Shows what is wrong.
    pub fn found(&self, found: &Diagnostics, sources: &Sources) {
        if let Some(stream) = &self.voice.stream {
            found.iter().for_each(|one| stream.diagnostic(one, sources));
        }
        if self.voice.has_words() && !found.is_empty() {
            let drawn = diagnostic::draw(found, sources, self.voice.terminal.err_colour());
            self.voice.terminal.tell(drawn.trim_end());
        }
    }

    /// Names what could not be destroyed; for a person its diagnostic does.
    pub fn left(&self, file: &str, addresses: &[Address]) {
        if let Some(stream) = &self.voice.stream {
            let failed: Vec<Json> = addresses.iter().map(|address| json!({ "instance": address })).collect();
            let more = json!({ "@testfile": file, "test_cleanup": { "failed_resources": failed } });
            let text = "Some resources could not be destroyed and are left behind.";
            stream.line("error", text, "test_cleanup", more);
        }
    }

    /// Counts.
    pub fn summary(&self, all: &[Status]) {
        let count = |wanted: Status| all.iter().filter(|status| **status == wanted).count();
        let (passed, failed, errored) = (count(Status::Pass), count(Status::Fail), count(Status::Error));
        let skipped = count(Status::Skip);
        let good = failed + errored + skipped == 0;
        let mut text = format!("{passed} passed, {} failed", failed + errored);
        if skipped > 0 {
            text.push_str(&format!(", {skipped} skipped"));
        }
        let word_first = if good { "Success!" } else { "Failure!" };
        if let Some(stream) = &self.voice.stream {
            let worst = all.iter().copied().max().unwrap_or(Status::Pass);
            let more = json!({ "test_summary": {
                "status": word(worst), "passed": passed, "failed": failed, "errored": errored, "skipped": skipped,
            } });
            stream.line("info", &format!("{word_first} {text}."), "test_summary", more);
        }
        if self.voice.has_words() {
            let style = if good { GOOD } else { BAD };
            let word_first = paint(self.voice.terminal.out_colour(), style, word_first);
            self.voice.terminal.say(&format!("\n{word_first} {text}."));
        }
    }
}

/// Says how it came out as Terraform says it to a person: what broke has failed.
fn told(status: Status) -> &'static str {
    match status {
        Status::Error => "fail",
        Status::Skip | Status::Pass | Status::Fail => word(status),
    }
}
