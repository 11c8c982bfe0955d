//! The syntax of `${NAME}` and its kin.

use super::{Otherwise, Part, Template};
use crate::config::problem::suggest;

/// Values that begin with `@` and come from portcullis itself.
const BUILT_IN: [&str; 2] = ["nproc", "instance"];

/// Defaults inside defaults: deeper than anybody means, and far from the end of the stack.
const DEEPEST: usize = 32;

/// Reads up to the end, or up to the `}` that ends the default that lies `depth` deep.
pub(super) fn until(rest: &mut &str, depth: usize) -> Result<Template, String> {
    let nested = depth > 0;
    if depth > DEEPEST {
        return Err(format!("more than {DEEPEST} defaults inside each other"));
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let finish = |parts: &mut Vec<Part>, literal: &mut String| {
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(literal)));
        }
    };
    loop {
        let end = rest.find(|c| c == '$' || (nested && c == '}')).unwrap_or(rest.len());
        literal.push_str(&rest[..end]);
        *rest = &rest[end..];
        if let Some(after) = rest.strip_prefix("${") {
            finish(&mut parts, &mut literal);
            *rest = after;
            parts.push(variable(rest, depth)?);
        } else if let Some(after) = rest.strip_prefix("$$") {
            literal.push('$');
            *rest = after;
        } else if let Some(after) = rest.strip_prefix('$') {
            let name: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if name.starts_with(|c: char| !c.is_ascii_digit()) {
                return Err(format!("`${name}` is not interpolated: write `${{{name}}}` for the variable, `$${name}` for the text"));
            }
            literal.push('$');
            *rest = after;
        } else if nested && rest.is_empty() {
            return Err("a `${` without its `}`".to_owned());
        } else {
            finish(&mut parts, &mut literal);
            return Ok(Template(parts));
        }
    }
}

/// Reads what follows `${`, its `}` included.
fn variable(rest: &mut &str, depth: usize) -> Result<Part, String> {
    if let Some(after) = rest.strip_prefix('@') {
        let (name, after) = after.split_once('}').ok_or("a `${` without its `}`")?;
        *rest = after;
        return match name {
            "nproc" => Ok(Part::Processors),
            "instance" => Ok(Part::Instance),
            _ => Err(format!("unknown `${{@{name}}}`{}", suggest(name, BUILT_IN))),
        };
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).ok_or("a `${` without its `}`")?;
    let name = rest[..end].to_owned();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a `${` without a variable's name".to_owned());
    }
    *rest = &rest[end..];
    if let Some(after) = rest.strip_prefix('}') {
        *rest = after;
        Ok(Part::Variable { name, otherwise: Otherwise::Refuse })
    } else if let Some(after) = rest.strip_prefix(":-") {
        *rest = after;
        let default = until(rest, depth + 1)?;
        *rest = rest.strip_prefix('}').unwrap_or(rest);
        Ok(Part::Variable { name, otherwise: Otherwise::Default(default) })
    } else if let Some(after) = rest.strip_prefix(":?") {
        let (message, after) = after.split_once('}').ok_or("a `${` without its `}`")?;
        *rest = after;
        Ok(Part::Variable { name, otherwise: Otherwise::Message(message.trim().to_owned()) })
    } else {
        Err(format!(
            "`${{{name}` goes on with something unknown; there are `${{{name}}}`, `${{{name}:-default}}` and `${{{name}:?message}}`"
        ))
    }
}
