//! `portcullis wait`: until targets are ready, in parallel, and then the command in our place.

mod alarm;
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
use crate::prober::{Guarded, Pace, delay};
use alarm::Alarm;
use report::Board;
use row::Hold;

/// How often what is shown on a terminal is renewed.
const FRAME: Duration = Duration::from_millis(100);

/// How often a line says what is still waited for where there is no terminal.
const PROGRESS: Duration = Duration::from_secs(5);

/// The pause between two tries while a target that is ready has to stay so.
const HOLDING: Duration = Duration::from_secs(1);

/// How long taking leave of a server may take.
const LEAVE: Duration = Duration::from_millis(50);

/// What is waited for, and what comes then.
#[derive(Debug)]
pub struct Options {
    /// URLs of targets, at least one.
    pub targets: Vec<String>,
    /// How long to wait at most; zero: each is asked once; `Duration::MAX`: without an end.
    pub timeout: Duration,
    /// How long one try may take.
    pub try_timeout: Duration,
    /// Time between two tries; the gate's own pace when none.
    pub interval: Option<Duration>,
    /// For how long each has to be ready without a break; zero: once is enough.
    pub stable: Duration,
    /// Whether one of them is enough.
    pub any: bool,
    /// What is said of how the wait goes.
    pub output: Reporting,
    /// Whether a wrong login ends the wait.
    pub fail_fast: bool,
    /// Whom targets that speak TLS by their scheme trust, and as whom we introduce ourselves.
    pub tls: TlsFlags,
    /// What to become; empty: nothing.
    pub command: Vec<OsString>,
}

/// What is said of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// How it goes, as text.
    Text,
    /// The same, and the result as JSON.
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

/// Waits and becomes the command; returns an exit code when there is none, or when it cannot be started.
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
        report::say(&format!("--stable {stable} cannot come true within --timeout {limit}; give a longer --timeout"));
        return Exit::Usage.code();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(cause) => {
            report::say(&format!("cannot wait: the kernel refused what that needs: {cause}; check the limits of the container"));
            return Exit::Internal.code();
        }
    };
    let mut board = Board::new(&targets, may_redraw(environment), request.output);
    let began = Instant::now();
    let end = runtime.block_on(wait(request, targets, &mut board, signals));
    // What is still being asked is nobody's concern any more.
    runtime.shutdown_background();
    match end {
        End::Signalled(number) => {
            board.finish();
            signal_code(number as u8)
        }
        End::Ready | End::NotReady => {
            board.conclude(request, matches!(end, End::Ready), began.elapsed());
            match end {
                End::Ready if request.command.is_empty() => Exit::Success.code(),
                End::Ready => handover::become_command(&request.command),
                _ => Exit::Unavailable.code(),
            }
        }
    }
}

/// Whether lines can be drawn anew: a terminal that knows how to move its cursor.
fn may_redraw(environment: &Environment) -> bool {
    log::is_terminal() && environment.get("TERM").is_none_or(|name| name != "dumb")
}

/// News of one target.
enum News {
    Ready,
    /// Ready, and not yet for long enough; how often the session was lost.
    Holding(u32),
    Failed(Failure),
}

async fn wait(request: &Options, targets: Vec<Target>, board: &mut Board, signals: Option<Interrupt>) -> End {
    let began = Instant::now();
    // A timeout of zero means one try, and that may take as long as a try may.
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
                    // What ends the wait is said at its end.
                    board.failed(index, failure, began.elapsed(), !hopeless && !request.timeout.is_zero());
                    if hopeless {
                        return End::NotReady;
                    }
                }
                // Every target was asked once, or its probe cannot go on.
                None => return End::NotReady,
            },
            () = &mut late => return End::NotReady,
            _ = frame.tick() => board.progress(began.elapsed()),
        }
    }
}

/// How one target is asked.
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
            // A little less than what is left, so that the last try's own words come before the end.
            let left = self.deadline.left().mul_f64(0.98);
            let given = left.min(self.try_timeout);
            let Outcome { result, elapsed, .. } = probe.once(given).await;
            if probe.lost_session() {
                // A server that was started again in between answers as if nothing had been.
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
                    // Once it is told we may be another program the next moment.
                    let _ = timeout_at(Instant::now() + LEAVE, probe.close()).await;
                    return tell(News::Ready);
                }
                // Cut short by the end, whatever words that has: what is known already says more.
                Err(_) if known && left < self.try_timeout && elapsed >= given.mul_f64(0.9) => return,
                Err(failure) => {
                    let kind = failure.kind;
                    // The same once more is no news, and telling it costs as much as asking.
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
    async fn a_timeout_of_zero_asks_once() {
        let request = request(&["tcp://127.0.0.1:1"], Duration::ZERO);
        let (targets, _) = resolve::targets(&request.targets, &Environment::new::<&str, &str>([])).unwrap();
        let mut board = Board::new(&targets, false, Reporting::Text);
        assert!(matches!(wait(&request, targets, &mut board, None).await, End::NotReady));
        assert_eq!(board.rows().iter().filter_map(Row::kind).collect::<Vec<_>>(), [ErrorKind::Refused]);
    }
}
