//! `portcullis status`: the state of the running portcullis, as text for a terminal or as JSON.

mod fit;
mod paint;

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use self::fit::fit;
use self::paint::paint;
use super::http_client::endpoint::{Endpoint, ServerLocation};
use super::http_client::{self, HttpRequest};
use super::printing::{print, print_last};
use crate::clock::Moment;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::log::stream;
use crate::sys;
use crate::visible;

/// How long one response may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The pause between two requests.
const PAUSE: Duration = Duration::from_secs(2);

/// The maximum number of bytes of a response: the text of a few thousand checks.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// The default columns and rows of a terminal.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Clears the screen and moves the cursor to the top left.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// The options of the command line.
#[derive(Debug)]
pub struct Options {
    /// JSON instead of text.
    pub json: bool,
    /// Repeatedly, until interrupted.
    pub watch: bool,
    /// The unix socket to use.
    pub socket: Option<String>,
    /// The address to use.
    pub listen: Option<String>,
    /// The configuration file with the endpoint.
    pub config: Option<PathBuf>,
}

/// Prints it and returns the exit code: 0 if there was a response, whatever its state, 69 if not.
pub fn run(options: &Options, environment: &Environment) -> u8 {
    let location = ServerLocation { listen: options.listen.clone(), socket: options.socket.clone() };
    let endpoints = match http_client::endpoints(&location, options.config.as_deref(), environment) {
        Ok(endpoints) => endpoints,
        Err(problem) => return complain(&problem, Exit::Usage),
    };
    // A pipe or a file gets plain text without colours and terminal sequences.
    let redraws = !options.json && io::stdout().is_terminal() && environment.get("TERM").is_none_or(|name| name != "dumb");
    let no_color = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let shown = |text: String| if redraws && !no_color { paint(&text) } else { text };
    let mut first = true;
    loop {
        let answer = look(&endpoints, options.json);
        if !options.watch {
            return match answer {
                Ok(text) => print_last(&shown(text), Exit::Success),
                Err(problem) => complain(&problem, Exit::Unavailable),
            };
        }
        let before = match (redraws, options.json || first) {
            (true, _) => CLEAR,
            (false, true) => "",
            (false, false) => "\n",
        };
        first = false;
        // JSON is for programs, so nothing else is printed with it.
        let printed = match answer {
            Ok(text) if redraws => {
                let (columns, rows) = sys::terminal_size(io::stdout().as_fd()).unwrap_or(USUAL_SIZE);
                print(&format!("{before}{}", shown(fit(&text, columns, rows))))
            }
            Ok(text) => print(&format!("{before}{text}")),
            Err(problem) if options.json => {
                complain(&problem, Exit::Unavailable);
                Ok(())
            }
            Err(problem) => print(&format!("{before}{problem}\n")),
        };
        if let Err(exit) = printed {
            return exit.code();
        }
        std::thread::park_timeout(PAUSE);
    }
}

fn look(endpoints: &[Endpoint], json: bool) -> Result<String, String> {
    let (target, headers) = if json { ("/status?verbose", "") } else { ("/", "Accept: text/plain\r\n") };
    let question = HttpRequest { method: "GET", target, headers, longest: LONGEST_ANSWER, end: Moment::now().after(TIMEOUT) };
    let answer = http_client::first(endpoints, question).map_err(|problem| format!("{problem}; is portcullis running there?"))?;
    match answer.status {
        // The server may be another program, so control characters are escaped.
        200 => Ok(visible::lines(answer.body.strip_suffix('\n').unwrap_or(&answer.body)).into_owned() + "\n"),
        404 => Err("this view is switched off on the network; use the unix socket with --socket".to_owned()),
        status => Err(format!("the response has status {status}")),
    }
}

fn complain(problem: &str, exit: Exit) -> u8 {
    let _ = writeln!(stream::stderr(), "portcullis status: {problem}");
    exit.code()
}
