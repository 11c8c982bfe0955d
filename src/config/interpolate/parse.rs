//! The syntax of `${NAME}` and its other forms.

use super::{Otherwise, Own, Source, Template, TemplatePart, Trim};

/// The maximum depth of nested defaults: more than any real configuration needs, and safe for the stack.
const DEEPEST: usize = 32;

/// Reads to the end of the text, or to the `}` that closes the default at nesting level `depth`.
pub(super) fn until(rest: &mut &str, depth: usize) -> Result<Template, String> {
    let nested = depth > 0;
    if depth > DEEPEST {
        return Err(format!("more than {DEEPEST} defaults inside each other"));
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let finish = |parts: &mut Vec<TemplatePart>, literal: &mut String| {
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(std::mem::take(literal)));
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

/// Reads the text after `${`, including the `}`.
fn variable(rest: &mut &str, depth: usize) -> Result<TemplatePart, String> {
    // `@-1` is a name, too.
    let start = ["@-", "@"].into_iter().find(|start| rest.starts_with(start)).map_or(0, str::len);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = rest[start..].find(|c| !is_of_name(c)).ok_or("a `${` without its `}`")? + start;
    let (name, mut after) = rest.split_at(end);
    let source = match name {
        own if own.starts_with('@') => match own.strip_prefix('@').and_then(|number| number.parse::<i64>().ok()) {
            Some(0) => return Err("`${@0}` is no argument: the first is `${@1}`, the last `${@-1}`".to_owned()),
            Some(number) => Source::Argument { name: own.to_owned(), number },
            None => Source::Own(Own::named(own)?),
        },
        name if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) => {
            return Err("a `${` without a variable's name".to_owned());
        }
        name => Source::Variable(name.to_owned()),
    };
    let forms = [
        ("}", Operator::Itself),
        (":?", Operator::Message),
        (":-", Operator::Default),
        ("-", Operator::Default),
        (":+", Operator::Instead),
        ("+", Operator::Instead),
        ("##", Operator::Trimmed),
        ("#", Operator::Trimmed),
        ("%%", Operator::Trimmed),
        ("%", Operator::Trimmed),
    ];
    let Some((mark, form)) = forms.into_iter().find(|(mark, _)| after.starts_with(mark)) else {
        let all = ["", ":-…", "-…", ":+…", "+…", "#…", "##…", "%…", "%%…"].map(|form| format!("`${{{name}{form}}}`")).join(", ");
        return Err(format!("`${{{name}` is followed by something unknown; the forms are {all} and `${{{name}:?message}}`"));
    };
    let colon = mark.starts_with(':');
    after = &after[mark.len()..];
    let mut other = || {
        let text = until(&mut after, depth + 1)?;
        after = after.strip_prefix('}').unwrap_or(after);
        Ok::<_, String>(text)
    };
    let otherwise = match form {
        Operator::Itself => Otherwise::Refuse,
        Operator::Default => Otherwise::Default { colon, text: other()? },
        Operator::Instead => Otherwise::Instead { colon, text: other()? },
        Operator::Trimmed => Otherwise::Trimmed { trim: Trim::of(mark), pattern: other()?, or_empty: false },
        Operator::Message => {
            let (message, behind) = after.split_once('}').ok_or("a `${` without its `}`")?;
            after = behind;
            Otherwise::Message(message.trim().to_owned())
        }
    };
    *rest = after;
    Ok(TemplatePart::Value { source, otherwise })
}

/// The use of a value.
enum Operator {
    Itself,
    Message,
    Default,
    Instead,
    Trimmed,
}
