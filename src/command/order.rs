//! `portcullis start`, `stop`, `restart` and `reload`: one control request over the unix socket, and its result in one sentence.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::utf8_percent_encode;

use super::http_client::endpoint::{Endpoint, ServerLocation};
use super::http_client::{self, HttpRequest, HttpResponse};
use super::printing::print_last;
use crate::clock::Moment;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::log::stream;
use crate::plan::resolve::health_token;
use crate::secret::URL_VALUE;
use crate::view::control::ControlAnswer;
use crate::visible;

/// The time beyond the request's own timeout, so that the response "still under way" arrives.
const SLACK: Duration = Duration::from_secs(5);

/// The maximum number of bytes of a response: all problems of a large configuration.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// The requested action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOrder {
    /// `start`, `stop` or `restart` of a module.
    Module {
        /// The word.
        verb: &'static str,
        /// The module's name.
        name: String,
    },
    /// Read the configuration again.
    Reload,
}

impl ClientOrder {
    const fn word(&self) -> &'static str {
        match self {
            Self::Module { verb, .. } => verb,
            Self::Reload => "reload",
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Module { verb, name } => format!("/control/modules/{}/{verb}", utf8_percent_encode(name, URL_VALUE)),
            Self::Reload => "/control/reload".to_owned(),
        }
    }
}

/// The options of the command line.
#[derive(Debug)]
pub struct Options {
    /// The requested action.
    pub order: ClientOrder,
    /// How long to wait for the result.
    pub timeout: Duration,
    /// The unix socket to use.
    pub socket: Option<String>,
    /// The configuration file with the socket and the token.
    pub config: Option<PathBuf>,
}

/// Sends the request and returns the exit code; see the table in `docs/modules.md`.
pub fn run(options: &Options, environment: &Environment) -> u8 {
    let (exit, text) = give(options, environment);
    if exit == 0 {
        return print_last(&format!("{text}\n"), Exit::Success);
    }
    let _ = writeln!(stream::stderr(), "portcullis {}: {text}", options.order.word());
    exit
}

fn give(options: &Options, environment: &Environment) -> (u8, String) {
    let location = ServerLocation { listen: None, socket: options.socket.clone() };
    let endpoints = match http_client::endpoints(&location, options.config.as_deref(), environment) {
        Ok(endpoints) => endpoints,
        Err(problem) => return (Exit::Usage.code(), problem),
    };
    // Control requests are accepted only there.
    let Some(socket) = endpoints.into_iter().find(|endpoint| matches!(endpoint, Endpoint::Unix(_))) else {
        return (Exit::Usage.code(), "control requests go over the unix socket, and [health] has none; name it with --socket".to_owned());
    };
    let token = health_token(options.config.as_deref(), environment);
    let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", token.expose()));
    let question = HttpRequest {
        method: "POST",
        target: &format!("{}?wait_ms={}", options.order.path(), options.timeout.as_millis()),
        headers: &format!("Content-Length: 0\r\n{bearer}"),
        longest: LONGEST_ANSWER,
        end: Moment::now().after(options.timeout.saturating_add(SLACK)),
    };
    match http_client::first(&[socket], question) {
        Ok(answer) => code_and_sentence(&answer),
        Err(problem) => (Exit::Unavailable.code(), format!("{problem}; is portcullis running there?")),
    }
}

/// The exit code and the texts of a response.
fn code_and_sentence(answer: &HttpResponse) -> (u8, String) {
    let ControlAnswer { exit, sentence, lines } = serde_json::from_str(&answer.body).unwrap_or_default();
    let sentence = sentence.as_deref().map(visible::line);
    match (answer.status, sentence, exit) {
        (403, Some(sentence), _) => (Exit::NotAllowed.code(), sentence.into_owned()),
        (_, Some(sentence), Some(code)) => {
            let lines = lines.iter().flatten().map(|line| visible::line(line));
            (code, std::iter::once(sentence).chain(lines).collect::<Vec<_>>().join("\n  "))
        }
        (404, ..) => (Exit::Unavailable.code(), "the running portcullis accepts no control requests: no modules are configured".to_owned()),
        (status, ..) => (Exit::Internal.code(), format!("the response has status {status} and no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse { status, body: body.to_owned() }
    }

    #[test]
    fn every_answer_has_a_code_and_words() {
        let lines = r#"{"exit":78,"sentence":"wrong","lines":["a","b"]}"#;
        assert_eq!(code_and_sentence(&answer(422, lines)), (78, "wrong\n  a\n  b".to_owned()));
        assert_eq!(code_and_sentence(&answer(403, r#"{"sentence":"not you"}"#)), (77, "not you".to_owned()));
        assert_eq!(code_and_sentence(&answer(404, "404 page not found")).0, 69);
        for nonsense in ["", "null", "[1]", r#"{"exit":700,"sentence":"x"}"#, r#"{"exit":0}"#] {
            assert_eq!(code_and_sentence(&answer(200, nonsense)).0, 70, "{nonsense}");
        }
    }

    #[test]
    fn a_name_stays_in_its_segment_whatever_it_holds() {
        let order = ClientOrder::Module { verb: "start", name: "../reload?x\r\n".to_owned() };
        assert_eq!(order.path(), "/control/modules/..%2Freload%3Fx%0D%0A/start");
    }
}
