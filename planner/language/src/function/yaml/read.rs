//! YAML as values, with the rules by which Terraform reads plain scalars.
//!
//! `yes`, `on` and their like are booleans, times become RFC 3339, `<<` merges mappings. Keys are scalars.
//! Invariant: values nest at most [`DEPTH_MAX`] deep and have at most [`PARTS_MAX`] parts, counted with what aliases repeat.

use std::collections::{BTreeMap, HashMap};

use lustre_model::types::Type;
use lustre_model::value::{Kind, Number, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::evaluate::DEPTH_MAX;
use crate::function::time::lenient;
use crate::function::{ELEMENTS_MAX, Yield, refuse, text};

/// Most parts of a document.
const PARTS_MAX: usize = ELEMENTS_MAX;

/// A collection that is being read.
struct Open {
    anchor: usize,
    content: Content,
    parts: usize,
}

enum Content {
    Sequence(Vec<Value>),
    Mapping(BTreeMap<String, Value>, Key),
}

/// What a mapping waits for.
enum Key {
    Wanted,
    Given(String),
    Merge,
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    parts: usize,
    result: Option<Value>,
}

pub(super) fn decode(arguments: &[Value]) -> Yield {
    read(text(arguments, 0)).or_else(|reason| refuse(0, format!("it is not YAML: {reason}")))
}

fn read(source: &str) -> Result<Value, String> {
    let mut reader = Reader::default();
    let mut documents = 0;
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        if let Event::DocumentStart(_) = event {
            documents += 1;
        }
        if documents > 1 {
            return Err("only a single document is allowed".to_owned());
        }
        let line = span.start.line();
        reader.event(event).map_err(|reason| format!("on line {line}, {reason}"))?;
    }
    reader.result.ok_or_else(|| "there is no document".to_owned())
}

impl Reader {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Alias(anchor) => {
                if self.awaits_key() {
                    return Err(KEYS.to_owned());
                }
                let found = self.anchors.get(&anchor).cloned();
                let (value, parts) = found
                    .ok_or_else(|| "an anchor is referred to from inside its own definition".to_owned())?;
                self.place(value, parts, 0)
            }
            Event::Scalar(content, style, anchor, tag) => {
                if self.awaits_key() {
                    return self.key(&content, style, tag.as_deref());
                }
                let value = scalar(&content, style, tag.as_deref())?;
                self.place(value, 1, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(anchor, Content::Sequence(Vec::new()), (tag.as_deref(), "seq"))
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(anchor, Content::Mapping(BTreeMap::new(), Key::Wanted), (tag.as_deref(), "map"))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Mapping(_, Key::Wanted), .. }))
    }

    fn begin(&mut self, anchor: usize, content: Content, tags: (Option<&Tag>, &str)) -> Result<(), String> {
        if self.awaits_key() {
            return Err(KEYS.to_owned());
        }
        if let (Some(tag), expected) = tags
            && core_tag(tag)? != expected
        {
            return Err(format!("a collection cannot be read as {tag}"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("values nest more than {DEPTH_MAX} deep"));
        }
        self.open.push(Open { anchor, content, parts: 1 });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::Sequence(items) => Value::tuple(items),
            Content::Mapping(items, _) => Value::object(items),
        };
        self.place(value, open.parts, open.anchor)
    }

    fn key(&mut self, content: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<(), String> {
        let merge = match tag {
            None => content == "<<",
            Some(tag) => tag.is_yaml_core_schema() && tag.suffix == "merge",
        };
        let key = if merge {
            Key::Merge
        } else {
            let name = scalar(content, style, tag)?;
            if name.is_null() {
                return Err("a key is null".to_owned());
            }
            let name = name.convert(&Type::String).map_err(|error| error.to_string())?;
            Key::Given(name.as_str().unwrap_or_default().to_owned())
        };
        if let Some(Open { content: Content::Mapping(_, waits), .. }) = self.open.last_mut() {
            *waits = key;
        }
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, value: Value, parts: usize, anchor: usize) -> Result<(), String> {
        self.parts = self.parts.saturating_add(parts);
        // What an alias repeats is counted again in all that is around it.
        if parts > PARTS_MAX || self.parts > PARTS_MAX {
            return Err(format!("it has more than {PARTS_MAX} parts"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), parts));
        }
        let Some(open) = self.open.last_mut() else {
            self.result = Some(value);
            return Ok(());
        };
        open.parts = open.parts.saturating_add(parts);
        match &mut open.content {
            Content::Sequence(items) => items.push(value),
            Content::Mapping(items, key) => match std::mem::replace(key, Key::Wanted) {
                Key::Given(name) => {
                    items.insert(name, value);
                }
                Key::Merge => merge(items, &value)?,
                Key::Wanted => {}
            },
        }
        Ok(())
    }
}

