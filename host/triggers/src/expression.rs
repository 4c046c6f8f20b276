//! Expressions in a subset of CEL: parsed and checked once, evaluated at each check.
//!
//! The crate `cel` parses and evaluates. In between, each figure becomes a variable and each number a double, and what is
//! not part of the subset is refused, so that no evaluation loops, fails for a wrong type, or costs more than its length.

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};
use cel::common::types::{CelBool, CelDouble, DOUBLE_TYPE};
use cel::common::value::CowVal;
use cel::{Context, Env, ExecutionError, IdedExpr, ParseErrors, Value};
use jiff::Timestamp;

use crate::condition::figure;
use crate::observed::{FigureName, Observed, Unknown};

/// Characters of an expression, at most.
pub const MAX_LENGTH: usize = 1_024;
/// Levels of parentheses and calls, at most.
const MAX_DEPTH: u16 = 32;
/// Figures that a reason lists at most.
const LISTED: usize = 6;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(environment()));

#[derive(Clone)]
pub struct Expression {
    source: String,
    lowered: IdedExpr,
    /// Figure `i` is the variable `fi`.
    figures: Vec<FigureName>,
    /// Whether figure `i` is known is the variable `ki`.
    known: Vec<FigureName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Truth,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Number { "a number" } else { "true or false" })
    }
}

impl Expression {
    /// # Errors
    /// What is wrong with it, and what would be right; a sentence.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            return Err(format!("must have at most {MAX_LENGTH} characters, and has {}", source.len()));
        }
        let odd = |c: char| !c.is_ascii() || (c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        if let Some(odd) = source.chars().find(|c| odd(*c)) {
            return Err(format!("must be of ASCII characters, and has {odd:?}"));
        }
        let parsed = ENVIRONMENT.parser().max_recursion_depth(MAX_DEPTH).parse(source);
        let mut lowered = parsed.map_err(|errors| refusal(&errors))?;
        let mut lowering = Lowering::default();
        if lowering.lower(&mut lowered)? != Kind::Truth {
            return Err("is a number: compare it to one, as in newSamples >= 500".to_owned());
        }
        let Lowering { figures, known } = lowering;
        if figures.is_empty() && known.is_empty() {
            return Err(
                "looks at no figure, so it never changes: write one, as in newSamples >= 500".to_owned()
            );
        }
        Ok(Self { source: source.trim().to_owned(), lowered, figures, known })
    }

    /// Whether it holds, and the figures in a sentence.
    pub fn judge(&self, observed: &Observed, now: Timestamp) -> Result<(bool, String), Unknown> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        let (mut listed, mut unknown) = (Vec::new(), Vec::new());
        for (at, name) in self.figures.iter().enumerate() {
            match observed.figure(name, now) {
                Ok(value) => {
                    context.add_variable_as_val(format!("f{at}"), Box::new(CelDouble::from(value)));
                    listed.push(format!("{name} is {}", figure(value)));
                }
                Err(why) => unknown.push(why.to_string()),
            }
        }
        for (at, name) in self.known.iter().enumerate() {
            let known = observed.figure(name, now).is_ok();
            context.add_variable_as_val(format!("k{at}"), Box::new(CelBool::from(known)));
        }
        for list in [&mut listed, &mut unknown] {
            if list.len() > LISTED {
                list.truncate(LISTED);
                list.push("…".to_owned());
            }
        }
        match Value::resolve(&self.lowered, &context) {
            Ok(Value::Bool(holds)) => {
                let verdict = if holds { "holds" } else { "does not hold" };
                let figures = [listed, unknown].concat().join(", ");
                Ok((
                    holds,
                    format!("{self} {verdict}{}{figures}", if figures.is_empty() { "" } else { ": " }),
                ))
            }
            Err(_) if !unknown.is_empty() => Err(Unknown(unknown.join("; "))),
            // A division of 0 by 0, say.
            Ok(_) | Err(_) => Err(Unknown(format!("{self} has no answer: {}", listed.join(", ")))),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let cut = if self.source.len() > SHOWN { "…" } else { "" };
        write!(f, "`{:.SHOWN$}{cut}`", self.source)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

#[derive(Default)]
struct Lowering {
    figures: Vec<FigureName>,
    known: Vec<FigureName>,
}

impl Lowering {
    fn lower(&mut self, expr: &mut IdedExpr) -> Result<Kind, String> {
        if let Some(name) = named(&expr.expr)? {
            expr.expr = Expr::Ident(format!("f{}", place(&mut self.figures, name)));
            return Ok(Kind::Number);
        }
        match &mut expr.expr {
            Expr::Literal(literal) => number_or_truth(literal),
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::HAS => {
                let name = match args.as_slice() {
                    [arg] => named(&arg.expr)?,
                    _ => None,
                };
                let name = name.ok_or("has() takes the name of a figure, as in has(metrics.accuracy)")?;
                expr.expr = Expr::Ident(format!("k{}", place(&mut self.known, name)));
                Ok(Kind::Truth)
            }
            Expr::Call(CallExpr { func_name, target: None, args }) => {
                let kinds = args.iter_mut().map(|arg| self.lower(arg)).collect::<Result<Vec<_>, _>>()?;
                result(func_name, &kinds)
            }
            Expr::Call(CallExpr { func_name, .. }) => Err(not_part(&format!(".{func_name}()"))),
            Expr::List(_) => Err(not_part("a list")),
            Expr::Map(_) | Expr::Struct(_) => Err(not_part("a map")),
            _ => Err(not_part("what stands there")),
        }
    }
}

/// The figure that an expression names, where it is a name.
fn named(expr: &Expr) -> Result<Option<FigureName>, String> {
    if let Expr::Call(CallExpr { func_name, target: None, args }) = expr
        && func_name == operators::INDEX
    {
        let name = match args.as_slice() {
            [
                IdedExpr { expr: Expr::Ident(of), .. },
                IdedExpr { expr: Expr::Literal(LiteralValue::String(metric)), .. },
            ] => FigureName::of_metric(of, metric.inner()),
            _ => None,
        };
        return name.map(Some).ok_or_else(|| "[] takes a metric's name, as in metrics[\"top-5\"]".to_owned());
    }
    let mut fields = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::Ident(root) => {
                fields.push(root.as_str());
                fields.reverse();
                return fields
                    .join(".")
                    .parse()
                    .map(Some)
                    .map_err(|unknown: crate::UnknownName| unknown.to_string());
            }
            Expr::Select(SelectExpr { operand, field, test: false }) => {
                fields.push(field.as_str());
                at = &operand.expr;
            }
            _ if fields.is_empty() => return Ok(None),
            _ => return Err(format!("`.{}` stands behind what has no fields", fields[0])),
        }
    }
}

