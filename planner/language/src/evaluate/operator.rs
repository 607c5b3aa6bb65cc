//! Operators: arithmetic on decimals, comparison, logic that stops early.
//!
//! Operands are converted as Terraform does: text to numbers for arithmetic, text to booleans for logic.
//! Invariant: no arithmetic panics or wraps; what is out of range is an error at its place.

use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::{Kind, Number, NumberError, Value};

use crate::evaluate::{Context, Failed, Outcome};
use crate::syntax::{Binary, Expr, Unary};

impl Context<'_> {
    pub(super) fn unary(&mut self, operator: Unary, operand: &Expr) -> Outcome {
        let (wanted, what) = match operator {
            Unary::Negate => (Type::Number, "`-`"),
            Unary::Not => (Type::Bool, "`!`"),
        };
        let value = self.operand(operand, &wanted, what)?;
        let result = match value.kind() {
            Kind::Number(number) => number.negate().into(),
            Kind::Bool(value) => Value::from(!value),
            Kind::Null(_) | Kind::Unknown(_) | Kind::String(_) | Kind::List(..) | Kind::Set(..) => {
                Value::unknown(wanted).definite()
            }
            Kind::Map(..) | Kind::Tuple(_) | Kind::Object(..) => Value::unknown(wanted).definite(),
        };
        Ok(result.marked(value.is_sensitive()))
    }

    /// Evaluates an operand: of that type, not null.
    fn operand(&mut self, expression: &Expr, wanted: &Type, what: &str) -> Outcome {
        let value = self.expression(expression)?;
        let value = self.convert(&value, wanted, expression, &format!("an operand of {what}"))?;
        if value.is_null() {
            let diagnostic = Diagnostic::error("E0410", format!("an operand of {what} is null"));
            return Err(self.report(diagnostic, expression));
        }
        Ok(value)
    }

    pub(super) fn binary(&mut self, operator: Binary, sides: [&Expr; 2], whole: &Expr) -> Outcome {
        match operator {
            Binary::And => self.logic(sides, false, "`&&`"),
            Binary::Or => self.logic(sides, true, "`||`"),
            Binary::Equal => self.equality(sides, false),
            Binary::NotEqual => self.equality(sides, true),
            Binary::Less => self.comparison(sides, "`<`", Number::lt),
            Binary::LessOrEqual => self.comparison(sides, "`<=`", Number::le),
            Binary::Greater => self.comparison(sides, "`>`", Number::gt),
            Binary::GreaterOrEqual => self.comparison(sides, "`>=`", Number::ge),
            Binary::Add => self.arithmetic(sides, "`+`", whole, Number::add),
            Binary::Subtract => self.arithmetic(sides, "`-`", whole, Number::subtract),
            Binary::Multiply => self.arithmetic(sides, "`*`", whole, Number::multiply),
            Binary::Divide => self.arithmetic(sides, "`/`", whole, Number::divide),
            Binary::Remainder => self.arithmetic(sides, "`%`", whole, Number::remainder),
        }
    }

    /// `&&` and `||`: a side that decides makes what fails on the other one not matter, but not its type.
    fn logic(&mut self, sides: [&Expr; 2], decisive: bool, what: &str) -> Outcome {
        let [left, right] = sides.map(|side| self.tentatively(|context| context.expression(side)));
        let mut values = Vec::new();
        for ((value, _), side) in [&left, &right].into_iter().zip(sides) {
            let value = value.clone().unwrap_or(Value::unknown(Type::Bool));
            values.push(self.convert(&value, &Type::Bool, side, &format!("an operand of {what}")));
        }
        let values = values.into_iter().collect::<Result<Vec<_>, Failed>>()?;
        let marked = values.iter().any(Value::is_sensitive);
        if values.iter().any(|value| value.as_bool() == Some(decisive)) {
            return Ok(Value::from(decisive).marked(marked));
        }
        self.diagnostics.extend(left.1);
        left.0?;
        if let Some((_, side)) = values.iter().zip(sides).find(|(value, _)| value.is_null()) {
            let diagnostic = Diagnostic::error("E0410", format!("an operand of {what} is null"));
            return Err(self.report(diagnostic, side));
        }
        // With an unknown left side the right one may never count.
        if values.first().is_some_and(Value::is_known) {
            self.diagnostics.extend(right.1);
            right.0?;
        }
        let known = values.iter().all(Value::is_known);
        let result = if known { Value::from(!decisive) } else { Value::unknown(Type::Bool).definite() };
        Ok(result.marked(marked))
    }

    fn equality(&mut self, [left, right]: [&Expr; 2], negate: bool) -> Outcome {
        let sides = [self.expression(left), self.expression(right)];
        let [left, right] = sides;
        let (left, right) = (left?, right?);
        let marked = left.has_sensitive() || right.has_sensitive();
        let result = equal(&left, &right)
            .map_or(Value::unknown(Type::Bool).definite(), |same| Value::from(same != negate));
        Ok(result.marked(marked))
    }

    fn numbers(&mut self, [left, right]: [&Expr; 2], what: &str) -> Result<[Value; 2], Failed> {
        let sides = [self.operand(left, &Type::Number, what), self.operand(right, &Type::Number, what)];
        let [left, right] = sides;
        Ok([left?, right?])
    }

    fn comparison(&mut self, sides: [&Expr; 2], what: &str, holds: fn(&Number, &Number) -> bool) -> Outcome {
        let [left, right] = self.numbers(sides, what)?;
        let result = match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => holds(a, b).into(),
            (None, _) | (_, None) => Value::unknown(Type::Bool).definite(),
        };
        Ok(result.marked(left.is_sensitive() || right.is_sensitive()))
    }

    fn arithmetic(
        &mut self,
        sides: [&Expr; 2],
        what: &str,
        whole: &Expr,
        compute: fn(&Number, &Number) -> Result<Number, NumberError>,
    ) -> Outcome {
        let [left, right] = self.numbers(sides, what)?;
        let result = match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => match compute(a, b) {
                Ok(number) => number.into(),
                Err(error) => return Err(self.report(Diagnostic::error("E0411", error.to_string()), whole)),
            },
            (None, _) | (_, None) => Value::unknown(Type::Number).definite(),
        };
        Ok(result.marked(left.is_sensitive() || right.is_sensitive()))
    }
}

