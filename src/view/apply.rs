//! An apply while it runs: a line per step on a pipe, moving bars on a terminal, an event stream with `-json`.
//!
//! Sees events and prints; what is done does not depend on it.
//! Invariant: a failed step is shown at once, with its causes and remedy, whichever way is chosen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lustre_apply::event::{Event, Progress, Watch, What};
use lustre_model::address::Address;
use lustre_model::plan::Operation;
use serde_json::{Value as Json, json};

use crate::terminal::{Terminal, paint};
use crate::view::stream::{Stream, resource};
use crate::view::voice::Voice;

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// How often the event stream repeats how far a step is.
const STREAM_EVERY: Duration = Duration::from_secs(1);

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default().bold();

/// Returns the watcher that suits who is spoken to; failures are told with the place of their block.
pub fn watcher(voice: &Voice, places: BTreeMap<Address, String>) -> Arc<dyn Watch> {
    let words = voice.has_words().then(|| words_of(voice.terminal));
    let lines = voice.stream.clone().map(|stream| Lines { stream, told: Mutex::default() });
    let watchers = words.into_iter().chain(lines.map(|lines| Arc::new(lines) as Arc<dyn Watch>));
    Arc::new(Everybody { watchers: watchers.collect(), places })
}

/// Everybody who watches.
struct Everybody {
    watchers: Vec<Arc<dyn Watch>>,
    /// `main.hcl:10` of the blocks of the plan's objects.
    places: BTreeMap<Address, String>,
}

impl Watch for Everybody {
    fn see(&self, event: &Event) {
        let mut event = event.clone();
        let place = self.places.get(&event.address.whole());
        if let (What::Failed { causes, .. }, Some(place)) = (&mut event.what, place) {
            causes.iter_mut().take(1).for_each(|cause| cause.push_str(&format!(" ({place})")));
        }
        self.watchers.iter().for_each(|one| one.see(&event));
    }
}

fn words_of(terminal: Terminal) -> Arc<dyn Watch> {
    if terminal.is_live() {
        Arc::new(Bars {
            terminal,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            open: Mutex::default(),
        })
    } else {
        Arc::new(Plain { terminal, progress: Mutex::default() })
    }
}

struct Words {
    begins: &'static str,
    goes_on: &'static str,
    ended: &'static str,
    hook: &'static str,
}

fn words(operation: Operation) -> Words {
    let (begins, goes_on, ended, hook) = match operation {
        Operation::Create => ("Creating...", "Still creating...", "Creation", "create"),
        Operation::Update => ("Modifying...", "Still modifying...", "Modifications", "update"),
        Operation::Delete => ("Destroying...", "Still destroying...", "Destruction", "delete"),
        Operation::Read => ("Reading...", "Still reading...", "Read", "read"),
    };
    Words { begins, goes_on, ended, hook }
}

fn lasted(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..10 => format!("{:.1}s", elapsed.as_secs_f64()),
        10..60 => format!("{}s", elapsed.as_secs()),
        60..3600 => format!("{}m{}s", elapsed.as_secs() / 60, elapsed.as_secs() % 60),
        _ => format!("{}h{}m", elapsed.as_secs() / 3600, elapsed.as_secs() / 60 % 60),
    }
}

fn far(progress: &Progress) -> String {
    match progress.total {
        Some(total) => format!("{} of {total} {}", progress.done, progress.what),
        None => format!("{} {}", progress.done, progress.what),
    }
}

/// Returns what an event says to a person; nothing for mere progress.
fn line(event: &Event, colour: bool) -> Option<String> {
    let (address, words) = (&event.address, words(event.operation));
    match &event.what {
        What::Started => Some(format!("{address}: {}", words.begins)),
        What::Progress(_) => None,
        What::Note(note) => Some(format!("{} {address}: {note}", paint(colour, ODD, "Note:"))),
        What::Retrying { cause, pause } => {
            let word = paint(colour, ODD, "Retrying");
            Some(format!("{address}: {word} in {}: {cause}", lasted(*pause)))
        }
        What::Done => {
            let done = paint(colour, GOOD, &format!("{} complete", words.ended));
            Some(format!("{address}: {done} after {}", lasted(event.elapsed)))
        }
        What::Failed { causes, remedy } => {
            let failed = paint(colour, BAD, &format!("{} failed", words.ended));
            let mut text = format!("{address}: {failed} after {}", lasted(event.elapsed));
            for (place, cause) in causes.iter().enumerate() {
                text.push_str(if place == 0 { "\n  " } else { "\n  because " });
                text.push_str(cause);
            }
            remedy.iter().for_each(|remedy| text.push_str(&format!("\n  hint: {remedy}")));
            Some(text)
        }
        What::Skipped { because } => Some(format!("{address}: Not begun, because {because} failed")),
    }
}

