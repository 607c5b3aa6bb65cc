//! Diagnostics: drawn with their snippet, or as JSON in Terraform's shape.
//!
//! Invariant: every diagnostic of a run is shown, in the order of files and places.

use std::fmt;

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Position, Severity, Source, Sources, Span};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde_json::{Value as Json, json};

/// Columns that messages are wrapped to.
const WIDTH: usize = 110;

/// Draws all of them, one below the other.
pub fn draw(diagnostics: &Diagnostics, sources: &Sources, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_context_lines(1);
    let mut text = String::new();
    for diagnostic in diagnostics {
        if !text.is_empty() {
            text.push('\n');
        }
        let drawn = Drawn::new(diagnostic, sources);
        // Writing to a string cannot fail; a diagnostic that miette cannot draw is shown bare.
        if handler.render_report(&mut text, &drawn).is_err() {
            text.push_str(&format!("{}: {}\n", diagnostic.code, diagnostic.summary));
        }
    }
    if diagnostics.dropped() > 0 {
        text.push_str(&format!("{} more were found and are not shown\n", diagnostics.dropped()));
    }
    text
}

/// One diagnostic as miette wants it.
#[derive(Debug)]
struct Drawn<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    help: Option<String>,
}

impl<'a> Drawn<'a> {
    fn new(diagnostic: &'a Diagnostic, sources: &Sources) -> Self {
        let file = diagnostic.span.and_then(|span| sources.get(span.source));
        let mut labels: Vec<LabeledSpan> = Vec::new();
        if let (Some(span), Some(file)) = (diagnostic.span, file) {
            labels.push(label(None, span, file));
            for related in diagnostic.related.iter().filter(|related| related.span.source == span.source) {
                labels.push(label(Some(related.label.clone()), related.span, file));
            }
        }
        let source = file.map(|file| NamedSource::new(&file.name, file.text.to_string()));
        Self { diagnostic, source, labels, help: help(diagnostic, sources) }
    }
}

fn label(text: Option<String>, span: Span, file: &Source) -> LabeledSpan {
    let (start, end) = (span.range().start.min(file.text.len()), span.range().end.min(file.text.len()));
    LabeledSpan::new(text, start, end - start)
}

/// Values, the instance, places in other files and the hint, one a line.
fn help(diagnostic: &Diagnostic, sources: &Sources) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for value in &diagnostic.values {
        lines.push(format!("{} {}", value.traversal, value.statement));
    }
    if let Some(instance) = &diagnostic.instance {
        lines.push(format!("in {instance}"));
    }
    for related in &diagnostic.related {
        if diagnostic.span.is_some_and(|span| span.source == related.span.source) {
            continue;
        }
        if let (Some(file), Some((start, _))) =
            (sources.get(related.span.source), sources.positions(related.span))
        {
            lines.push(format!("{}:{}:{}: {}", file.name, start.line, start.column, related.label));
        }
    }
    lines.extend(diagnostic.hint.clone());
    (!lines.is_empty()).then(|| lines.join("\n"))
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { summary, detail, .. } = self.diagnostic;
        if detail.is_empty() { f.write_str(summary) } else { write!(f, "{summary}: {detail}") }
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let word = match self.diagnostic.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        Some(Box::new(format!("{word} {}", self.diagnostic.code)))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty()).then(|| Box::new(self.labels.iter().cloned()) as _)
    }
}

/// Returns a diagnostic as Terraform writes it, with our code, hint and instance besides.
pub fn to_json(diagnostic: &Diagnostic, sources: &Sources) -> Json {
    let mut json = json!({
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "summary": diagnostic.summary,
        "detail": diagnostic.detail,
    });
    if let Some(hint) = &diagnostic.hint {
        json["hint"] = json!(hint);
    }
    if let Some(instance) = &diagnostic.instance {
        json["address"] = json!(instance);
    }
    let place =
        diagnostic.span.and_then(|span| Some((sources.get(span.source)?, sources.positions(span)?, span)));
    if let Some((file, (start, end), span)) = place {
        json["range"] = json!({ "filename": file.name, "start": at(start), "end": at(end) });
        json["snippet"] = snippet(diagnostic, file, start, span);
    }
    json
}

fn at(position: Position) -> Json {
    json!({ "line": position.line, "column": position.column, "byte": position.byte })
}

/// The lines that the span touches; offsets are within them.
fn snippet(diagnostic: &Diagnostic, file: &Source, start: Position, span: Span) -> Json {
    let text = &*file.text;
    let (first, last) = (span.range().start.min(text.len()), span.range().end.min(text.len()));
    let begin = text.get(..first).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = text.get(last..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| last + at);
    let values: Vec<Json> = diagnostic
        .values
        .iter()
        .map(|value| json!({ "traversal": value.traversal, "statement": value.statement }))
        .collect();
    json!({
        "context": null,
        "code": text.get(begin..end).unwrap_or(""),
        "start_line": start.line,
        "highlight_start_offset": first - begin,
        "highlight_end_offset": last - begin,
        "values": values,
    })
}
