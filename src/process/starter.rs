//! Threads on which programs are started, so that a blocking program file delays only its own start.
//!
//! The caller gets the pid as soon as the process exists, and later whether it executes its program. A child's parent death signal is sent
//! when the thread that started it ends (PR_SET_PDEATHSIG(2const)), so such a thread lives as long as portcullis, and starts other programs
//! meanwhile; any other thread ends with its start, because the end of the whole process would wait for it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::EventFd;

use super::spawn::{PreparedCommand, SpawnError};
use crate::sys;
use crate::sys::start::Birth;

/// The number of threads besides that of the main process; this many programs may hang in exec.
const MOST_BESIDE: usize = 7;

/// The result of a created process.
#[derive(Debug)]
pub(super) struct Report {
    /// Its pid.
    pub(super) pid: i32,
    /// Whether it executes its program. If not, it is about to end, or has ended.
    pub(super) result: Result<(), SpawnError>,
}

/// A program to start.
type Job = (PreparedCommand, Arc<Birth>);

/// One thread.
struct Starter {
    jobs: Sender<Job>,
    busy: Arc<AtomicBool>,
    /// Whether a child of it gets a signal at its end; else it ends once it is idle.
    is_tied: bool,
}

/// All threads; each is started when it is first needed.
pub(super) struct Starters {
    /// The thread of the main process, so that it can be started whatever else hangs.
    main: Option<Starter>,
    beside: Vec<Starter>,
    sender: Sender<Report>,
    reports: Receiver<Report>,
    bell: Arc<EventFd>,
}

impl fmt::Debug for Starters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starters").field("beside", &self.beside.len()).finish_non_exhaustive()
    }
}

impl Starters {
    /// No threads yet; `bell` is signalled when there is a report.
    pub(super) fn new(bell: Arc<EventFd>) -> Self {
        let (sender, reports) = mpsc::channel();
        Self { main: None, beside: Vec::new(), sender, reports, bell }
    }

    /// Creates the process and returns its pid; a [`Report`] follows.
    pub(super) fn start(&mut self, prepared: PreparedCommand, is_main: bool) -> Result<i32, SpawnError> {
        let name = prepared.name().to_owned();
        let no_thread = |error| SpawnError::no_process(&name, &error);
        let mut starter = if is_main {
            match self.main.take() {
                Some(busy) if !busy.is_idle() => {
                    self.main = Some(busy);
                    return Err(SpawnError::too_many_hang(&name));
                }
                Some(starter) if starter.is_tied => starter,
                _ => self.thread("start-main").map_err(no_thread)?,
            }
        } else {
            self.beside.retain(|starter| starter.is_tied || !starter.is_idle());
            match self.beside.iter().position(Starter::is_idle) {
                Some(index) => self.beside.swap_remove(index),
                None if self.beside.len() >= MOST_BESIDE => return Err(SpawnError::too_many_hang(&name)),
                None => self.thread("start").map_err(no_thread)?,
            }
        };
        let birth = Arc::new(Birth::default());
        starter.busy.store(true, Ordering::Release);
        starter.is_tied |= prepared.is_tied_to_thread();
        let sent = starter.jobs.send((prepared, Arc::clone(&birth)));
        if is_main {
            self.main = Some(starter);
        } else {
            self.beside.push(starter);
        }
        match sent {
            // Creating a process accesses no file: this takes only the time of a clone.
            Ok(()) => birth.wait().map_err(|error| SpawnError::no_process(&name, &error)),
            Err(_) => Err(SpawnError::no_process(&name, &io::Error::other("a thread of portcullis has ended"))),
        }
    }

    /// The reports of created processes.
    pub(super) fn reports(&self) -> Vec<Report> {
        self.reports.try_iter().collect()
    }

    fn thread(&self, name: &str) -> io::Result<Starter> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let busy = Arc::new(AtomicBool::new(false));
        let (sender, bell, is_busy) = (self.sender.clone(), Arc::clone(&self.bell), Arc::clone(&busy));
        sys::start_thread(name, move || {
            let mut is_tied = false;
            while let Ok((prepared, birth)) = inbox.recv() {
                is_tied |= prepared.is_tied_to_thread();
                let result = prepared.start(&birth);
                is_busy.store(false, Ordering::Release);
                if let Some(pid) = birth.pid() {
                    let _ = sender.send(Report { pid, result });
                    let _ = bell.write(1);
                }
                if !is_tied {
                    break;
                }
            }
        })?;
        Ok(Starter { jobs, busy, is_tied: false })
    }
}

impl Starter {
    fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::Acquire)
    }
}
