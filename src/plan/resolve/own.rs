//! Whether the arguments are an ad-hoc command, and other switches of portcullis itself.

use crate::config::origin::Origin;
use crate::config::problem::Problem;
use crate::config::reader::{Context, TRUTHS, truth};
use crate::plan::resolve::RunOptions;

/// An ad-hoc command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    /// Whether it waits for the checks first.
    pub(super) waits: bool,
}

/// Whether the arguments are an ad-hoc command: `--exec`, or `PORTCULLIS_EXEC` if the entrypoint ends in `--`.
pub(super) fn own_command(request: &RunOptions, context: &Context<'_>, bare: bool) -> Option<Own> {
    let value = context.environment.lookup("PORTCULLIS_EXEC").ok().flatten().map(|found| found.value).unwrap_or_default();
    let (by_variable, waits) = match truth(&value) {
        Some(wanted) => (wanted, false),
        None if value.trim().eq_ignore_ascii_case("wait") => (true, true),
        None => {
            let origin = Origin::Variable("PORTCULLIS_EXEC".into());
            context.problem(Problem::at(&origin, format!("is `{value}`; expected `true`, `wait` or `false`")));
            (false, false)
        }
    };
    (request.exec || by_variable).then_some(Own { waits: (request.wait || waits) && !bare })
}

/// Whether a variable of portcullis is true.
pub(super) fn flag(context: &Context<'_>, name: &str) -> bool {
    let value = context.environment.lookup(name).ok().flatten().map(|found| found.value).unwrap_or_default();
    truth(&value).unwrap_or_else(|| {
        let origin = Origin::Variable(name.into());
        context.problem(Problem::at(&origin, format!("is `{value}`; expected {TRUTHS}")));
        false
    })
}
