//! Calls of functions: arguments converted, unknown and sensitive ones dealt with once for all functions.
//!
//! `try` and `can` look at expressions and not at values, and templates bring their own names; they are here.
//! Invariant: a function that computes from parts of its arguments sees only known, unmarked ones.

use lustre_model::address::is_identifier;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources};
use lustre_model::types::Type;
use lustre_model::value::{Kind, Value};
use sha2::Digest as _;
use unicode_normalization::UnicodeNormalization as _;

use crate::evaluate::{Context, Failed, Outcome, TEXT_BYTES_MAX};
use crate::function::{self, Draw, Function, Refusal, Run};
use crate::mention::{self, Mention};
use crate::program;
use crate::suggest::did_you_mean;
use crate::syntax::{self, Call, Expr};
use crate::world::Applying;

/// Most templates rendered within each other.
const TEMPLATES_MAX: usize = 16;

impl Context<'_> {
    pub(super) fn call(&mut self, call: &Call, whole: &Expr) -> Outcome {
        let Some(function) = function::find(&call.name) else {
            return Err(self.bad_call(call));
        };
        match function.run {
            Run::Try => return self.try_each(call, whole),
            Run::Can => {
                return Ok(self.quietly(|context| context.all(&call.arguments)).map_or_else(
                    |Failed| Value::from(false),
                    |values| {
                        if values.iter().all(Value::is_wholly_known) {
                            true.into()
                        } else {
                            Value::unknown(Type::Bool)
                        }
                    },
                ));
            }
            Run::Values(_)
            | Run::Parts(_)
            | Run::Raw(_)
            | Run::World(_)
            | Run::Later(_)
            | Run::TemplateFile
            | Run::TemplateText => {}
        }
        let arguments = self.arguments(call)?;
        let Some(arguments) = arguments else { return Ok(unknown_result(function)) };
        if !function.accepts(arguments.len()) {
            return Err(self.bad_call(call));
        }
        let read = self.budget.read(&arguments, whole.span);
        read.map_err(|diagnostic| self.refuse(*diagnostic))?;
        let converted = self.converted(function, call, &arguments)?;
        let value = self.run(function, call, &converted, whole)?;
        self.bounded(value, whole)
    }

    /// Reports a call that no function takes; the program's check told it already, but templates are checked here.
    fn bad_call(&mut self, call: &Call) -> Failed {
        match program::check_call(call) {
            Some(diagnostic) => self.refuse(diagnostic),
            None => {
                let detail =
                    function::find(&call.name).map(|it| format!("Its signature is `{}`.", it.signature()));
                let diagnostic =
                    Diagnostic::error("E0502", format!("wrong number of arguments for `{}`", call.name));
                self.refuse(diagnostic.detail(detail.unwrap_or_default()).at(call.name_span))
            }
        }
    }

    /// Evaluates arguments and spreads the last; none when what is spread is unknown.
    fn arguments(&mut self, call: &Call) -> Result<Option<Vec<Value>>, Failed> {
        let mut values = self.all(&call.arguments)?;
        let (true, Some(at)) = (call.spread, call.arguments.last()) else { return Ok(Some(values)) };
        let Some(last) = values.pop() else { return Ok(Some(values)) };
        let sequence = last.convert(&Type::list(Type::Any)).map(|_| ()).is_ok() || last.as_list().is_some();
        if !last.is_known() {
            return Ok(None);
        }
        if !sequence || last.is_null() {
            let diagnostic = Diagnostic::error("E0503", "only a list, set or tuple can be spread with `...`");
            return Err(self.report(diagnostic, at));
        }
        values.extend(last.parts().map(|part| part.clone().marked(last.is_sensitive())));
        Ok(Some(values))
    }

    fn converted(
        &mut self,
        function: &Function,
        call: &Call,
        arguments: &[Value],
    ) -> Result<Vec<Value>, Failed> {
        let results: Vec<Outcome> = arguments
            .iter()
            .enumerate()
            .map(|(position, value)| {
                let parameter = function.parameter(position);
                let at = argument_at(call, position);
                let what = format!("argument `{}` of `{}`", parameter.name, function.name);
                if parameter.kind == Type::Any {
                    return Ok(value.clone());
                }
                if value.is_null() {
                    let diagnostic = Diagnostic::error("E0504", format!("{what} is null"));
                    return Err(self.report_call(diagnostic, at, call));
                }
                match at {
                    Some(at) => self.convert(value, &parameter.kind, at, &what),
                    None => value.convert(&parameter.kind).map_err(|_| Failed),
                }
            })
            .collect();
        results.into_iter().collect()
    }

    fn run(&mut self, function: &Function, call: &Call, arguments: &[Value], whole: &Expr) -> Outcome {
        if let Run::Raw(run) = function.run {
            return run(arguments).map_err(|refusal| self.refusal(&refusal, call));
        }
        if let Run::Parts(run) = function.run {
            let marked = arguments.iter().any(Value::is_sensitive);
            if !arguments.iter().all(Value::is_known) {
                return self.run_unknown(function, call, arguments);
            }
            let bare: Vec<Value> = arguments.iter().map(|value| value.kind().clone().into()).collect();
            return run(&bare)
                .map(|value| value.marked(marked))
                .map_err(|refusal| self.refusal(&refusal, call));
        }
        let marked = arguments.iter().any(Value::has_sensitive);
        let template = matches!(function.run, Run::TemplateFile | Run::TemplateText);
        if !template && !arguments.iter().all(Value::is_wholly_known) {
            return self.run_unknown(function, call, arguments);
        }
        let bare: Vec<Value> = arguments.iter().map(Value::unmarked).collect();
        let value = match function.run {
            Run::Values(run) => run(&bare).map_err(|refusal| self.refusal(&refusal, call)),
            Run::World(run) => self.run_with_world(run, &bare, call),
            Run::Later(run) => match self.world.applying() {
                Some(applying) => {
                    let draw = self.draw(&applying, call);
                    run(&applying, &draw, &bare).map_err(|refusal| self.refusal(&refusal, call))
                }
                None => Ok(unknown_result(function)),
            },
            Run::TemplateFile => self.template_file(&bare, call, whole),
            Run::TemplateText => match bare.first().and_then(Value::as_str) {
                Some(text) => self.template_text("<template>", text, bare.get(1), whole),
                None => Ok(Value::unknown(Type::String).definite()),
            },
            Run::Raw(_) | Run::Parts(_) | Run::Try | Run::Can => Err(Failed),
        };
        value.map(|value| normalised(value).marked(marked))
    }

    fn run_unknown(&mut self, function: &Function, call: &Call, arguments: &[Value]) -> Outcome {
        let marked = arguments.iter().any(Value::has_sensitive);
        let bare: Vec<Value> = arguments.iter().map(Value::unmarked).collect();
        let value = function::unknown::yielded(function, &bare);
        value.map(|value| value.marked(marked)).map_err(|refusal| self.refusal(&refusal, call))
    }

    fn run_with_world(&mut self, run: function::Reader, arguments: &[Value], call: &Call) -> Outcome {
        match run(self.world, arguments) {
            Ok((value, hash)) => {
                if let (Some(hash), Some(scope)) = (hash, self.scope) {
                    scope.note_file(function::text(arguments, 0), hash);
                }
                Ok(value)
            }
            Err(refusal) => Err(self.refusal(&refusal, call)),
        }
    }

    /// Draws bytes for a call: the same whenever this place is evaluated for this instance, others for each turn of a loop.
    fn draw(&mut self, applying: &Applying, call: &Call) -> Draw {
        let (source, start) = (call.name_span.source.0, call.name_span.start);
        let turn = self.draws.entry((source, start)).or_default();
        *turn += 1;
        let instance = self.instance.map(|instance| instance.address.to_string());
        // One text of a module is evaluated for each of its instances.
        let module = self.scope.map(|scope| scope.path(self.module)).filter(|path| !path.is_empty());
        let place = format!("{:?} {source} {start} {turn} {instance:?} {module:?}", self.template_path);
        sha2::Sha256::new().chain_update(applying.seed).chain_update(place).finalize().into()
    }

    fn refusal(&mut self, refusal: &Refusal, call: &Call) -> Failed {
        let (summary, at) = match refusal.argument {
            Some(position) => {
                let name = function::find(&call.name)
                    .map_or("", |function| function.parameter(position).name.as_str());
                (format!("unsuitable argument `{name}` of `{}`", call.name), argument_at(call, position))
            }
            None => (format!("`{}` failed", call.name), None),
        };
        let diagnostic = Diagnostic::error("E0505", summary).detail(format!("{}.", refusal.reason));
        self.report_call(diagnostic, at, call)
    }

    fn report_call(&mut self, diagnostic: Diagnostic, at: Option<&Expr>, call: &Call) -> Failed {
        match at {
            Some(at) => self.report(diagnostic, at),
            None => {
                let kind = syntax::ExprKind::Call(call.clone());
                self.report(diagnostic, &Expr { kind, span: call.name_span })
            }
        }
    }

    fn bounded(&mut self, value: Value, whole: &Expr) -> Outcome {
        let too_long = value.as_str().is_some_and(|text| text.len() > TEXT_BYTES_MAX);
        if too_long || value.parts().take(function::ELEMENTS_MAX + 1).count() > function::ELEMENTS_MAX {
            return Err(
                self.refuse(Diagnostic::error("E0506", "result of a function is too large").at(whole.span))
            );
        }
        let made = self.budget.make(&value, whole.span);
        made.map_err(|diagnostic| self.refuse(*diagnostic))?;
        Ok(value)
    }

    /// The first argument that does not fail; an unknown one is the result, for it may fail later.
    fn try_each(&mut self, call: &Call, whole: &Expr) -> Outcome {
        for argument in &call.arguments {
            if let Ok(value) = self.quietly(|context| context.expression(argument)) {
                return Ok(value);
            }
        }
        // What went wrong with each is said by evaluating the last one again, aloud.
        let diagnostic = Diagnostic::error("E0507", "no argument of `try` could be evaluated");
        self.report(diagnostic.hint("Give a last argument that cannot fail, as `null`."), whole);
        Err(Failed)
    }

    fn template_file(&mut self, arguments: &[Value], call: &Call, whole: &Expr) -> Outcome {
        let Some(path) = arguments.first().and_then(Value::as_str).map(str::to_owned) else {
            return Ok(Value::unknown(Type::String).definite());
        };
        let (text, hash) = match function::read_text(self.world, &path) {
            Ok(read) => read,
            Err(refusal) => return Err(self.refusal(&refusal, call)),
        };
        if let Some(scope) = self.scope {
            scope.note_file(&path, hash);
        }
        self.template_text(&path, &text, arguments.get(1), whole)
    }

    /// Renders a template with its own names only.
    fn template_text(&mut self, name: &str, text: &str, names: Option<&Value>, whole: &Expr) -> Outcome {
        let unknown = names.is_some_and(|names| !names.is_known());
        let names = names.and_then(Value::as_map).cloned().unwrap_or_default();
        if let Some(name) = names.keys().find(|name| !is_identifier(name)) {
            let detail = format!(
                "{name:?} is no name: a name begins with a letter, then letters, digits, `_` or `-`."
            );
            let diagnostic = Diagnostic::error("E0510", "a template is given a value without a name");
            return Err(self.report(diagnostic.detail(detail), whole));
        }
        let read = self.budget.read_template(text, whole.span);
        read.map_err(|diagnostic| self.refuse(*diagnostic))?;
        let mut inner = Context::new(self.world, None);
        inner.templates = self.templates + 1;
        inner.quiet = self.quiet;
        (inner.steps, inner.budget) = (self.steps, self.budget);
        inner.instance = self.instance;
        inner.template_path = self.template_path.clone();
        inner.template_path.push(whole.span);
        let mut sources = Sources::default();
        let id = sources.add(name, text);
        if inner.templates > TEMPLATES_MAX {
            let detail = format!("Templates are rendered at most {TEMPLATES_MAX} deep.");
            return Err(self.refuse(
                Diagnostic::error("E0508", "templates nest too deep").detail(detail).at(whole.span),
            ));
        }
        if unknown {
            return Ok(Value::unknown(Type::String).definite());
        }
        let parts = syntax::parse_template(&sources, id, &mut inner.diagnostics);
        let mut value = Err(Failed);
        if let Some(parts) = parts {
            for mention in mention::mentions_of_parts(&parts) {
                let Mention::Reference(reference) = mention else { continue };
                if !names.contains_key(reference.root) {
                    let diagnostic = Diagnostic::error(
                        "E0509",
                        format!("the template knows no name `{}`", reference.root),
                    );
                    let hint = did_you_mean(reference.root, names.keys().map(String::as_str));
                    let hint = hint.unwrap_or_else(|| "Names are given in the second argument.".to_owned());
                    inner.refuse(diagnostic.hint(hint).at(reference.span));
                }
            }
            if !inner.diagnostics.has_errors() {
                inner.bound = names.into_iter().collect();
                value = inner.template(&parts, whole);
            }
        }
        (self.steps, self.budget) = (inner.steps, inner.budget);
        self.adopt(inner.diagnostics, &sources, whole);
        value
    }

    /// Places what was found in a template at the call, and says the line in words: the template is no source of ours.
    fn adopt(&mut self, found: Diagnostics, sources: &Sources, whole: &Expr) {
        for mut diagnostic in found {
            let place = diagnostic
                .span
                .and_then(|span| Some((sources.get(span.source)?, sources.positions(span)?.0)));
            if let Some((source, position)) = place {
                let place = format!("{} line {}, column {}", source.name, position.line, position.column);
                diagnostic.detail = format!("In {place}: {}", diagnostic.detail).trim_end().to_owned();
            }
            diagnostic.span = Some(whole.span);
            diagnostic.related.clear();
            self.refuse(diagnostic);
        }
    }
}

