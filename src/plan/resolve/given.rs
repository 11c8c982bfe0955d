//! Values from the environment for targets of the command line: `${NAME}` in their URLs, and the password variables of the servers' own clients.

use crate::config::interpolate::{Findings, Template, remember};
use crate::config::problem::Problem;
use crate::config::reader::Context;
use crate::plan::resolve::target_url;
use crate::plan::target::{RedisTarget, Target};
use crate::secret::Secret;

/// The URL with its variables, each encoded for its place. Only `${` begins a variable: everything else was left to the shell of the command line.
pub(super) fn expanded(context: &Context<'_>, number: usize, url: &str) -> String {
    if !url.contains("${") || !url.contains("://") {
        return url.to_owned();
    }
    let quoted = url.replace('$', "$$").replace("$${", "${");
    let mut findings = Findings::default();
    let text = Template::parse(&quoted).map(|template| template.expand(context.environment, &mut findings));
    let problems = text.as_ref().err().cloned().into_iter().chain(findings.problems);
    problems.for_each(|why| context.problem(Problem::usage(format!("target {number}: {why}"))));
    findings.notices.into_iter().for_each(|notice| context.notice(notice));
    text.map(|text| target_url::assemble(&text)).unwrap_or_default()
}

/// Gives a target without a password in its URL the one that psql, mysql and redis-cli would use.
pub(super) fn with_password(context: &Context<'_>, mut target: Target) -> Target {
    let (place, name) = match &mut target {
        Target::Postgres(postgres) => (&mut postgres.password, "PGPASSWORD"),
        Target::Mysql(mysql) => (&mut mysql.password, "MYSQL_PWD"),
        Target::Redis(RedisTarget { password, .. }) => (password, "REDISCLI_AUTH"),
        Target::Sentinel(sentinel) => (&mut sentinel.master.password, "REDISCLI_AUTH"),
        Target::Cluster(cluster) => (&mut cluster.login.password, "REDISCLI_AUTH"),
        Target::Ready(ready) => (&mut ready.redis.password, "REDISCLI_AUTH"),
        _ => return target,
    };
    if place.is_none() {
        match context.environment.lookup(name) {
            Ok(found) => {
                *place = found.filter(|found| !found.value.is_empty()).map(|found| {
                    remember(&found.value);
                    Secret::new(found.value)
                });
            }
            Err(why) => context.problem(Problem::usage(why)),
        }
    }
    target
}
