//! The targets that are given on a command line as URLs.

use std::path::Path;

use crate::config::configuration::Configuration;
use crate::config::layers::{self, Layers};
use crate::config::node::{Entry, Node, Table, Value};
use crate::config::origin::Origin;
use crate::config::problem::{Problem, Problems};
use crate::config::reader::{Context, Depth};
use crate::config::source::Environment;
use crate::plan::resolve::{condition, given, heartbeat, target, variables};
use crate::plan::target::{RedisPlace, Target};

/// Resolves targets that are given on the command line as URLs; with notices.
pub fn targets(urls: &[String], environment: &Environment) -> Result<(Vec<Target>, Vec<String>), Problems> {
    targets_with(urls, &TlsFlags::default(), environment)
}

/// The TLS options of the command line, for every target whose scheme implies TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFlags {
    /// `--ca`.
    pub ca: Option<String>,
    /// `--client-certificate`.
    pub client_certificate: Option<String>,
    /// `--client-key`.
    pub client_key: Option<String>,
    /// `--insecure`.
    pub insecure: bool,
}

impl TlsFlags {
    /// The corresponding keys of a check, with the flag of each.
    fn entries(&self) -> Vec<Entry> {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let flags = [
            ("ca", "--ca", text(&self.ca)),
            ("client_certificate", "--client-certificate", text(&self.client_certificate)),
            ("client_key", "--client-key", text(&self.client_key)),
            ("insecure", "--insecure", self.insecure.then_some(Value::Boolean(true))),
        ];
        let entry = |(key, flag, value): (&str, &str, Option<Value>)| {
            let origin = Origin::Flag(flag.into());
            Some(Entry { key: key.to_owned(), origin: origin.clone(), node: Node { value: value?, origin } })
        };
        flags.into_iter().filter_map(entry).collect()
    }
}

/// Like [`targets`]; `flags` that apply to no target are an error.
pub fn targets_with(urls: &[String], flags: &TlsFlags, environment: &Environment) -> Result<(Vec<Target>, Vec<String>), Problems> {
    let context = Context::new(environment);
    let flags = flags.entries();
    if !flags.is_empty() && !urls.iter().any(|url| target::is_secure(url)) {
        let origins: Vec<_> = flags.iter().map(|flag| flag.origin.to_string()).collect();
        let why = "applies to https, rediss and grpcs targets, and there is none; for a database use a parameter of the URL, for example `sslrootcert=`";
        context.problem(Problem::usage(format!("{}: {why}", origins.join(", "))));
    }
    let read = |(index, url): (usize, &String)| {
        // Its number instead of its text, which may contain a password in the wrong place.
        let origin = Origin::Flag(format!("target {}", index + 1).into());
        let url = &given::expanded(&context, index + 1, url);
        let node = Node { value: Value::String(url.clone()), origin: origin.clone() };
        let mut table = Table::default();
        table.insert(Entry { key: "url".to_owned(), origin: origin.clone(), node });
        flags.iter().filter(|_| target::is_secure(url)).cloned().for_each(|flag| table.insert(flag));
        let mut section = context.section(table, "", Some(origin), Depth::Whole);
        let keys = section.declared();
        target::read(&section, &keys).map(|target| given::with_password(&context, target))
    };
    let targets: Vec<Target> = urls.iter().enumerate().filter_map(read).collect();
    if targets.iter().any(|target| matches!(target, Target::Process | Target::Module(_))) {
        context.problem(Problem::usage("`process:` is the process that `portcullis run` starts, and `wait` starts none"));
    }
    context.finish().map(|notices| (targets, notices))
}

/// Resolves the Redis and the shared key for a reader of the readiness of `service`; none without a Redis.
///
/// From the URL if there is one, else the heartbeat of the configuration; without a file from `REDIS_HOST`.
pub fn heartbeat_location(
    file: Option<&Path>,
    url: Option<&str>,
    service: &str,
    environment: &Environment,
) -> Result<Option<(RedisPlace, String)>, Problems> {
    let url = url.map(|url| targets(&[url.to_owned()], environment)).transpose()?.and_then(|(targets, _)| targets.into_iter().next());
    let layers = Layers { file: file.filter(|_| url.is_none()), preset: None, overrides: &[] };
    if let Some(target) = &url {
        let place = heartbeat::place(target);
        let key = if let Target::Ready(target) = target { target.key.clone() } else { format!("{service}_service_status") };
        return Ok(place.map(|place| (place, key)));
    }
    let tree = layers::load(layers, environment, &mut Vec::new());
    let seen = variables::seen(&tree, environment);
    let context = Context::new(&seen);
    let mut root = context.section(tree, "", None, Depth::Whole);
    condition::name_all(&root);
    let configuration: Configuration = root.declared();
    let found = heartbeat::heartbeat_location(&root, &configuration, service);
    // A missing Redis is then the only error.
    if found.is_some() { Ok(found) } else { context.finish().map(|_| None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_of_a_configuration_with_conditions_is_found() {
        let file = std::env::temp_dir().join(format!("portcullis-heartbeat-location-{}.toml", std::process::id()));
        let toml = "[conditions]\nfar = { var = 'FAR', truthy = true }\n[env]\nCACHE = [{ when = { condition = 'far' }, value = 'far' }, 'near']\n\
                    [heartbeat]\nurl = 'redis://${CACHE}:6379'\n[checks.db]\nurl = 'tcp://db:1'\n[[checks.db.variants]]\n\
                    when = { condition = 'far' }\nurl = 'tcp://far:1'\n";
        std::fs::write(&file, toml).unwrap();
        let place = |variables: &[(&str, &str)]| {
            let found = heartbeat_location(Some(&file), None, "api", &Environment::new(variables.iter().copied()));
            found.map(|found| found.map(|(place, key)| format!("{place} {key}")))
        };
        let found = [place(&[("FAR", "yes")]), place(&[("HOME", "/")])];
        std::fs::remove_file(&file).unwrap();
        let [far, near] = found.map(|found| found.unwrap().unwrap());
        assert_eq!((far.as_str(), near.as_str()), ("redis://far:6379/0 api_service_status", "redis://near:6379/0 api_service_status"));
    }
}
