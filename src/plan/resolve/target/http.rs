//! HTTP by URL and by parts, the expected response, and several endpoints under one name.

use super::{Written, beside};
use crate::config::check::{Endpoint, Watching};
use crate::config::interpolate::looks_secret;
use crate::config::reader::{Depth, Section};
use crate::config::target::{Expect as Expected, TargetKeys};
use crate::config::values::Number;
use crate::plan::resolve::target_url;
use crate::plan::target::{Expectation, HttpTarget, Member, SeveralTarget, Target};
use crate::secret::Secret;

/// `[[checks.NAME.targets]]`: endpoints that give one result; `parallel` of them are probed at a time.
pub(in crate::plan::resolve) fn several(section: &Section<'_>, watching: &Watching) -> Option<Target> {
    for key in beside(section, &[]) {
        section.problem(key, "and `targets` exclude each other; write it in each target");
    }
    let nodes = section.list("targets")?;
    if nodes.is_empty() {
        section.problem("targets", "names no target");
    }
    let mut members: Vec<Member> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{}.{}", section.below("targets"), index + 1);
        let Some(mut member) = section.context().open(node, &path, section.depth()) else { continue };
        let endpoint: Endpoint = member.declared();
        let target = super::read(&member, &endpoint.target);
        if section.depth() == Depth::Syntax {
            continue;
        }
        match target {
            Some(Target::Http(http)) => {
                let name = endpoint.label.name.value().unwrap_or_else(|| (index + 1).to_string());
                if members.iter().any(|other| other.name == name) {
                    member.problem("name", format!("is `{name}`, the name of another target"));
                }
                let keyed = member.has("bearer") || member.has("key_header");
                let lacks_key = keyed && http.masked_key.is_none();
                members.push(Member { name, http, lacks_key });
            }
            Some(other) => {
                let key = ["kind", "variables"].into_iter().find(|key| member.has(key)).unwrap_or("url");
                member.problem(key, format!("is of kind {}; several targets have to be of kind http", other.kind()));
            }
            None => {}
        }
    }
    // Errors have been reported.
    let several = SeveralTarget { members, at_once: watching.parallel.to().unwrap_or(1), timeout: watching.timeout.0 };
    (!several.members.is_empty()).then_some(Target::Several(several))
}

impl Written<'_, '_> {
    pub(super) fn http(self) -> Option<Target> {
        let tls = self.tls.chosen(self.section, self.secure);
        let (scheme, default_port) = if tls.is_some() { ("https", 443) } else { ("http", 80) };
        let place = self.place(Some(default_port))?;
        let raw_path = match self.keys.path.value() {
            Some(path) if !path.starts_with('/') => {
                self.section.problem("path", "does not begin with `/`");
                return None;
            }
            Some(path) => path,
            None => self.address.query.as_ref().map_or_else(|| self.address.path.clone(), |query| format!("{}?{query}", self.address.path)),
        };
        let login = match (self.user(), self.password()) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", target_url::encode_user(&user.unwrap_or_default())),
            (user, Some(password)) => {
                format!("{}:{}@", target_url::encode_user(&user.unwrap_or_default()), target_url::encode_user(password.expose()))
            }
        };
        let Ok(url) = url::Url::parse(&format!("{scheme}://{login}{place}{raw_path}")) else {
            self.section.problem(self.key("host"), "gives no valid URL");
            return None;
        };
        let mut shown = url.clone();
        // Neither can fail for a URL that has a host.
        let _ = (shown.set_username(""), shown.set_password(None));
        shown.set_query(None);
        let shown = crate::secret::scrub(shown.as_str());
        if let Some(header) = self.keys.key_header.value() {
            if !self.keys.headers.0.iter().any(|(name, _)| name.eq_ignore_ascii_case(&header)) {
                self.section.problem("key_header", format!("is `{header}`, which is not one of the `headers`"));
            }
            if self.section.has("bearer") {
                self.section.problem("key_header", "and `bearer` both name the key; keep one of them");
            }
        }
        let HttpOptions { method, headers, masked_key, expect } = self.http;
        Some(Target::Http(HttpTarget {
            url: Secret::unlisted(url.as_str()),
            shown,
            method,
            headers,
            masked_key,
            expect,
            tls: tls.unwrap_or_default(),
            redirects: self.keys.redirects.and_then(Number::to),
            environment_proxy: self.keys.proxy.is_some(),
        }))
    }
}

