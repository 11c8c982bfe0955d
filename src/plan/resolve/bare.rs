//! The plan of a run with `--bare` that depends only on the command line, without reading a configuration.

use super::{RunOptions, is_instance};
use crate::config::source::Environment;
use crate::plan::argv::{Argv, Word};
use crate::plan::{Plan, ProcessPlan, Service};

/// The variables that the built-in configuration uses even then; each may also have a `_FILE`.
const HEARD: [&str; 3] = ["MIGRATION_ENABLED", "MODE", "VERSION"];

/// Variables of portcullis that do not affect a plan.
const UNHEARD: [&str; 2] = ["PORTCULLIS_LOG", "PORTCULLIS_LOG_FORMAT"];

/// The plan of such a run; none if anything else affects it, or if something is wrong: then the configuration is read, which reports it.
pub(super) fn plan(request: &RunOptions, environment: &Environment) -> Option<Plan> {
    let RunOptions { file: None, preset: None, mode: None, arguments, exec: false, wait: false, bare: true, overrides } = request else {
        return None;
    };
    let is_heard = |name: &str| {
        let plain = name.strip_suffix("_FILE").unwrap_or(name);
        HEARD.contains(&plain) || (name.starts_with("PORTCULLIS_") && !UNHEARD.contains(&name))
    };
    let host = environment.host_name();
    if !overrides.is_empty() || environment.names().any(is_heard) || environment.file(None).is_some() || !is_instance(host) {
        return None;
    }
    let argv = Argv::new(arguments.iter().map(Word::plain).collect()).filter(|argv| !argv.program().is_empty())?;
    let service = Service {
        name: Service::UNNAMED.to_owned(),
        mode: None,
        instance: host.to_owned(),
        host: host.to_owned(),
        version: None,
        build: env!("CARGO_PKG_VERSION"),
    };
    Some(Plan { main: Some(ProcessPlan::new(argv)), ..Plan::of(service) })
}

#[cfg(test)]
mod tests {
    use super::super::{Context, resolved};
    use super::*;
    use crate::config::layers::Override;

    fn request(arguments: &[&str]) -> RunOptions {
        RunOptions { bare: true, arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), ..RunOptions::default() }
    }

    /// The plans of the short and of the long way; only of the long one if the short one does not apply.
    fn both(request: &RunOptions, variables: &[(&str, &str)]) -> (Option<Plan>, Option<Plan>) {
        let environment = Environment::new(variables.iter().copied());
        (plan(request, &environment), resolved(request, Context::new(&environment)).ok().map(|(plan, _)| plan))
    }

    #[test]
    fn the_short_way_and_the_long_one_come_to_the_same_plan() {
        for variables in [
            &[][..],
            &[("PATH", "/bin"), ("PORTCULLIS_LOG", "debug"), ("PORTCULLIS_LOG_FORMAT", "json")],
            &[("DB_HOST", "db"), ("DB_PORT", "nonsense"), ("DB_PASSWORD", "x"), ("DB_PASSWORD_FILE", "/nowhere")],
            &[("REDIS_HOST", "cache"), ("REDIS_HOST_FILE", "/nowhere"), ("REDIS_USE_SENTINEL", "perhaps"), ("HOSTNAME", "")],
        ] {
            for arguments in [&["sleep", "1"][..], &["/bin/app", "--password=hunter2", "${HOME}", "$", ""]] {
                let (short, long) = both(&request(arguments), variables);
                assert!(short.is_some());
                assert_eq!(short, long, "{variables:?}");
            }
        }
    }

    /// Every variable name in the built-in configuration, as a variable and as a file.
    #[test]
    fn no_variable_of_the_built_in_configuration_is_overlooked() {
        let text = include_str!("../../config/preset/environment.rs");
        let word = |rest: &str| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> =
            text.split("${").skip(1).chain(text.split("Nonempty(\"").skip(1)).chain(text.split("IsTrue(\"").skip(1)).map(word).collect();
        names.extend(["MODE", "PORTCULLIS_INSTANCE_ID", "PORTCULLIS_BARE", "PORTCULLIS_EXEC", "PORTCULLIS_NONSENSE"].map(str::to_owned));
        assert!(names.len() > 15, "{names:?}");
        for name in &names {
            let file = format!("{name}_FILE");
            for variables in [
                vec![(name.as_str(), "true")],
                vec![(name.as_str(), "")],
                vec![(name.as_str(), "a b\u{1}")],
                vec![(file.as_str(), "/nowhere")],
                vec![(name.as_str(), "x"), (file.as_str(), "/nowhere")],
            ] {
                let (short, long) = both(&request(&["true"]), &variables);
                assert!(short.is_none() || short == long, "{variables:?}");
            }
        }
    }

    #[test]
    fn whatever_else_has_a_say_goes_the_long_way() {
        let of = |request: RunOptions| plan(&request, &Environment::new::<&str, &str>([]));
        assert!(of(request(&["true"])).is_some());
        let put = Override { key: "process.stop_timeout".to_owned(), value: "1s".to_owned(), flag: "--stop-timeout".to_owned() };
        for other in [
            RunOptions { bare: false, ..request(&["true"]) },
            RunOptions { exec: true, ..request(&["true"]) },
            RunOptions { file: Some("/nowhere".into()), ..request(&["true"]) },
            RunOptions { preset: Some("node".to_owned()), ..request(&["true"]) },
            RunOptions { mode: Some("api".to_owned()), ..request(&["true"]) },
            RunOptions { overrides: vec![put], ..request(&["true"]) },
            request(&[""]),
            request(&[]),
        ] {
            assert_eq!(of(other.clone()), None, "{other:?}");
        }
    }
}
