//! The `layout` block of a cluster: the default layout of new files, as components.
//!
//! Without one it is FSx's for new file systems: `-E 100M -c 1 -E 10G -c 8 -E 100G -c 16 -E -1 -c 32`.
//! Invariant: ends grow from component to component, and only the last has none.

use lustre_model::diagnostic::{Diagnostic, Span};
use lustre_model::layout::{STRIPE_SIZE_DEFAULT, STRIPE_SIZE_MIN};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::capacity::parse_size;
use super::reader::{Need, Reader};

/// Most components of a layout.
const COMPONENTS_MAX: usize = 32;

/// Most stripes of a component, as Lustre's.
const STRIPE_COUNT_MAX: i64 = 2000;

/// Largest stripe unit: it has to fit in 32 bits.
const STRIPE_SIZE_MAX: u64 = 1 << 31;

const FSX: [(Option<u64>, i64); 4] =
    [(Some(100 << 20), 1), (Some(10 << 30), 8), (Some(100 << 30), 16), (None, 32)];

struct Component {
    end: Option<(u64, Span)>,
    stripe_count: Value,
    stripe_size: u64,
    span: Span,
}

pub fn decode(reader: &mut Reader<'_>) -> Option<Value> {
    let Some(block) = reader.block("layout", Need::Optional) else {
        let default =
            FSX.iter().map(|(end, count)| value(*end, Value::from(*count), u64::from(STRIPE_SIZE_DEFAULT)));
        return Some(list(default.collect()));
    };
    reader.nested("layout block", block, |reader| {
        let blocks = reader.blocks("component");
        if blocks.is_empty() || blocks.len() > COMPONENTS_MAX {
            let summary = format!("a layout has 1 to {COMPONENTS_MAX} `component` blocks");
            reader.push(Diagnostic::error("E0803", summary).at(reader.span()));
            return None;
        }
        let read = |reader: &mut Reader<'_>| component(reader);
        let components: Option<Vec<Component>> =
            blocks.into_iter().map(|block| reader.nested("component block", block, read)).collect();
        let components = components?;
        in_order(reader, &components)?;
        let values = components
            .into_iter()
            .map(|it| value(it.end.map(|(end, _)| end), it.stripe_count, it.stripe_size));
        Some(list(values.collect()))
    })
}

fn component(reader: &mut Reader<'_>) -> Option<Component> {
    reader.refuse("pool", "Pools of targets are not built yet.");
    let end = match reader.attribute("end", Need::Optional) {
        Some(attribute) if attribute.value.as_i64() == Some(-1) || attribute.value.as_str() == Some("-1") => {
            None
        }
        Some(_) => Some(size(reader, "end")?),
        None => None,
    };
    let stripe_count = reader.number("stripe_count", Need::Optional, -1..=STRIPE_COUNT_MAX);
    let stripe_count = match (stripe_count, reader.attribute("stripe_count", Need::Optional)) {
        (Some(value), Some(attribute)) if value.as_i64() == Some(0) => {
            let reason = "It is a number of targets, or -1 for all.";
            return reader.invalid("stripe_count", &value, (reason, attribute.span));
        }
        (Some(value), _) => value,
        (None, Some(_)) => return None,
        (None, None) => Value::from(1_i64),
    };
    let stripe_size = match reader.attribute("stripe_size", Need::Optional) {
        Some(attribute) => {
            let (bytes, span) = size(reader, "stripe_size")?;
            let unit = u64::from(STRIPE_SIZE_MIN);
            if bytes == 0 || bytes % unit != 0 || bytes > STRIPE_SIZE_MAX {
                let reason = "It is a multiple of 64KiB, at most 2GiB.";
                return reader.invalid("stripe_size", &attribute.value, (reason, span));
            }
            bytes
        }
        None => u64::from(STRIPE_SIZE_DEFAULT),
    };
    Some(Component { end, stripe_count, stripe_size, span: reader.span() })
}

fn size(reader: &mut Reader<'_>, name: &'static str) -> Option<(u64, Span)> {
    let attribute = reader.attribute(name, Need::Required)?;
    let (value, span) = reader.known(name, (attribute.value.clone(), attribute.span))?;
    match parse_size(&value) {
        Ok(bytes) => Some((bytes, span)),
        Err(reason) => reader.invalid(name, &value, (&reason, span)),
    }
}

fn in_order(reader: &mut Reader<'_>, components: &[Component]) -> Option<()> {
    let mut start = 0;
    for (place, component) in components.iter().enumerate() {
        let last = place + 1 == components.len();
        let (summary, span) = match component.end {
            None if last => return Some(()),
            None => ("only the last component has no `end`", component.span),
            Some((end, span)) if end <= start => {
                ("`end` of a component lies behind that of the one before", span)
            }
            Some((end, span)) if end % u64::from(STRIPE_SIZE_MIN) != 0 => {
                ("`end` is a multiple of 64KiB", span)
            }
            Some((_, span)) if last => ("the last component has no `end`, so that files can grow", span),
            Some((end, _)) => {
                start = end;
                continue;
            }
        };
        reader.push(Diagnostic::error("E0805", summary).at(span));
        return None;
    }
    Some(())
}

fn value(end: Option<u64>, stripe_count: Value, stripe_size: u64) -> Value {
    let end = end.map_or_else(|| Value::null(Type::Number), Value::from);
    Value::object([("end", end), ("stripe_count", stripe_count), ("stripe_size", Value::from(stripe_size))])
}

fn list(components: Vec<Value>) -> Value {
    let component =
        Type::object([("end", Type::Number), ("stripe_count", Type::Number), ("stripe_size", Type::Number)]);
    Value::list(component, components)
}
