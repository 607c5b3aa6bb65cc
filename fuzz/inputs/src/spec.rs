//! Texts of specs: read, planned, formatted.
//!
//! A text may be of several files: each begins behind a line `-- path --`, and what is before the first is `main.hcl`. What
//! is called `*.vars.hcl` holds values of variables, and functions that read files find all of them.
//! Invariant: nothing is read but the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_language::{Entry, EntryKind, Graph, Input, Moment, Program, World as Outside, WorldError};
use lustre_model::diagnostic::{Diagnostics, Sources};
use lustre_model::journal::Resolve as _;
use lustre_model::plan::{Allowance, Mode, Plan};
use lustre_model::recorded::{Lineage, World};
use lustre_plan::{KINDS, Options, Resolver, SpecText, file, plan, render};

/// When plans are made and carried out: 2026-01-02 03:04:05 in UTC.
const NOW: Moment = Moment(1_767_323_045);

/// Files of a text, for functions that read some.
struct Texts(Vec<(String, String)>);

impl Texts {
    fn new(text: &str) -> Self {
        let mut files = vec![("main.hcl".to_owned(), String::new())];
        for line in text.split_inclusive('\n') {
            let path = line.trim().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --"));
            match (path, files.last_mut()) {
                (Some(path), _) => files.push((path.to_owned(), String::new())),
                (None, Some((_, text))) => text.push_str(line),
                (None, None) => {}
            }
        }
        Self(files)
    }

    /// Returns files of a spec, or files of values.
    fn of(&self, wanted: Wanted) -> Vec<(String, String)> {
        let fits = |path: &str| match wanted {
            Wanted::Spec => path.ends_with(".hcl") && !path.ends_with(".vars.hcl"),
            Wanted::Values => path.ends_with(".vars.hcl"),
        };
        self.0.iter().filter(|(path, _)| fits(path)).cloned().collect()
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Spec,
    Values,
}

impl Outside for Texts {
    fn read_file(&self, path: &str) -> Result<Vec<u8>, WorldError> {
        let path = path.trim_start_matches("./");
        let found = self.0.iter().find(|(name, _)| name == path);
        found.map(|(_, text)| text.clone().into_bytes()).ok_or(WorldError::NotFound)
    }

    fn file_exists(&self, path: &str) -> Result<bool, WorldError> {
        Ok(self.read_file(path).is_ok())
    }

    fn list_folder(&self, _path: &str) -> Result<Vec<Entry>, WorldError> {
        let names: BTreeMap<&str, ()> =
            self.0.iter().map(|(path, _)| (path.split('/').next().unwrap_or(path), ())).collect();
        Ok(names.into_keys().map(|name| Entry { name: name.to_owned(), kind: EntryKind::File }).collect())
    }

    fn planned_at(&self) -> Option<Moment> {
        Some(NOW)
    }

    fn applying(&self) -> Option<lustre_language::Applying> {
        None
    }

    fn working_folder(&self) -> String {
        "/spec".to_owned()
    }