const KEYS: &str = "only text can be a key of a mapping";

/// Puts the entries of a mapping, or of each mapping of a sequence, in place of a `<<`.
fn merge(items: &mut BTreeMap<String, Value>, value: &Value) -> Result<(), String> {
    let mappings: Vec<&Value> = match value.kind() {
        Kind::Tuple(parts) => parts.iter().collect(),
        Kind::Null(_)
        | Kind::Unknown(_)
        | Kind::Bool(_)
        | Kind::Number(_)
        | Kind::String(_)
        | Kind::List(..)
        | Kind::Set(..)
        | Kind::Map(..)
        | Kind::Object(..) => vec![value],
    };
    for mapping in mappings {
        let Some(entries) = mapping.as_map() else {
            return Err(format!("a {} cannot be merged into a mapping", mapping.type_of().friendly()));
        };
        items.extend(entries.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok(())
}

/// Returns the name of a tag that YAML defines.
fn core_tag(tag: &Tag) -> Result<&str, String> {
    if tag.is_yaml_core_schema() { Ok(&tag.suffix) } else { Err(format!("the tag {tag} is not supported")) }
}

fn scalar(content: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    // A lone `!` says that it is text.
    let name = match tag {
        None => "",
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => "str",
        Some(tag) => core_tag(tag)?,
    };
    let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    let cannot = || format!("{content:?} cannot be read as !!{name}");
    match name {
        "str" => return Ok(content.into()),
        "binary" => {
            use base64::Engine as _;
            let decoded = base64::engine::general_purpose::STANDARD.decode(content);
            return decoded.map(|_| content.into()).map_err(|_| cannot());
        }
        "" | "bool" | "int" | "float" | "null" | "timestamp" => {}
        other => return Err(format!("the tag !!{other} is not supported")),
    }
    if quoted && name.is_empty() {
        return Ok(content.into());
    }
    if let Some(value) = word(content)? {
        return Ok(value);
    }
    let plain = name.is_empty();
    if let Some(time) = lenient(content).filter(|_| plain || name == "timestamp") {
        return Ok(time.into());
    }
    let number = number(content, !plain)?;
    match (number, name) {
        (Some(number), "" | "int" | "float") => Ok(number.into()),
        (_, "") => Ok(content.into()),
        (_, "null") => Ok(Value::null(Type::Any)),
        _ => Err(cannot()),
    }
}

/// Words with a meaning of their own.
fn word(content: &str) -> Result<Option<Value>, String> {
    Ok(Some(match content {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        "" | "~" | "null" | "Null" | "NULL" => Value::null(Type::Any),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("the number {content} is not supported")),
        _ => return Ok(None),
    }))
}

/// Reads a number of YAML 1.2; with a tag that says so, underscores may stand in it.
fn number(content: &str, tagged: bool) -> Result<Option<Number>, String> {
    if !content.starts_with(|letter: char| letter.is_ascii_digit() || "+-.".contains(letter)) {
        return Ok(None);
    }
    let bare = if tagged { content.replace('_', "") } else { content.to_owned() };
    let radix = |digits: &str, radix: u32| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Number::parse_radix(digits, radix).ok().filter(|_| plain)
    };
    if let Some(digits) = bare.strip_prefix("0x") {
        return Ok(radix(digits, 16));
    }
    if let Some(digits) = bare.strip_prefix("0o") {
        return Ok(radix(digits, 8));
    }
    match bare.parse::<Number>() {
        Ok(number) => Ok(Some(number)),
        Err(lustre_model::value::NumberError::OutOfRange) => {
            Err(format!("the number {content:.40} is out of range"))
        }
        Err(_) => Ok(None),
    }
}