/// A line per event, for pipes and logs.
struct Plain {
    terminal: Terminal,
    progress: Mutex<BTreeMap<Address, Progress>>,
}

impl Watch for Plain {
    fn see(&self, event: &Event) {
        let mut known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.what {
            What::Progress(Some(progress)) => {
                known.insert(event.address.clone(), progress.clone());
            }
            What::Progress(None) => {
                let far = known.get(&event.address).map(|progress| format!(", {}", far(progress)));
                let (words, elapsed) = (words(event.operation), lasted(event.elapsed));
                let text = format!(
                    "{}: {} [{elapsed} elapsed{}]",
                    event.address,
                    words.goes_on,
                    far.unwrap_or_default()
                );
                self.terminal.tell(&text);
            }
            What::Started
            | What::Note(_)
            | What::Retrying { .. }
            | What::Done
            | What::Failed { .. }
            | What::Skipped { .. } => {
                line(event, self.terminal.err_colour()).iter().for_each(|text| self.terminal.tell(text));
            }
        }
    }
}

/// A moving bar per step that runs, lines for what ended above them.
struct Bars {
    terminal: Terminal,
    bars: MultiProgress,
    open: Mutex<BTreeMap<Address, ProgressBar>>,
}

impl Bars {
    fn begin(&self, event: &Event) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("  {spinner} {prefix} {msg} [{elapsed}]");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(event.address.to_string());
        bar.set_message(words(event.operation).goes_on);
        bar.enable_steady_tick(TICK);
        bar
    }
}

impl Watch for Bars {
    fn see(&self, event: &Event) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.what {
            What::Started => {
                let bar = self.begin(event);
                open.insert(event.address.clone(), bar);
                return;
            }
            What::Progress(progress) => {
                if let (Some(progress), Some(bar)) = (progress, open.get(&event.address)) {
                    bar.set_message(format!("{} {}", words(event.operation).goes_on, far(progress)));
                }
                return;
            }
            What::Done | What::Failed { .. } => {
                if let Some(bar) = open.remove(&event.address) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
            }
            What::Note(_) | What::Retrying { .. } | What::Skipped { .. } => {}
        }
        if let Some(text) = line(event, self.terminal.err_colour()) {
            let _terminal_gone = self.bars.println(text);
        }
    }
}

/// The event stream.
struct Lines {
    stream: Stream,
    /// When each step last said how far it is.
    told: Mutex<BTreeMap<Address, Duration>>,
}

impl Watch for Lines {
    fn see(&self, event: &Event) {
        let words = words(event.operation);
        let message = line(event, false).unwrap_or_else(|| format!("{}: {}", event.address, words.goes_on));
        let mut hook = json!({ "resource": resource(&event.address), "action": words.hook });
        hook["elapsed_seconds"] = json!(event.elapsed.as_secs_f64());
        let (level, kind) = match &event.what {
            What::Started => ("info", "apply_start"),
            What::Progress(progress) => {
                if !self.due(event) {
                    return;
                }
                hook["progress"] = progress.as_ref().map_or(Json::Null, |progress| {
                    json!({ "what": progress.what, "done": progress.done, "total": progress.total })
                });
                ("info", "apply_progress")
            }
            What::Note(_) => ("warn", "apply_note"),
            What::Retrying { .. } => ("warn", "apply_retry"),
            What::Done => ("info", "apply_complete"),
            What::Failed { causes, remedy } => {
                hook["causes"] = json!(causes);
                hook["remedy"] = json!(remedy);
                ("error", "apply_errored")
            }
            What::Skipped { because } => {
                hook["because"] = json!(because);
                ("error", "apply_skipped")
            }
        };
        self.stream.line(level, &message, kind, json!({ "hook": hook }));
    }
}

impl Lines {
    /// Tells whether progress of a step is to be repeated now.
    fn due(&self, event: &Event) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.get(&event.address).copied();
        let due = last.is_none_or(|last| event.elapsed.saturating_sub(last) >= STREAM_EVERY);
        if due {
            told.insert(event.address.clone(), event.elapsed);
        }
        due
    }
}