    fn home_folder(&self) -> Option<String> {
        Some("/people/ops".to_owned())
    }
}

/// Every diagnostic can be shown: its places are in a text, and on the borders of its characters.
fn check_places(found: &Diagnostics, sources: &Sources) {
    for diagnostic in found.iter() {
        assert!(!diagnostic.summary.is_empty(), "a diagnostic says something: {diagnostic:?}");
        let related = diagnostic.related.iter().map(|related| related.span);
        for span in diagnostic.span.into_iter().chain(related) {
            let source = sources.get(span.source);
            let inside = source.is_some_and(|source| source.text.get(span.range()).is_some());
            assert!(inside, "the place is in the text: {diagnostic:?}");
            assert!(sources.positions(span).is_some(), "the place has a line: {diagnostic:?}");
        }
    }
}

/// Text → program. A text is read, or refused with places.
pub fn parse(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let files = Texts::new(text);
    let (mut program, found) = Program::load(files.of(Wanted::Spec), &KINDS);
    check_places(&found, program.sources());
    for diagnostic in found.iter().filter(|diagnostic| diagnostic.code.starts_with("E01")) {
        assert!(diagnostic.span.is_some(), "a syntax error has a place: {diagnostic:?}");
    }
    let graph = Graph::new(&program);
    (0..graph.nodes().len()).for_each(|node| drop(graph.label(node)));
    // The same text is what somebody types into the console, gives as a value, or has in a lock file.
    if let Err(found) = program.parse_expression(text) {
        check_places(&found, program.sources());
    }
    let (_, found) = program.read_values("x.vars.hcl", text);
    check_places(&found, program.sources());
    let (lock, found) = program.read_lock(text);
    check_places(&found, program.sources());
    let (again, found) = program.read_lock(&lock.render());
    assert!(again == lock && found.is_empty(), "a lock file that was written is read: {lock:?}");
}

/// Text → plan, with values. A spec is planned, or refused with places; planning again gives the same bytes, which are
/// read back as they were written, and what the plan seals can be evaluated.
pub fn evaluate(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let files = Texts::new(text);
    let world = World::new(Lineage("fuzz".to_owned()));
    let Some(plan) = planned(&files, &world) else { return };
    let Ok(written) = file::encode(&plan) else { return };
    let again = planned(&files, &world).and_then(|plan| file::encode(&plan).ok());
    assert!(again.as_ref() == Some(&written), "planning again gives the same plan");
    let read = file::decode(&written);
    assert!(read.as_ref().is_ok_and(|read| *read == plan), "a plan is read as it was written: {read:?}");
    shown(&plan);
    resolved(plan, &world, files);
}

fn planned(files: &Texts, world: &World) -> Option<Plan> {
    let spec = files.of(Wanted::Spec);
    let (mut program, mut found) = Program::load(spec.clone(), &KINDS);
    let mut inputs: Vec<Input> = Vec::new();
    for (path, text) in files.of(Wanted::Values) {
        let (read, mistakes) = program.read_values(&path, &text);
        inputs.extend(read);
        found.extend(mistakes);
    }
    let options = Options {
        mode: Mode::Normal,
        replace: Vec::new(),
        target: Vec::new(),
        exclude: Vec::new(),
        allowances: vec![Allowance("*".to_owned())],
        tool_version: "0.1.0".to_owned(),
        imports: Vec::new(),
        drift: BTreeMap::new(),
    };
    let text = SpecText { program: &program, files: &spec, inputs: &inputs };
    let (plan, found) = plan(text, world, &options, files, found);
    check_places(&found, program.sources());
    assert!(plan.is_some() || found.has_errors(), "what is not planned is refused");
    plan
}

/// Puts a plan into words for people and for programs.
pub(crate) fn shown(plan: &Plan) {
    render::text::plan(plan).plain();
    render::json::plan(plan);
    render::text::counts(plan);
}

/// Evaluates what a plan seals, as an apply does before its first step.
pub(crate) fn resolved(plan: Plan, world: &World, outside: impl Outside + Send + Sync + 'static) {
    let steps = plan.steps().to_vec();
    let resolver = Resolver::new(plan, Arc::new(outside)).began(NOW);
    for step in &steps {
        drop(resolver.attributes(step, world));
    }
    drop(resolver.outputs(world));
    resolver.warnings(world);
}

/// Text → canonical text. The result is its own canonical form and says what the text says.
pub fn format(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut sources = Sources::default();
    let id = sources.add("main.hcl", text);
    let result = match lustre_language::format(&sources, id) {
        Ok(result) => result,
        Err(found) => {
            check_places(&found, &sources);
            assert!(found.has_errors(), "what is not formatted is refused");
            assert!(
                found.iter().all(|one| one.code != "E0105"),
                "the layout changes the meaning of {text:?}"
            );
            return;
        }
    };
    let id = sources.add("again.hcl", result.as_str());
    let again = lustre_language::format(&sources, id).ok();
    assert!(again.as_ref() == Some(&result), "canonical form is stable: {text:?}\n{result:?}\n{again:?}");
    let codes = |text: &str| -> Vec<&'static str> {
        let (_, found) = Program::load([("main.hcl".to_owned(), text.to_owned())], &KINDS);
        // Canonical form writes out types that are given as Terraform 0.11 did, and mends them with that.
        found.iter().map(|one| one.code).filter(|code| *code != "E0210").collect()
    };
    assert_eq!(codes(&result), codes(text), "the same mistakes: {text:?}\n{result:?}");
    assert!(lustre_language::say_the_same(text, &result), "the meaning of {text:?}\n{result:?}");
}