/// The keys of HTTP targets only.
pub(super) struct HttpOptions {
    method: String,
    headers: Vec<(String, Secret)>,
    masked_key: Option<String>,
    expect: Expectation,
}

impl HttpOptions {
    pub(super) fn read(section: &Section<'_>, keys: &TargetKeys) -> Self {
        let method = keys.method.value().unwrap_or_else(|| "GET".to_owned());
        if !method.chars().all(|c| c.is_ascii_uppercase()) {
            section.problem("method", format!("is `{method}`, not a method such as `GET` or `HEAD`"));
        }
        let mut headers = Vec::new();
        let key_header = keys.key_header.value();
        let is_key = |name: &str| key_header.as_ref().is_some_and(|header| header.eq_ignore_ascii_case(name));
        for (name, value) in &keys.headers.0 {
            let value = value.value();
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if (name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control))
                && let Some(table) = section.table("headers")
            {
                table.problem(name, "cannot be sent as a header");
            }
            let secret =
                is_key(name) || looks_secret(name, &value) || ["authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str());
            headers.push((name.clone(), if secret { Secret::new(value) } else { Secret::unlisted(value) }));
        }
        let mut key = headers.iter().find(|(name, _)| is_key(name)).map(|(_, value)| value.clone());
        if let Some(token) = &keys.bearer.0 {
            key = Some(token.clone());
            if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
                section.problem("bearer", "and the header `Authorization` exclude each other");
            }
            if token.expose().chars().any(|c| c.is_control() || !c.is_ascii()) {
                section.problem("bearer", "cannot be sent in a header");
            }
            headers.push(("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.expose()))));
        }
        let masked_key = key.filter(|key| !key.is_empty()).map(|key| masked(key.expose()));
        Self {
            method,
            headers,
            masked_key,
            expect: keys.expect.as_ref().map(|expected| expectation(section, expected)).unwrap_or_default(),
        }
    }
}

/// A masked key for authorized clients: a star for each character, forty at most, and the last five characters if they are at most a quarter of it.
fn masked(key: &str) -> String {
    const SHOWN: usize = 5;
    let length = key.chars().count();
    if length < 4 * SHOWN {
        return "*".repeat(SHOWN);
    }
    let hidden = length.saturating_sub(SHOWN);
    "*".repeat(hidden.min(40)) + &key.chars().skip(hidden).collect::<String>()
}

fn expectation(section: &Section<'_>, expected: &Expected) -> Expectation {
    let json = expected.json.0.iter().map(|(pointer, accepted)| (pointer.clone(), accepted.0.clone())).collect::<Vec<_>>();
    for (pointer, _) in json.iter().filter(|(pointer, _)| !pointer.is_empty() && !pointer.starts_with('/')) {
        if let Some(table) = section.table("expect").and_then(|expect| expect.table("json")) {
            table.problem(pointer, "is not a JSON pointer: it has to begin with `/`");
        }
    }
    Expectation { status: expected.status.0.iter().filter_map(|status| status.to()).collect(), body: expected.body.value(), json }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn a_key_shows_its_last_five_characters_where_they_are_a_quarter_of_it_at_most() {
        for (key, shown) in [
            ("", "*****"),
            ("abcde", "*****"),
            ("configcat-proxy-key", "*****"),
            ("configcat-proxy-key1", "***************-key1"),
            ("configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBhwTYg", "****************************************hwTYg"),
        ] {
            assert_eq!(masked(key), shown.to_owned(), "{key}");
        }
        let long = masked(&"\u{fc}".repeat(1000));
        assert!(long.chars().count() == 45 && long.ends_with(&"\u{fc}".repeat(5)));
    }
}
