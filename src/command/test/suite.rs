//! The test files of a folder, each read into every program that its runs are about.
//!
//! Runs nothing.
//! Invariant: all mistakes of all files are found before the first run.

use std::collections::{BTreeMap, BTreeSet};

use lustre_language::{Input, Origin, TestFile, TestRun};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources};

use super::collected;
use crate::cli::{TestFlags, VariableFlags};
use crate::command::spec::{self, Asking, Spec};
use crate::exit::Failure;
use crate::files::{self, Text};

/// Where test files are besides the spec's folder.
pub const DIRECTORY: &str = "tests";

/// What is wrong, with the texts that it points into.
pub type Mistakes = Vec<(Diagnostics, Sources)>;

/// A folder that runs are about; the spec's own has no name.
pub type Name = Option<String>;

/// A program that runs are about, with all test files in its texts.
pub struct Subject {
    /// The spec, without mistakes.
    pub spec: Spec,
    /// The test files, in the order in which they go.
    pub files: Vec<TestFile>,
    /// Its texts as they are called from the spec's folder.
    pub sources: Sources,
}

/// All test files.
pub struct Suite {
    /// By the folder that they are about.
    pub subjects: BTreeMap<Name, Subject>,
}

impl Suite {
    /// Returns the test files, for what does not depend on a folder.
    pub fn files(&self) -> &[TestFile] {
        self.subjects.get(&None).map_or(&[], |root| &root.files)
    }

    /// Returns what a run is about.
    pub fn subject(&self, run: &TestRun) -> Option<&Subject> {
        self.subjects.get(&name(run))
    }
}

/// Returns the folder that a run is about.
pub fn name(run: &TestRun) -> Name {
    run.source.as_ref().map(|(source, _)| source.clone())
}

/// Reads the tests that the flags name.
pub fn load(flags: &TestFlags) -> Result<(Suite, Mistakes), Failure> {
    let directory = flags.test_directory.as_deref();
    let mut texts = texts(directory)?;
    let mut missing = Diagnostics::new();
    for wanted in &flags.filter {
        let plain = wanted.strip_prefix("./").unwrap_or(wanted);
        if !texts.iter().any(|(name, _)| name == plain) {
            let summary = format!("there is no test file {wanted}");
            let known: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
            let hint = if known.is_empty() {
                "Test files are called *.test.hcl and lie beside the spec or in tests/.".to_owned()
            } else {
                format!("There are {}.", known.join(", "))
            };
            missing.push(Diagnostic::error("E0981", summary).hint(hint));
        }
    }
    if let Some(directory) = directory.filter(|directory| !std::path::Path::new(directory).is_dir()) {
        let summary = format!("there is no folder {directory} of tests");
        missing.push(
            Diagnostic::error("E0981", summary).hint("-test-directory is taken from the spec's folder."),
        );
    }
    if !flags.filter.is_empty() {
        let wanted: BTreeSet<&str> =
            flags.filter.iter().map(|name| name.strip_prefix("./").unwrap_or(name)).collect();
        texts.retain(|(name, _)| wanted.contains(name.as_str()));
    }
    let spec = spec::load(&flags.variables, Asking::Refused)?;
    let (suite, mut mistakes) = read(spec, &texts)?;
    mistakes.insert(0, (missing, Sources::default()));
    Ok((suite, mistakes))
}

/// Returns what is wrong with the test files beside a spec, but not with the spec itself.
pub fn mistakes(variables: &VariableFlags) -> Result<Mistakes, Failure> {
    let texts = texts(None)?;
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let mut spec = spec::load(variables, Asking::Refused)?;
    spec.diagnostics = Diagnostics::new();
    Ok(read(spec, &texts)?.1)
}

fn texts(directory: Option<&str>) -> Result<Vec<Text>, Failure> {
    let mut texts = files::tests("")?;
    let directory = directory.unwrap_or(DIRECTORY).trim_end_matches('/');
    let directory = directory.strip_prefix("./").unwrap_or(directory);
    if std::path::Path::new(directory).is_dir() && !matches!(directory, "" | ".") {
        texts.extend(files::tests(directory)?);
    }
    Ok(texts)
}

/// Reads test files into a spec and into the folders that their runs are about.
fn read(spec: Spec, texts: &[Text]) -> Result<(Suite, Mistakes), Failure> {
    let inputs = spec.inputs.clone();
    let (root, found) = subject(spec, texts, "");
    let mut mistakes = vec![(checked(&root, found, &None), root.sources.clone())];
    let sources: BTreeMap<String, _> =
        root.files.iter().flat_map(|file| &file.runs).filter_map(|run| run.source.clone()).collect();
    let mut subjects = BTreeMap::from([(None, root)]);
    for (source, span) in sources {
        let folder = source.trim_end_matches('/');
        let spec = match spec::load_folder(folder)? {
            Ok(spec) => spec,
            Err(error) => {
                let summary = format!("the module of a run cannot be read: {error}");
                let found = collected([Diagnostic::error("E0225", summary).at(span)]);
                let sources = subjects.get(&None).map(|root: &Subject| root.sources.clone());
                mistakes.push((found, sources.unwrap_or_default()));
                continue;
            }
        };
        let spec = with_inputs_of(spec, &inputs);
        // Mistakes of the test files as texts were told for the spec's own folder.
        let found = spec.diagnostics.clone();
        let (subject, _) = subject(spec, texts, folder);
        let name = Some(source);
        mistakes.push((checked(&subject, found, &name), subject.sources.clone()));
        subjects.insert(name, subject);
    }
    Ok((Suite { subjects }, mistakes))
}

/// Gives a module the variables that the command line and the environment give the spec and that it has.
fn with_inputs_of(mut spec: Spec, inputs: &[Input]) -> Spec {
    let has = |name: &str| spec.program.variables().any(|variable| variable.name == name);
    // Places of values files lie in other texts.
    let given = inputs.iter().filter(|input| has(&input.name));
    spec.inputs = given.map(|input| Input { origin: Origin::CommandLine, ..input.clone() }).collect();
    spec
}

fn subject(mut spec: Spec, texts: &[Text], folder: &str) -> (Subject, Diagnostics) {
    let mut found = std::mem::take(&mut spec.diagnostics);
    let mut files = Vec::new();
    for (name, text) in texts {
        let (file, more) = spec.program.read_test(name, text);
        found.extend(more);
        files.push(file);
    }
    let mut sources = Sources::default();
    for (_, source) in spec.program.sources().iter() {
        let own = folder.is_empty() || texts.iter().any(|(name, _)| *name == source.name);
        let shown = if own { source.name.clone() } else { format!("{folder}/{}", source.name) };
        sources.add(shown, source.text.clone());
    }
    (Subject { spec, files, sources }, found)
}

/// Adds what is wrong with the runs that are about a subject.
fn checked(subject: &Subject, mut found: Diagnostics, about: &Name) -> Diagnostics {
    for file in &subject.files {
        for run in file.runs.iter().filter(|run| name(run) == *about) {
            found.extend(subject.spec.program.check_run(file, run));
        }
    }
    found.sort();
    found
}
