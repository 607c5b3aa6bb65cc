//! The spec of the folder with values for its variables, ready to be planned.
//!
//! Precedence, later wins: `LUSTRE_VAR_x`, `lustre.vars.hcl`, `*.auto.vars.hcl`, then `-var` and `-var-file` in the order
//! they were given. What still has no value is asked for, when there is somebody to ask.
//! Invariant: all mistakes of all files are in one list.

use std::path::Path;

use lustre_language::{FolderError, Given, Input, Origin, Program, Scope};
use lustre_model::diagnostic::{Diagnostics, Sources};
use lustre_model::plan::SealedSpec;
use lustre_plan::KINDS;

use super::place::{self, Site};
use super::{init, recorded};
use crate::cli::{Variable, VariableFlags};
use crate::exit::Failure;
use crate::files::{self, Folder, SpecFolders, Text};
use crate::terminal::Terminal;

/// How variables of the environment begin.
const ENVIRONMENT: &str = "LUSTRE_VAR_";

/// A spec that was read.
pub struct Spec {
    /// Its texts, and those of its modules, by path from its folder.
    pub files: Vec<Text>,
    /// Its blocks.
    pub program: Program,
    /// Values of variables, the weakest first.
    pub inputs: Vec<Input>,
    /// Mistakes so far.
    pub diagnostics: Diagnostics,
    /// Files that functions may read.
    pub folder: Folder,
}

/// Whether somebody can be asked for values.
#[derive(Debug, Clone, Copy)]
pub enum Asking {
    /// Here.
    Allowed(Terminal),
    /// Nobody.
    Refused,
}

/// Reads the spec of the working folder.
pub fn load(flags: &VariableFlags, asking: Asking) -> Result<Spec, Failure> {
    let here = Path::new(".");
    let root = std::env::current_dir()?;
    let folders = SpecFolders::new(root.clone());
    let (mut program, mut diagnostics) =
        Program::read(&folders, &KINDS).map_err(|error| Failure::File(std::io::Error::other(error)))?;
    diagnostics.extend(init::verify(&root, &mut program)?);
    let (texts, folder) = (folders.into_texts(), Folder::new(root));
    let mut spec = Spec { files: texts, program, inputs: Vec::new(), diagnostics, folder };
    spec.take_environment();
    for (name, text) in files::values(here)? {
        spec.take_file(&name, &text);
    }
    for given in &flags.given {
        match given {
            Variable::Assignment(text) => spec.take_flag(text),
            Variable::File(path) => spec.take_file(&path.to_string_lossy(), &files::text(path)?),
        }
    }
    if let Asking::Allowed(terminal) = asking {
        spec.ask(terminal)?;
    }
    Ok(spec)
}

/// Reads a folder as a spec of its own, without values for its variables; or says why it cannot be read.
pub fn load_folder(folder: &str) -> Result<Result<Spec, FolderError>, Failure> {
    let root = std::env::current_dir()?.join(folder);
    if !root.is_dir() {
        return Ok(Err(FolderError::NotFound(folder.to_owned())));
    }
    let folders = SpecFolders::new(root.clone());
    let (mut program, mut diagnostics) = match Program::read(&folders, &KINDS) {
        Ok(read) => read,
        Err(error) => return Ok(Err(error)),
    };
    diagnostics.extend(init::verify(&root, &mut program)?);
    let files = folders.into_texts();
    if files.is_empty() {
        return Ok(Err(FolderError::Empty(folder.to_owned())));
    }
    Ok(Ok(Spec { files, program, inputs: Vec::new(), diagnostics, folder: Folder::new(root) }))
}

impl Spec {
    /// Returns the same spec with other values for its variables, and without what was found wrong before.
    pub fn with_inputs(&self, inputs: Vec<Input>) -> Self {
        Self {
            files: self.files.clone(),
            program: self.program.clone(),
            inputs,
            diagnostics: Diagnostics::new(),
            folder: self.folder.clone(),
        }
    }

    fn take_environment(&mut self) {
        for variable in self.program.variables() {
            let name = format!("{ENVIRONMENT}{}", variable.name);
            if let Ok(text) = std::env::var(&name) {
                let (given, origin) = (Given::Text(text), Origin::Environment(name));
                self.inputs.push(Input { name: variable.name.clone(), given, origin });
            }
        }
    }

    fn take_file(&mut self, name: &str, text: &str) {
        let (inputs, found) = self.program.read_values(name, text);
        self.inputs.extend(inputs);
        self.diagnostics.extend(found);
    }

    fn take_flag(&mut self, text: &str) {
        if let Some((name, value)) = text.split_once('=') {
            let (name, given) = (name.trim().to_owned(), Given::Text(value.to_owned()));
            self.inputs.push(Input { name, given, origin: Origin::CommandLine });
        }
    }

    /// Asks for the variables that must have a value and have none.
    fn ask(&mut self, terminal: Terminal) -> Result<(), Failure> {
        let missing = self.program.variables().filter(|variable| {
            variable.is_required() && !self.inputs.iter().any(|input| input.name == variable.name)
        });
        let mut answers = Vec::new();
        for variable in missing {
            let about = variable.description.as_ref().map(|text| format!("  {text}\n")).unwrap_or_default();
            let question = format!("var.{}\n{about}\n  Enter a value: ", variable.name);
            let Some(answer) = terminal.ask(&question)? else { break };
            terminal.tell("");
            let (given, origin) = (Given::Text(answer), Origin::CommandLine);
            answers.push(Input { name: variable.name.clone(), given, origin });
        }
        self.inputs.extend(answers);
        Ok(())
    }

    /// Returns where the state is, and fails with all mistakes found so far when the spec says it wrongly.
    pub fn place(&self) -> Result<Site, Failure> {
        let scope = Scope::new(&self.program, &self.folder, &self.inputs);
        // Mistakes of variables are told when the spec is planned; here only those of the block count.
        scope.take_diagnostics();
        let place = place::of(&scope, self.program.sources());
        place.map_err(|found| self.failure(found))
    }

    /// Fails with what was found before and this.
    fn failure(&self, more: Diagnostics) -> Failure {
        let mut diagnostics = self.diagnostics.clone();
        diagnostics.extend(more);
        Failure::Diagnosed { diagnostics, sources: Box::new(self.program.sources().clone()) }
    }
}

/// Returns where the state of the working folder is; its variables need no values for that.
pub fn place() -> Result<Site, Failure> {
    let spec = load(&VariableFlags::default(), Asking::Refused)?;
    let site = spec.place()?;
    // With mistakes in the spec the state may be elsewhere; "nothing is there" would be a lie.
    if spec.diagnostics.has_errors() && !recorded::backend(&site.place)?.exists()? {
        return Err(spec.failure(Diagnostics::new()));
    }
    Ok(site)
}

/// Returns where the state is that a sealed spec names.
pub fn sealed_place(sealed: &SealedSpec) -> Result<Site, Failure> {
    let texts = sealed.sources.iter().map(|source| (source.path.clone(), source.text.clone()));
    let files: Vec<Text> = texts.collect();
    let (program, diagnostics) = Program::load(files.clone(), &KINDS);
    let inputs = sealed.variables.iter().map(|(name, value)| Input {
        name: name.clone(),
        given: Given::Value(value.clone()),
        origin: Origin::CommandLine,
    });
    let folder = Folder::new(std::env::current_dir()?);
    Spec { files, inputs: inputs.collect(), program, diagnostics, folder }.place()
}

/// Returns the texts of a spec for whoever draws its diagnostics.
pub fn sources(spec: &Spec) -> Box<Sources> {
    Box::new(spec.program.sources().clone())
}