/// Unknown, but of the type that the signature says.
fn unknown_result(function: &Function) -> Value {
    let value = Value::unknown(function.result.clone());
    if function.result == Type::Any { value } else { value.definite() }
}

/// Normalises the texts that a function made, as all text is.
fn normalised(value: Value) -> Value {
    let is_normal = |text: &str| text.is_ascii() || unicode_normalization::is_nfc(text);
    match value.kind() {
        Kind::String(text) if is_normal(text) => value,
        Kind::String(text) => text.nfc().collect::<String>().into(),
        Kind::Tuple(items) => Value::tuple(items.iter().cloned().map(normalised).collect()),
        Kind::List(element, items) => {
            Value::list(element.clone(), items.iter().cloned().map(normalised).collect())
        }
        Kind::Object(items, None) => {
            let entry =
                |(name, item): (&String, &Value)| (name.nfc().collect::<String>(), normalised(item.clone()));
            Value::object(items.iter().map(entry))
        }
        Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) => value,
        // These are made of what the arguments hold.
        Kind::Set(..) | Kind::Map(..) | Kind::Object(_, Some(_)) => value,
    }
}

/// The expression that gave an argument; a spread one gave several.
fn argument_at(call: &Call, position: usize) -> Option<&Expr> {
    call.arguments.get(position).or_else(|| call.arguments.last().filter(|_| call.spread))
}
