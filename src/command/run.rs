//! `portcullis run`: the entrypoint, from the configuration to the last log line.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::config::children;
use crate::config::source::{CommandRunner, Environment};
use crate::control::Sources;
use crate::exit::{Exit, signal_code, signal_name};
use crate::log;
use crate::plan::Plan;
use crate::plan::resolve::{RunOptions, resolve};
use crate::prepare::{self, Inspection, Missing};
use crate::process::capture::CommandCapture;
use crate::process::signals::bound_queue;
use crate::process::spawn::InheritedEnvironment;
use crate::server::{Listeners, open_files};
use crate::state::lifecycle::Ending;
use crate::supervisor;
use crate::supervisor::background::Subsystems;
use crate::sys;

/// How long the search for obstacles may take if a file system does not respond.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Runs as the container's entry and returns the exit code.
pub fn run(request: &RunOptions, environment: &Environment, subsystems: Subsystems) -> u8 {
    let descriptors = inherited_descriptors();
    // Before the first thread is started.
    sys::reset_dispositions();
    start_log(environment);
    let (code, patience) = gate(request, environment, descriptors, subsystems);
    log::finish(patience);
    code
}

fn start_log(environment: &Environment) {
    let (format, known) = match environment.get("PORTCULLIS_LOG_FORMAT").map(str::trim) {
        Some("json") => (log::Format::Json, true),
        None | Some("text" | "") => (log::Format::Text, true),
        Some(_) => (log::Format::Text, false),
    };
    let colour = log::may_colour(environment.get("NO_COLOR").is_some_and(|value| !value.is_empty()));
    if let Err(complaint) = log::start(format, environment.get("PORTCULLIS_LOG"), colour) {
        warn!("{complaint}");
    }
    if !known {
        warn!("PORTCULLIS_LOG_FORMAT is neither `text` nor `json`; using `text`");
    }
    // The hook of std would write to standard error directly and might block without a reader.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        error!("{}", fault(&place, text.unwrap_or_default()));
    }));
}

/// The message for a panic: libraries panic if the kernel cannot create another thread, which is not an error of portcullis.
fn fault(place: &str, text: &str) -> String {
    if text.contains("spawn") && text.contains("thread") {
        "cannot create another thread; check the process limits of the container (pids) and of the user (nproc)".to_owned()
    } else {
        format!("an internal error of portcullis at {place}; please report it")
    }
}

/// Everything that is decided and opened before the first process is started.
struct Prepared {
    plan: Arc<Plan>,
    listeners: Option<Listeners>,
    inherited: InheritedEnvironment,
    sources: Option<Sources>,
}

/// The exit code, and how long a slow reader may take for the last line.
fn gate(request: &RunOptions, environment: &Environment, descriptors: Vec<i32>, subsystems: Subsystems) -> (u8, Duration) {
    if let Err(cause) = sys::become_subreaper() {
        warn!("cannot become a subreaper: {cause}; orphans will be neither stopped nor reaped");
    }
    let Prepared { plan, listeners, inherited, sources } = match prepared(request, environment, descriptors) {
        Ok(prepared) => prepared,
        Err(code) => return (code, log::LONGEST_LAST_WORDS),
    };
    // Removed when this returns; after a KILL the next start finds it stale.
    let _file = listeners.as_ref().and_then(Listeners::file);
    match supervisor::run(&plan, listeners, inherited, sources, subsystems) {
        Ok((Ending { code, sentence, as_requested: true }, patience)) => {
            log::live(Vec::new());
            info!(target: log::LAST_LINE, "{sentence}; exit code {code}");
            (code, patience)
        }
        Ok((ending, patience)) => (last_line(ending.code, &ending.sentence), patience),
        Err(cause) => {
            let sentence =
                format!("the kernel refused the resources for supervision: {cause}; check the limits of the container (processes, files)");
            (last_line(Exit::Internal.code(), &sentence), log::LONGEST_LAST_WORDS)
        }
    }
}