/// The place of `name` in `names`, which has it from now on.
fn place(names: &mut Vec<FigureName>, name: FigureName) -> usize {
    names.iter().position(|present| *present == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// Numbers become doubles.
fn number_or_truth(literal: &mut LiteralValue) -> Result<Kind, String> {
    let value = match literal {
        LiteralValue::Boolean(_) => return Ok(Kind::Truth),
        LiteralValue::Double(value) => *value.inner(),
        LiteralValue::Int(value) => *value.inner() as f64,
        LiteralValue::UInt(value) => *value.inner() as f64,
        LiteralValue::String(_) | LiteralValue::Bytes(_) => return Err(not_part("text")),
        LiteralValue::Null => return Err(not_part("null")),
    };
    *literal = LiteralValue::Double(CelDouble::from(value));
    Ok(Kind::Number)
}

/// What an operator or function makes of its operands.
fn result(function: &str, operands: &[Kind]) -> Result<Kind, String> {
    use Kind::{Number, Truth};
    let shown = function.trim_matches('_').replace("_:", " :");
    let all = |count: usize, kind: Kind, gives: Kind| {
        if operands.len() != count {
            return Err(format!("{shown}() takes {count} operands, not {}", operands.len()));
        }
        match operands.iter().find(|operand| **operand != kind) {
            Some(other) => Err(format!("`{shown}` takes {kind}, and has {other}")),
            None => Ok(gives),
        }
    };
    match function {
        operators::LOGICAL_AND | operators::LOGICAL_OR => all(2, Truth, Truth),
        operators::LOGICAL_NOT => all(1, Truth, Truth),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            all(2, Number, Truth)
        }
        operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE => {
            all(2, Number, Number)
        }
        operators::NEGATE | "abs" | "minutes" | "hours" | "days" => all(1, Number, Number),
        "min" | "max" => all(2, Number, Number),
        operators::EQUALS | operators::NOT_EQUALS => match operands {
            [one, other] if one == other => Ok(Truth),
            [one, other] => Err(format!("`{shown}` compares {one} to {other}")),
            _ => Err(not_part(&format!("`{shown}`"))),
        },
        operators::CONDITIONAL => match operands {
            [Truth, one, other] if one == other => Ok(*one),
            [Truth, one, other] => Err(format!("`? :` gives either {one} or {other}: both must be the same")),
            _ => Err("`? :` asks a number: compare it to one".to_owned()),
        },
        _ => Err(not_part(&format!("`{shown}`"))),
    }
}

fn not_part(what: &str) -> String {
    format!(
        "{what} is not part of triggers: there are the names of figures, numbers, true, false, + - * /, < <= > >= == !=, \
         && || !, ? :, has, minutes, hours, days, abs, min and max"
    )
}

/// Why the parser refused, by its first error.
fn refusal(errors: &ParseErrors) -> String {
    let Some(error) = errors.errors.first() else { return "does not parse as CEL".to_owned() };
    if error.msg.contains("Recursion limit") {
        return format!("has more than {MAX_DEPTH} levels of parentheses and calls");
    }
    let message: String = error.msg.chars().take(200).collect();
    format!("does not parse as CEL at line {}, column {}: {message}", error.pos.0, error.pos.1)
}

/// CEL's own operators and the functions beside them.
fn environment() -> Env {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    let one = || vec![DOUBLE_TYPE];
    let two = || vec![DOUBLE_TYPE, DOUBLE_TYPE];
    let added = [
        env.add_overload("abs", "abs_double", one(), |args| apply(&args, |a, _| a.abs())),
        env.add_overload("minutes", "minutes_double", one(), |args| apply(&args, |a, _| a * 60.0)),
        env.add_overload("hours", "hours_double", one(), |args| apply(&args, |a, _| a * 3_600.0)),
        env.add_overload("days", "days_double", one(), |args| apply(&args, |a, _| a * 86_400.0)),
        env.add_overload("min", "min_double_double", two(), |args| apply(&args, f64::min)),
        env.add_overload("max", "max_double_double", two(), |args| apply(&args, f64::max)),
    ];
    debug_assert!(added.iter().all(Result::is_ok), "CEL has no functions of these names");
    env
}

fn apply<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    function: fn(f64, f64) -> f64,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let number = |at: usize| {
        let value = args.get(at).and_then(|arg| arg.as_ref().downcast_ref::<CelDouble>());
        value.map(|value| *value.inner())
    };
    let first = number(0).ok_or_else(ExecutionError::missing_argument_or_target)?;
    Ok(CowVal::owned(CelDouble::from(function(first, number(1).unwrap_or(0.0)))))
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