/// Compares as `==`: types count, marks do not, and any null equals null; none when that is not known yet.
pub(crate) fn equal(left: &Value, right: &Value) -> Option<bool> {
    let all = |mut pairs: Vec<Option<bool>>| {
        pairs.sort();
        if pairs.contains(&Some(false)) { Some(false) } else { pairs.first().copied().unwrap_or(Some(true)) }
    };
    match (left.kind(), right.kind()) {
        (Kind::Unknown(_), Kind::Null(_)) if left.is_definite() => Some(false),
        (Kind::Null(_), Kind::Unknown(_)) if right.is_definite() => Some(false),
        (Kind::Unknown(_), _) | (_, Kind::Unknown(_)) => None,
        (Kind::Null(_), Kind::Null(_)) => Some(true),
        (Kind::Bool(a), Kind::Bool(b)) => Some(a == b),
        (Kind::Number(a), Kind::Number(b)) => Some(a == b),
        (Kind::String(a), Kind::String(b)) => Some(a == b),
        (Kind::List(_, a), Kind::List(_, b)) | (Kind::Tuple(a), Kind::Tuple(b)) => {
            if a.len() != b.len() {
                return Some(false);
            }
            all(a.iter().zip(b.iter()).map(|(a, b)| equal(a, b)).collect())
        }
        (Kind::Set(_, a), Kind::Set(_, b)) => Some(a == b),
        (Kind::Map(_, a), Kind::Map(_, b)) | (Kind::Object(a, _), Kind::Object(b, _)) => {
            if !a.keys().eq(b.keys()) {
                return Some(false);
            }
            all(a.values().zip(b.values()).map(|(a, b)| equal(a, b)).collect())
        }
        (
            Kind::Null(_)
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::List(..)
            | Kind::Set(..)
            | Kind::Map(..),
            _,
        )
        | (Kind::Tuple(_) | Kind::Object(..), _) => Some(false),
    }
}
