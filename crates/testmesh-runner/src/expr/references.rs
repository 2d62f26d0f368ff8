//! What can be known about an expression without evaluating it: the names it needs, and whether it can only be one thing.

use super::Reference;
use super::ast::{Kind, Node, Operator, Path, Root, StepKind};
use super::eval::Context;
use crate::builtins::{Builtins, RunFacts};
use crate::template::Lookup;
use crate::value::Value;

/// Adds every name below `node` to `found`. `optional`: a missing name is allowed at this place.
pub(crate) fn collect(node: &Node, optional: bool, found: &mut Vec<Reference>) {
    match &node.kind {
        Kind::Path(path) => {
            if let Some(reference) = reference(path, node, optional) {
                found.push(reference);
            }
            node.kind.each_child(&mut |child| collect(child, false, found));
        }
        Kind::Exists(inner) | Kind::Default(inner, _) => collect(inner, true, found),
        Kind::Binary(Operator::Coalesce, sides) => {
            collect(&sides.0, true, found);
            collect(&sides.1, optional, found);
        }
        _ => node.kind.each_child(&mut |child| collect(child, false, found)),
    }
}

fn reference(path: &Path, node: &Node, optional: bool) -> Option<Reference> {
    let root = match &path.root {
        Root::Name(name) => name.clone(),
        Root::Dollar => "$".to_owned(),
        Root::Item | Root::Node(_) => return None,
    };
    let keys = path.steps.iter().map_while(|step| match &step.kind {
        StepKind::Key(key) => Some(key.clone()),
        StepKind::Index(_) | StepKind::Computed(_) => None,
    });
    let optional = optional || path.steps.first().is_some_and(|step| step.optional);
    Some(Reference { root, keys: keys.collect(), optional, start: node.start, end: node.end })
}

/// See [`super::Expr::constant`].
pub(super) fn constant(node: &Node) -> Option<bool> {
    match &node.kind {
        Kind::Not(inner) => constant(inner).map(|truth| !truth),
        Kind::Binary(Operator::And, sides) => match (constant(&sides.0), constant(&sides.1)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Kind::Binary(Operator::Or, sides) => match (constant(&sides.0), constant(&sides.1)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Kind::Binary(operator, sides) if sides.0 == sides.1 && !is_volatile(node) => match operator {
            Operator::Equal => Some(true),
            Operator::NotEqual | Operator::Less | Operator::Greater => Some(false),
            _ => evaluated(node),
        },
        _ => evaluated(node),
    }
}

/// The truth of an expression without references.
fn evaluated(node: &Node) -> Option<bool> {
    if refers(node) || is_volatile(node) {
        return None;
    }
    let nothing = Nothing(Builtins::new(
        None,
        std::sync::Arc::new(testmesh_shared::clock::SystemClock),
        RunFacts::default(),
        std::sync::Arc::default(),
    ));
    match Context::new(&nothing).eval(node) {
        Ok(Value::Bool(truth)) => Some(truth),
        Ok(Value::Null) => Some(false),
        _ => None,
    }
}

/// Whether [`collect`] finds a name.
fn refers(node: &Node) -> bool {
    let mut found = match &node.kind {
        Kind::Path(path) => matches!(path.root, Root::Name(_) | Root::Dollar),
        _ => false,
    };
    if !found {
        node.kind.each_child(&mut |child| found = found || refers(child));
    }
    found
}

/// Whether it may give another value next time, or looks outside of the flow.
fn is_volatile(node: &Node) -> bool {
    let mut volatile = match &node.kind {
        Kind::Call(function, _) => function.is_volatile(),
        // A bare built-in name such as `RANDOM_INT` differs each time.
        Kind::Path(path) => matches!(&path.root, Root::Name(name) if name.starts_with("RANDOM") || name == "UUID"),
        Kind::Fake(_) | Kind::Schema(_) | Kind::Snapshot(..) => true,
        _ => false,
    };
    node.kind.each_child(&mut |child| volatile |= is_volatile(child));
    volatile
}

/// A scope without any name.
struct Nothing(Builtins);

impl Lookup for Nothing {
    fn get(&self, _: &str) -> Option<Value> {
        None
    }
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
    fn builtins(&self) -> &Builtins {
        &self.0
    }
}
