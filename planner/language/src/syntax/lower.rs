//! Lowering of hcl-edit's tree into ours.
//!
//! Numbers are read again from the text, because hcl-edit rounds them to 64 bits; a negative number followed by
//! accesses, and traversals with splats, are put into the shape that evaluates simply. No names are resolved.
//! Invariant: every node's span lies in the file, also when only a piece of it was parsed.

use std::borrow::Cow;
use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{self, BinaryOperator, Expression, ObjectKey, TraversalOperator, UnaryOperator};
use hcl_edit::structure::{self, BlockLabel, Structure};
use indexmap::IndexMap;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, SourceId, Span};
use lustre_model::types::Type;
use lustre_model::value::{Number, NumberError, Value};
use unicode_normalization::UnicodeNormalization as _;

use crate::syntax::template::{self, Shape};
use crate::syntax::{
    AttributeSyntax, Binary, BlockSyntax, BodySyntax, Call, Expr, ExprKind, For, Label, Part, Step, Unary,
};

/// Lowers one parsed piece of a text.
pub(crate) struct Lowering<'a> {
    text: &'a str,
    id: SourceId,
    base: usize,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Lowering<'a> {
    /// Starts; `base` is where the parsed piece begins in the text.
    pub(crate) fn new(text: &'a str, id: SourceId, base: usize, diagnostics: &'a mut Diagnostics) -> Self {
        Self { text, id, base, diagnostics }
    }

    /// Returns the text under a range of the piece.
    pub(crate) fn source(&self, range: Range<usize>) -> &'a str {
        self.text.get(self.base + range.start..self.base + range.end).unwrap_or("")
    }

    /// Returns a place up to the bracket that closes behind it.
    fn through_bracket(&self, span: Span) -> Span {
        let behind = self.text.get(span.end as usize..).and_then(|rest| rest.find(']'));
        let more = behind.and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(0);
        Span { end: span.end + more, ..span }
    }

    fn span(&self, range: Option<Range<usize>>) -> Span {
        let range = range.unwrap_or(0..0);
        Span::new(self.id, self.base + range.start..self.base + range.end)
    }

    pub(crate) fn body(&mut self, body: &structure::Body) -> BodySyntax {
        let mut lowered =
            BodySyntax { attributes: IndexMap::new(), blocks: Vec::new(), span: self.span(body.span()) };
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    let name_span = self.span(attribute.key.span());
                    let attribute_syntax =
                        AttributeSyntax { name_span, value: self.expression(&attribute.value) };
                    lowered.attributes.insert(attribute.key.to_string(), attribute_syntax);
                }
                Structure::Block(block) => {
                    let block = self.block(block);
                    lowered.blocks.push(block);
                }
            }
        }
        lowered
    }

    fn block(&mut self, block: &structure::Block) -> BlockSyntax {
        let labels: Vec<Label> = block
            .labels
            .iter()
            .map(|label| {
                let span = match label {
                    BlockLabel::Ident(ident) => ident.span(),
                    BlockLabel::String(string) => string.span(),
                };
                Label { text: label.as_str().to_owned(), span: self.span(span) }
            })
            .collect();
        let kind_span = self.span(block.ident.span());
        let header_span = labels.last().map_or(kind_span, |label| kind_span.to(label.span));
        let span = self.span(block.span());
        let mut body = self.body(&block.body);
        // A one-line body has no span of its own.
        if block.body.span().is_none() {
            body.span = span;
        }
        BlockSyntax { kind: block.ident.to_string(), labels, body, header_span, span }
    }

    pub(crate) fn expression(&mut self, expression: &Expression) -> Expr {
        let span = self.span(expression.span());
        let kind = match expression {
            Expression::Null(_) => ExprKind::Literal(Value::null(Type::Any)),
            Expression::Bool(value) => ExprKind::Literal((*value.value()).into()),
            Expression::Number(_) => self.number(span),
            Expression::String(text) => ExprKind::Literal(normalised(text.value().as_str()).as_ref().into()),
            Expression::Array(items) => {
                ExprKind::Tuple(items.iter().map(|item| self.expression(item)).collect())
            }
            Expression::Object(items) => ExprKind::Object(self.object(items)),
            Expression::StringTemplate(text) => {
                let inner = hcl_edit::template::Template::from_iter(text.iter().cloned());
                template_kind(template::build(&inner, self, Shape::Quoted))
            }
            Expression::HeredocTemplate(heredoc) => {
                let marker = self.text.get(span.range()).unwrap_or("");
                let shape = if marker.starts_with("<<-") { Shape::Indented } else { Shape::Heredoc };
                template_kind(template::build(&heredoc.template, self, shape))
            }
            Expression::Parenthesis(inner) => return self.expression(inner.inner()),
            Expression::Variable(name) => ExprKind::Variable(name.to_string()),
            Expression::Conditional(it) => ExprKind::Conditional(
                Box::new(self.expression(&it.cond_expr)),
                Box::new(self.expression(&it.true_expr)),
                Box::new(self.expression(&it.false_expr)),
            ),
            Expression::FuncCall(call) => self.call(call),
            Expression::Traversal(traversal) => {
                let base = self.expression(&traversal.expr);
                let operators: Vec<_> = traversal.operators.iter().map(|operator| operator.value()).collect();
                ExprKind::Access(Box::new(base), self.steps(&operators))
            }
            Expression::UnaryOp(it) => {
                let operator = match it.operator.value() {
                    UnaryOperator::Neg => Unary::Negate,
                    UnaryOperator::Not => Unary::Not,
                };
                ExprKind::Unary(operator, Box::new(self.expression(&it.expr)))
            }
            Expression::BinaryOp(it) => ExprKind::Binary(
                binary(*it.operator.value()),
                Box::new(self.expression(&it.lhs_expr)),
                Box::new(self.expression(&it.rhs_expr)),
            ),
            Expression::ForExpr(it) => ExprKind::For(Box::new(self.for_expression(it))),
        };
        Expr { kind, span }
    }

    fn number(&mut self, span: Span) -> ExprKind {
        let digits: String = self
            .text
            .get(span.range())
            .unwrap_or("")
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect();
        let number = digits.parse::<Number>().unwrap_or_else(|error| {
            let detail = match error {
                NumberError::OutOfRange | NumberError::DivisionByZero => format!("{error}."),
                NumberError::Syntax => "A comment cannot stand inside a number.".to_owned(),
            };
            self.diagnostics.push(Diagnostic::error("E0102", "invalid number").detail(detail).at(span));
            Number::from(0u64)
        });
        ExprKind::Literal(number.into())
    }

    fn object(&mut self, items: &expr::Object) -> Vec<(Expr, Expr)> {
        let lower = |(key, value): (&ObjectKey, &expr::ObjectValue)| {
            let key = match key {
                ObjectKey::Ident(name) => {
                    Expr { kind: ExprKind::Literal(name.as_str().into()), span: self.span(name.span()) }
                }
                ObjectKey::Expression(key) => self.object_key(key),
            };
            (key, self.expression(value.expr()))
        };
        items.iter().map(lower).collect()
    }

    /// A key such as `a.b` must be in parentheses, because it looks like a name; `null` and `true` are names.
    fn object_key(&mut self, key: &Expression) -> Expr {
        let lowered = self.expression(key);
        let text = self.text.get(lowered.span.range()).unwrap_or("").to_owned();
        if matches!(key, Expression::Null(_) | Expression::Bool(_) | Expression::Variable(_)) {
            return Expr { kind: ExprKind::Literal(text.as_str().into()), span: lowered.span };
        }
        if matches!(key, Expression::Traversal(_)) {
            let diagnostic = Diagnostic::error("E0103", "ambiguous attribute key")
                .detail(format!("`{text}` looks like a reference, but a key without parentheses is a name."))
                .hint(format!("Write `({text})` for its value, or \"{text}\" for the text."));
            self.diagnostics.push(diagnostic.at(lowered.span));
        }
        lowered
    }

    fn call(&mut self, call: &expr::FuncCall) -> ExprKind {
        let namespace = call.name.namespace.iter().map(|part| format!("{}::", part.as_str()));
        let name: String = namespace.chain([call.name.name.to_string()]).collect();
        ExprKind::Call(Call {
            name,
            name_span: self.span(call.name.name.span()),
            arguments: call.args.iter().map(|argument| self.expression(argument)).collect(),
            spread: call.args.expand_final(),
        })
    }

    fn steps(&mut self, operators: &[&TraversalOperator]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut rest = operators;
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            self.check_neighbours(first, tail.first());
            let step = match first {
                TraversalOperator::GetAttr(name) => Step::Attribute(name.to_string(), self.span(name.span())),
                TraversalOperator::Index(index) => {
                    let index = self.expression(index);
                    let through = self.through_bracket(index.span);
                    Step::Index(index, through)
                }
                TraversalOperator::LegacyIndex(index) => {
                    let kind = ExprKind::Literal((*index.value()).into());
                    let span = self.span(index.span());
                    Step::Index(Expr { kind, span }, span)
                }
                TraversalOperator::AttrSplat(splat) => {
                    let plain = |next: &&&TraversalOperator| {
                        matches!(next, TraversalOperator::GetAttr(_) | TraversalOperator::LegacyIndex(_))
                    };
                    let (each, after) = tail.split_at(tail.iter().take_while(plain).count());
                    rest = after;
                    Step::Splat(self.steps(each), self.span(splat.span()))
                }
                TraversalOperator::FullSplat(splat) => {
                    rest = &[];
                    Step::Splat(self.steps(tail), self.span(splat.span()))
                }
            };
            steps.push(step);
        }
        steps
    }

    /// HCL reads `.0.1` as a number, and no splat of attributes directly behind another one.
    fn check_neighbours(&mut self, first: &TraversalOperator, next: Option<&&TraversalOperator>) {
        let (span, hint) = match (first, next) {
            (TraversalOperator::LegacyIndex(_), Some(TraversalOperator::LegacyIndex(index))) => {
                (index.span(), "Write indexes in brackets: `[0][1]`.")
            }
            (TraversalOperator::AttrSplat(_), Some(TraversalOperator::AttrSplat(splat))) => {
                (splat.span(), "Write `[*]`, which may stand behind another one.")
            }
            _ => return,
        };
        let diagnostic = Diagnostic::error("E0104", "invalid access").hint(hint);
        self.diagnostics.push(diagnostic.at(self.span(span)));
    }

    fn for_expression(&mut self, it: &expr::ForExpr) -> For {
        For {
            key_name: it.intro.key_var.as_ref().map(|name| name.to_string()),
            value_name: it.intro.value_var.to_string(),
            collection: self.expression(&it.intro.collection_expr),
            key: it.key_expr.as_ref().map(|key| self.expression(key)),
            value: self.expression(&it.value_expr),
            grouping: it.grouping,
            condition: it.cond.as_ref().map(|condition| self.expression(&condition.expr)),
        }
    }
}

