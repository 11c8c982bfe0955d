//! The replacement of `${…}`: the value itself, or the text for the case that it is unset, or set.

use super::{Findings, Otherwise, Piece, Source, Template, looks_secret, remember};
use crate::config::source::{Environment, Found};
use crate::secret::MASK;

/// The replacement of a variable.
pub(super) enum Taken<'t> {
    Piece(Piece),
    Other(&'t Template),
    Nothing,
}

impl Otherwise {
    /// Whether an empty value counts as unset.
    const fn wants_text(&self) -> bool {
        match self {
            Self::Refuse | Self::Trimmed { .. } => false,
            Self::Message(_) => true,
            Self::Default { colon, .. } | Self::Instead { colon, .. } => *colon,
        }
    }
}

impl Otherwise {
    /// The value `name` with what stands beside it, where that decides what it is when it is set.
    pub(super) fn written(&self, name: &str, environment: &Environment) -> String {
        match self {
            Self::Trimmed { trim, pattern, .. } => format!("${{{name}{}{}}}", trim.mark(), pattern.written_out(environment, false)),
            _ => super::source_text(name),
        }
    }
}

impl Source {
    /// As written after `${`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Variable(name) | Self::Argument { name, .. } => name,
            Self::Own(own) => own.name(),
        }
    }

    /// The variable's name; none for a value that portcullis provides.
    pub(super) fn variable(&self) -> Option<&str> {
        if let Self::Variable(name) = self { Some(name) } else { None }
    }

    pub(super) fn take<'t>(&self, otherwise: &'t Otherwise, environment: &Environment, findings: &mut Findings) -> Taken<'t> {
        let found = match self {
            Self::Variable(name) => environment.lookup(name),
            Self::Argument { number, .. } => {
                Ok(environment.argument(*number).map(|value| Found { value: value.to_owned(), secret: false }))
            }
            Self::Own(own) => Ok(own.value(environment)),
        };
        let found = match found {
            Ok(found) => found,
            Err(problem) => {
                findings.problems.push(problem);
                return Taken::Piece(Piece { value: String::new(), shown: String::new(), interpolated: true });
            }
        };
        let found = found.filter(|found| !(found.value.is_empty() && otherwise.wants_text()));
        match (found, otherwise) {
            (Some(_), Otherwise::Instead { text, .. }) | (None, Otherwise::Default { text, .. }) => return Taken::Other(text),
            (None, Otherwise::Instead { .. } | Otherwise::Trimmed { or_empty: true, .. }) => {}
            (Some(found), _) => {
                let mut piece = self.piece(found, findings);
                if let Otherwise::Trimmed { trim, pattern, .. } = otherwise {
                    let is_secret = piece.shown != piece.value;
                    piece.value = trim.apply(&piece.value, &pattern.expand(environment, findings).value()).to_owned();
                    piece.shown = if is_secret && !piece.value.is_empty() { MASK.to_owned() } else { piece.value.clone() };
                    if is_secret {
                        remember(&piece.value);
                    }
                }
                if self.variable().is_some_and(|name| environment.is_unknown(name)) {
                    piece.shown = super::source_text(self.name());
                }
                return Taken::Piece(piece);
            }
            (None, Otherwise::Refuse | Otherwise::Trimmed { .. }) => findings.problems.push(match self {
                Self::Variable(name) => format!("{name} is not set; set it, or give a default: `${{{name}:-…}}`"),
                Self::Argument { name, .. } => {
                    format!("there is no argument `${{{name}}}`; add the argument, or a default: `${{{name}:-…}}`")
                }
                Self::Own(own) => own.missing(),
            }),
            (None, Otherwise::Message(message)) => {
                let message = if message.is_empty() { "it is needed" } else { message };
                findings.problems.push(format!("{} is not set: {message}", self.name()));
            }
        }
        Taken::Nothing
    }

    fn piece(&self, found: Found, findings: &mut Findings) -> Piece {
        let name = self.variable().unwrap_or_default();
        let secret = found.secret || looks_secret(name, &found.value);
        let mut value = found.value;
        if name.ends_with("_PORT")
            && let Some(port) = injected_port(&value)
        {
            findings.notices.push(format!("{name} is `{value}`, as Kubernetes sets it; port {port} is used"));
            value = port.to_owned();
        }
        let shown = if secret && !value.is_empty() { MASK.to_owned() } else { value.clone() };
        if secret {
            remember(&value);
        }
        Piece { value, shown, interpolated: true }
    }
}

/// The port of `tcp://10.0.0.1:6379`, the value that Kubernetes puts into `<SERVICE>_PORT` of every container in a namespace.
fn injected_port(value: &str) -> Option<&str> {
    let address = ["tcp://", "udp://", "sctp://"].iter().find_map(|scheme| value.strip_prefix(scheme))?;
    let (host, port) = address.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then_some(port)
}
