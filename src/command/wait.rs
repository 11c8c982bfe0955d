//! `portcullis wait`: waits for targets in parallel, then executes the command in its place.

mod handover;
mod report;
mod row;

use std::ffi::OsString;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout_at};

use super::interrupt::Interrupt;
use super::stability::Stability;
use crate::clock::patience::{Deadline, SLACK};
use crate::config::source::Environment;
use crate::exit::{Exit, signal_code};
use crate::log;
use crate::outcome::{Failure, Outcome};
use crate::plan::resolve::{self, TlsFlags};
use crate::plan::target::Target;
use crate::prober::{Alarm, Guarded, Pace, delay};
use report::Board;
use row::Hold;

/// How often the terminal is redrawn.
const FRAME: Duration = Duration::from_millis(100);

/// How often a line reports the progress without a terminal.
const PROGRESS: Duration = Duration::from_secs(5);

/// The pause between two attempts while a ready target has to stay ready.
const HOLDING: Duration = Duration::from_secs(1);

/// How long closing a session may take.
const LEAVE: Duration = Duration::from_millis(50);

/// The targets, the options and the command.
#[derive(Debug)]
pub struct Options {
    /// URLs of targets, at least one.
    pub targets: Vec<String>,
    /// How long to wait at most; zero: each target is probed once; `Duration::MAX`: no limit.
    pub timeout: Duration,
    /// How long one attempt may take.
    pub try_timeout: Duration,
    /// The pause between two attempts; none: the default back-off.
    pub interval: Option<Duration>,
    /// For how long each has to be ready without interruption; zero: once is enough.
    pub stable: Duration,
    /// Whether one of them is enough.
    pub any: bool,
    /// The form of the output.
    pub output: Reporting,
    /// Whether a wrong login ends the wait.
    pub fail_fast: bool,
    /// The TLS options for targets whose scheme implies TLS.
    pub tls: TlsFlags,
    /// The command; empty: none.
    pub command: Vec<OsString>,
}

/// The form of the output of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// Progress and result as text.
    Text,
    /// Progress as text, the result as JSON.
    Json,
    /// Nothing.
    Nothing,
}

/// How the wait ended.
enum End {
    Ready,
    NotReady,
    Signalled(i32),
}

/// Waits and executes the command in its place; returns an exit code if there is no command, or if it cannot be started.
pub fn run(request: &Options, environment: &Environment) -> u8 {
    let signals = Interrupt::listen();
    let (targets, notices) = match resolve::targets_with(&request.targets, &request.tls, environment) {
        Ok(found) => found,
        Err(problems) => {
            report::say(&problems.to_string());
            return Exit::Usage.code();
        }
    };
    for notice in notices.iter().filter(|_| request.output != Reporting::Nothing) {
        report::say(notice);
    }
    if request.stable >= request.timeout && !request.stable.is_zero() {
        let [stable, limit] = [request.stable, request.timeout].map(humantime::format_duration);
        report::say(&format!("--stable {stable} cannot be reached within --timeout {limit}; give a longer --timeout"));
        return Exit::Usage.code();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(cause) => {
            report::say(&format!("cannot wait: the kernel refused the resources: {cause}; check the limits of the container"));
            return Exit::Internal.code();
        }
    };
    let mut board = Board::new(&targets, may_redraw(environment), request.output);
    let began = Instant::now();
    let end = runtime.block_on(wait(request, targets, &mut board, signals));
    // Running probes are no longer needed.
    runtime.shutdown_background();
    match end {
        End::Signalled(number) => {
            board.finish();
            signal_code(number as u8)
        }
        End::Ready | End::NotReady => {
            let ready = matches!(end, End::Ready);
            let code = board.conclude(request, ready, began.elapsed());
            if ready && !request.command.is_empty() { handover::become_command(&request.command) } else { code }
        }
    }
}

/// Whether lines can be redrawn: a terminal that can move its cursor.
fn may_redraw(environment: &Environment) -> bool {
    log::is_terminal() && environment.get("TERM").is_none_or(|name| name != "dumb")
}

/// A result for one target.
enum News {
    Ready,
    /// Ready, but not yet for long enough; with the number of lost sessions.
    Holding(u32),
    Failed(Failure),
}

