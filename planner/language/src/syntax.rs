//! Syntax: our own tree of bodies and expressions, every node with its place in the text.
//!
//! Text is parsed by hcl-edit and lowered into this tree at once; what hcl-edit gets wrong is put right on the way
//! ([`parse()`], [`template`]). No value is computed here, and names are not resolved.
//! Invariant: the depth of a tree is bounded by hcl-edit's nesting limits, so that walking it by recursion is safe.

use indexmap::IndexMap;
use lustre_model::diagnostic::Span;
use lustre_model::value::Value;

mod blank;
mod lower;
mod parse;
mod template;
mod unclosed;

pub(crate) use self::parse::{is_body, parse, parse_expression, parse_template};

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is written.
    pub span: Span,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number, `true`, `null`, text without interpolation.
    Literal(Value),
    /// Text with interpolations or directives.
    Template(Vec<Part>),
    /// `[a, b]`
    Tuple(Vec<Expr>),
    /// `{ a = b }`; a bare name as key is a literal.
    Object(Vec<(Expr, Expr)>),
    /// A name at the root of a reference.
    Variable(String),
    /// `base.a[b][*]…`
    Access(Box<Expr>, Vec<Step>),
    /// `name(…)`
    Call(Call),
    /// `condition ? then : otherwise`
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `-a`, `!a`
    Unary(Unary, Box<Expr>),
    /// `a + b`
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `[for …]`, `{for …}`
    For(Box<For>),
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub name: String,
    /// Where the name is.
    pub name_span: Span,
    /// Arguments.
    pub arguments: Vec<Expr>,
    /// Whether the last argument is spread: `f(a...)`.
    pub spread: bool,
}

/// One step of an access.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `.name`
    Attribute(String, Span),
    /// `[expression]`, also `.0`; and where it is written, up to its bracket.
    Index(Expr, Span),
    /// `[*]` or `.*` and what applies to each element.
    Splat(Vec<Step>, Span),
}

impl Step {
    /// Returns where it is written.
    pub fn span(&self) -> Span {
        match self {
            Self::Attribute(_, span) | Self::Index(_, span) | Self::Splat(_, span) => *span,
        }
    }
}

/// An operator with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `-`
    Negate,
    /// `!`
    Not,
}

/// An operator with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A `for` expression.
#[derive(Debug, Clone, PartialEq)]
pub struct For {
    /// Name of the key, if it is wanted.
    pub key_name: Option<String>,
    /// Name of the value.
    pub value_name: String,
    /// What is walked.
    pub collection: Expr,
    /// Key of the result; none for `[for …]`.
    pub key: Option<Expr>,
    /// Value of the result.
    pub value: Expr,
    /// `...` behind the value: values of one key are gathered.
    pub grouping: bool,
    /// `if …`
    pub condition: Option<Expr>,
}

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Literal(String),
    /// `${…}`
    Interpolation(Expr),
    /// `%{if}…%{else}…%{endif}`
    If(Expr, Vec<Part>, Vec<Part>),
    /// `%{for}…%{endfor}`
    For(TemplateFor),
}

/// A `for` directive.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateFor {
    /// Name of the key, if it is wanted.
    pub key_name: Option<String>,
    /// Name of the value.
    pub value_name: String,
    /// What is walked.
    pub collection: Expr,
    /// What is written for each.
    pub body: Vec<Part>,
}

/// What stands between braces, or in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct BodySyntax {
    /// Attributes in the order of the text.
    pub attributes: IndexMap<String, AttributeSyntax>,
    /// Blocks in the order of the text.
    pub blocks: Vec<BlockSyntax>,
    /// Where it is.
    pub span: Span,
}

/// `name = expression`
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeSyntax {
    /// Where the name is.
    pub name_span: Span,
    /// Its value.
    pub value: Expr,
}

/// `kind "label" { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct BlockSyntax {
    /// Its type.
    pub kind: String,
    /// Its labels.
    pub labels: Vec<Label>,
    /// What is inside.
    pub body: BodySyntax,
    /// Where type and labels are.
    pub header_span: Span,
    /// Where the whole block is.
    pub span: Span,
}

/// A label of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its text.
    pub text: String,
    /// Where it is.
    pub span: Span,
}

impl BlockSyntax {
    /// Returns the name that a block `dynamic` binds: its label, or what its `iterator` says.
    pub(crate) fn iterator(&self) -> Option<&str> {
        let label = self.labels.first().filter(|_| self.kind == "dynamic")?;
        if let Some(AttributeSyntax { value: Expr { kind: ExprKind::Variable(name), .. }, .. }) =
            self.body.attributes.get("iterator")
        {
            return Some(name);
        }
        Some(&label.text)
    }
}

impl BodySyntax {
    /// Returns every expression inside, of nested blocks too.
    pub fn expressions(&self) -> Vec<&Expr> {
        let mut found: Vec<&Expr> = self.attributes.values().map(|attribute| &attribute.value).collect();
        found.extend(self.blocks.iter().flat_map(|block| block.body.expressions()));
        found
    }

    /// Tells whether a block `dynamic` inside binds a name.
    pub(crate) fn binds(&self, name: &str) -> bool {
        self.blocks.iter().any(|block| block.iterator() == Some(name) || block.body.binds(name))
    }
}