/// All text of a spec is normalised to NFC, as HCL does.
pub(crate) fn normalised(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || unicode_normalization::is_nfc(text) {
        text.into()
    } else {
        text.nfc().collect::<String>().into()
    }
}

/// Text that has no sequences is a literal.
fn template_kind(parts: Vec<Part>) -> ExprKind {
    match parts.as_slice() {
        [] => ExprKind::Literal("".into()),
        [Part::Literal(text)] => ExprKind::Literal(text.as_str().into()),
        _ => ExprKind::Template(parts),
    }
}

fn binary(operator: BinaryOperator) -> Binary {
    match operator {
        BinaryOperator::Eq => Binary::Equal,
        BinaryOperator::NotEq => Binary::NotEqual,
        BinaryOperator::LessEq => Binary::LessOrEqual,
        BinaryOperator::GreaterEq => Binary::GreaterOrEqual,
        BinaryOperator::Less => Binary::Less,
        BinaryOperator::Greater => Binary::Greater,
        BinaryOperator::Plus => Binary::Add,
        BinaryOperator::Minus => Binary::Subtract,
        BinaryOperator::Mul => Binary::Multiply,
        BinaryOperator::Div => Binary::Divide,
        BinaryOperator::Mod => Binary::Remainder,
        BinaryOperator::And => Binary::And,
        BinaryOperator::Or => Binary::Or,
    }
}