async fn wait(request: &Options, targets: Vec<Target>, board: &mut Board, signals: Option<Interrupt>) -> End {
    let began = Instant::now();
    // A timeout of zero means one attempt, with the usual limit of an attempt.
    let limit = if request.timeout.is_zero() { request.try_timeout } else { request.timeout };
    let deadline = Deadline::after(limit);
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (index, target) in targets.into_iter().enumerate() {
        let Options { try_timeout, interval, stable, .. } = *request;
        let asking = TargetWait { try_timeout, interval, stable, once: request.timeout.is_zero(), deadline: deadline.clone() };
        let sender = sender.clone();
        tasks.spawn(async move { asking.until_ready(target, |item| drop(sender.send((index, item)))).await });
    }
    drop(sender);
    let period = if board.is_live() { FRAME } else { PROGRESS };
    let mut frame = interval_at(began + period, period);
    let late = deadline.passed();
    tokio::pin!(late);
    let listening = Interrupt::received(signals);
    tokio::pin!(listening);
    loop {
        tokio::select! {
            biased;
            number = &mut listening => return End::Signalled(number),
            item = news.recv() => match item {
                Some((index, News::Ready)) => {
                    board.ready(index, began.elapsed());
                    if request.any || board.all_ready() {
                        return End::Ready;
                    }
                }
                Some((index, News::Holding(lost))) => board.holding(index, Hold { wanted: request.stable, lost }, began.elapsed()),
                Some((index, News::Failed(failure))) => {
                    let hopeless = request.fail_fast && failure.reason().is_refusal() && !request.any;
                    // The reason for the end of the wait is printed at its end.
                    board.failed(index, failure, began.elapsed(), !hopeless && !request.timeout.is_zero());
                    if hopeless {
                        return End::NotReady;
                    }
                }
                // Every target was probed once, or its probe cannot continue.
                None => return End::NotReady,
            },
            () = &mut late => return End::NotReady,
            _ = frame.tick() => board.progress(began.elapsed()),
        }
    }
}

/// How one target is probed.
struct TargetWait {
    try_timeout: Duration,
    interval: Option<Duration>,
    stable: Duration,
    once: bool,
    deadline: Deadline,
}

impl TargetWait {
    async fn until_ready(self, target: Target, tell: impl Fn(News)) {
        let mut probe = Guarded::new(target, None);
        let mut alarm = Alarm::new();
        let began = Instant::now();
        let (mut reported, mut known): (Option<Failure>, bool) = (None, false);
        let mut stability = Stability::new(self.stable);
        let mut lost = 0;
        loop {
            let began_at = began.elapsed();
            // A little less than the remaining time, so that the error of the last attempt arrives before the end.
            let left = self.deadline.left().mul_f64(0.98);
            let given = left.min(self.try_timeout);
            let Outcome { result, elapsed, .. } = probe.once(given).await;
            if probe.lost_session() {
                // A server that was restarted in between answers normally.
                stability.look(began_at, began.elapsed(), false);
                lost += 1;
            }
            let held = stability.look(began_at, began.elapsed(), result.is_ok());
            let kind = match result {
                Ok(()) if held.is_some_and(|left| !left.is_zero()) => {
                    tell(News::Holding(lost));
                    (reported, known) = (None, true);
                    let pause = self.interval.unwrap_or(HOLDING).min(held.unwrap_or_default());
                    let slept = Instant::now();
                    alarm.sleep(pause).await;
                    if slept.elapsed() > pause.saturating_add(SLACK) {
                        stability.interrupt();
                    }
                    continue;
                }
                Ok(()) => {
                    // After this result is sent, this process may become the command at any moment.
                    let _ = timeout_at(Instant::now() + LEAVE, probe.close()).await;
                    return tell(News::Ready);
                }
                // The end of the wait interrupted it: the previous error is more informative.
                Err(_) if known && left < self.try_timeout && elapsed >= given.mul_f64(0.9) => return,
                Err(failure) => {
                    let kind = failure.kind;
                    // A repeated result is not sent, because that would cost as much as the probe.
                    if reported.as_ref() != Some(&failure) {
                        tell(News::Failed(failure.clone()));
                        (reported, known) = (Some(failure), true);
                    }
                    kind
                }
            };
            if self.once {
                return;
            }
            let pace = Pace::Waiting { waited: began.elapsed(), kind };
            alarm.sleep(self.interval.unwrap_or_else(|| delay(pace, fastrand::f64()))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::row::Row;
    use super::*;
    use crate::outcome::ErrorKind;

    fn request(targets: &[&str], timeout: Duration) -> Options {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        let try_timeout = Duration::from_secs(2);
        Options {
            targets,
            timeout,
            try_timeout,
            interval: None,
            stable: Duration::ZERO,
            any: false,
            output: Reporting::Text,
            fail_fast: false,
            tls: TlsFlags::default(),
            command: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_timeout_of_zero_probes_once() {
        let request = request(&["tcp://127.0.0.1:1"], Duration::ZERO);
        let (targets, _) = resolve::targets(&request.targets, &Environment::new::<&str, &str>([])).unwrap();
        let mut board = Board::new(&targets, false, Reporting::Text);
        assert!(matches!(wait(&request, targets, &mut board, None).await, End::NotReady));
        assert_eq!(board.rows().iter().filter_map(Row::kind).collect::<Vec<_>>(), [ErrorKind::Refused]);
    }
}