/// The exit code if nothing is to be started. Not a part of [`gate`], because its 10 kB of stack would stay in memory.
#[inline(never)]
fn prepared(request: &RunOptions, environment: &Environment, descriptors: Vec<i32>) -> Result<Prepared, u8> {
    let sayings = Arc::new(CommandCapture::default());
    let environment = &environment.clone().with_command_runner(Arc::clone(&sayings) as Arc<dyn CommandRunner>);
    let plan = match resolve(request, environment) {
        Ok(plan) => plan,
        Err(problems) => {
            if let Some(number) = sayings.stopped_by().or_else(|| environment.stopped_by()) {
                let code = signal_code(u8::try_from(number).unwrap_or_default());
                return Err(last_line(code, &format!("ended by {} before anything was started", signal_name(number))));
            }
            if problems.code() == Exit::Success.code() {
                for problem in &problems {
                    info!("{problem}");
                }
                info!(target: log::LAST_LINE, "the configuration has nothing to start in this case; exit code 0");
                return Err(Exit::Success.code());
            }
            for problem in &problems {
                error!("{problem}");
            }
            // If they fill the queue, the line with the exit code must still be written.
            log::flush(log::LAST_WORDS);
            let what = match problems.exit() {
                _ if problems.are_refusals() => "the configuration refuses this start",
                Exit::Usage => "the command line has errors",
                _ => "the configuration has errors",
            };
            return Err(last_line(problems.code(), what));
        }
    };
    for notice in &plan.notices {
        warn!("{notice}");
    }
    for remark in &plan.remarks {
        info!("{remark}");
    }
    let mut inherited = inherited_environment(environment, descriptors);
    // If its program is missing, its own start reports that, and nothing was done before.
    if !(plan.is_process_alone() && environment.keeps_nothing())
        && let Some(code) = refused(&plan, &inherited)
    {
        return Err(code);
    }
    let plan = match environment.keep_all() {
        Ok(true) => plan,
        // Another replica was faster with a value that is generated once: its value is read.
        Ok(false) => resolve(request, environment).map_err(|problems| last_line(problems.code(), &problems.to_string()))?,
        Err(cause) => return Err(last_line(Exit::Config.code(), &cause)),
    };
    inherited.limits.extend(plan.health.as_ref().and_then(open_files::make_room));
    let listeners = match plan.health.as_ref().map(Listeners::bind).transpose() {
        Ok(listeners) => {
            for cause in listeners.iter().flat_map(Listeners::missing) {
                warn!("{cause}; continuing without it");
            }
            listeners
        }
        Err(cause) if plan.health.as_ref().is_some_and(|health| health.required) => {
            return Err(last_line(Exit::Config.code(), &cause.to_string()));
        }
        Err(cause) if plan.own_command => {
            debug!("{cause}; `healthcheck` will not see this command");
            None
        }
        Err(cause) => {
            warn!("{cause}; continuing without the health endpoint");
            None
        }
    };
    let directory = inherited.directory.clone().unwrap_or_default();
    let sources = || {
        let environment = environment.clone().recalling().at(directory);
        // A reload always reads the file that was found at the start.
        Sources { request: RunOptions { file: environment.file(request.file.as_deref()), ..request.clone() }, environment }
    };
    let sources = plan.health.as_ref().is_some_and(|health| health.control).then(sources);
    Ok(Prepared { plan: Arc::new(plan), listeners, inherited, sources })
}

/// Errors that end the start before it does anything, including the health endpoint: programs that do not exist, files that need root.
fn refused(plan: &Plan, inherited: &InheritedEnvironment) -> Option<u8> {
    let Inspection { mut obstacles, missing } = prepare::look(plan, inherited, LONGEST_LOOK);
    let (missing, perhaps): (Vec<Missing>, Vec<Missing>) = missing.into_iter().partition(|missing| missing.certain);
    for Missing { sentence, .. } in &perhaps {
        info!("{sentence}");
    }
    let exit = if obstacles.is_empty() { Exit::NotFound } else { Exit::Config };
    obstacles.splice(0..0, missing.into_iter().map(|missing| missing.sentence));
    let (last, others) = obstacles.split_last()?;
    for obstacle in others {
        error!("{obstacle}");
    }
    Some(last_line(exit.code(), last))
}

/// The environment that children inherit. portcullis itself leaves the working directory, so that its file system can be unmounted.
fn inherited_environment(environment: &Environment, descriptors: Vec<i32>) -> InheritedEnvironment {
    let directory = std::env::current_dir().ok();
    if directory.is_some() {
        let _ = std::env::set_current_dir("/");
    }
    let environment = children::variables(environment);
    InheritedEnvironment { environment, directory, descriptors, limits: bound_queue().into_iter().collect() }
}

/// The inherited descriptors above standard error, which are passed on.
fn inherited_descriptors() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.into_iter().filter(|number| *number > 2 && sys::descriptors::survives_exec(*number)).collect()
}

/// Logs why the run ends, unless it ends as requested, and with which exit code.
fn last_line(code: u8, sentence: &str) -> u8 {
    log::live(Vec::new());
    error!(target: log::LAST_LINE, "{sentence}; exit code {code}");
    code
}
