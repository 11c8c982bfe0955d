//! The variables that children inherit: all but portcullis' own secrets.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::config::interpolate::looks_secret;
use crate::config::source::Environment;

/// The variables of this environment for any child: the process, and a command that runs while the configuration is read. What the configuration
/// itself sets is for children.
pub fn variables(environment: &Environment) -> BTreeMap<OsString, OsString> {
    let mut variables = environment.variables().clone();
    variables.retain(|name, value| {
        let name = name.to_string_lossy();
        !is_own_secret(&name, &value.to_string_lossy()) || environment.sets(&name)
    });
    variables
}

/// Whether a variable is a secret of portcullis that the process does not need: its token, a password of a check. A path to a file is not a
/// secret.
fn is_own_secret(name: &str, value: &str) -> bool {
    let holds_keys = value.trim_start().starts_with(['{', '[']);
    name.starts_with("PORTCULLIS_") && !name.ends_with("_FILE") && (looks_secret(name, value) || (holds_keys && looks_secret(value, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_our_own_are_not_handed_on_and_everything_else_is() {
        for (name, value, own) in [
            ("PORTCULLIS_HEALTH__TOKEN", "x", true),
            ("PORTCULLIS_HEALTH_TOKEN", "x", true),
            ("PORTCULLIS_CHECKS__DB__PASSWORD", "x", true),
            ("PORTCULLIS_CHECKS__DB__URL", "postgres://u:p@db/x", true),
            ("PORTCULLIS_CHECKS", "{\"db\": {\"host\": \"db\", \"password\": \"x\"}}", true),
            ("PORTCULLIS_CHECKS__DB__URL", "tcp://db:1", false),
            ("PORTCULLIS_HEALTH__TOKEN_FILE", "/run/secrets/token", false),
            ("PORTCULLIS_MODE", "api", false),
            ("DB_PASSWORD", "x", false),
        ] {
            assert_eq!(is_own_secret(name, value), own, "{name}");
            assert_eq!(variables(&Environment::new([(name, value)])).is_empty(), own, "{name}");
        }
    }
}
