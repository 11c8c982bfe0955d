//! Every signal reaches Dify's process, including those that the script's shell kept.

use super::{NEWEST, OLD, PROGRAMS};
use crate::support::wait::moment;
use crate::support::{Running, StandIns, secs};
use std::time::Duration;

/// HUP, QUIT, USR1, USR2, WINCH, TTIN, TTOU, ALRM: gunicorn and celery scale, reopen and dump by them.
const OTHERS: [i32; 8] = [1, 3, 10, 12, 28, 21, 22, 14];

/// A preset, the variables that bring it there, and the program that then runs.
type Phase<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

/// `bash` that tells every signal it gets; TERM and INT end it with `code`, but only on their `end`th coming.
fn talker(code: i32, end: usize) -> String {
    let mut script = String::from("n=0; /usr/bin/mkfifo w.$$; exec 3<>w.$$; /bin/rm w.$$\n");
    for signal in OTHERS {
        script += &format!("trap 'echo got {signal}' {signal}\n");
    }
    for signal in [2, 15] {
        script += &format!("trap 'n=$((n+1)); echo got {signal} as $n; [ $n -lt {end} ] || exit {code}' {signal}\n");
    }
    script + "echo up\nwhile :; do read -t 0.1 line <&3; done\n"
}

fn up(preset: &str, programs: &StandIns, given: &[(&str, &str)], talks: (&str, &str)) -> Running {
    let mut run = programs
        .run_beside_others(preset, &["cmd"])
        .env("PORTCULLIS_BARE", "true")
        .env(&format!("DO_{}", talks.0), talks.1)
        .in_pid_namespace();
    for (name, value) in given {
        run = run.env(name, *value);
    }
    let run = run.start();
    run.until_stdout("up", secs(20));
    run
}

#[test]
fn every_signal_arrives_in_every_phase() {
    let migrating = [("MODE", "api"), ("MIGRATION_ENABLED", "true")];
    let phases: [Phase<'_>; 9] = [
        (NEWEST, &[("MODE", "api")], "gunicorn"),
        (NEWEST, &[("MODE", "api"), ("DEBUG", "true")], "python"),
        (NEWEST, &[("MODE", "worker")], "celery"),
        (NEWEST, &[("MODE", "beat")], "celery"),
        (NEWEST, &[("MODE", "job")], "flask"),
        (NEWEST, &migrating, "flask"),
        (OLD, &[("MODE", "api")], "gunicorn"),
        (OLD, &[("MODE", "worker")], "celery"),
        (OLD, &migrating, "flask"),
    ];
    for (preset, given, program) in phases {
        let programs = StandIns::new(&PROGRAMS);
        let mut run = up(preset, &programs, given, (program, &talker(7, 1)));
        for signal in OTHERS {
            run.signal(signal);
            run.until_stdout(&format!("got {signal}\n"), secs(20));
        }
        run.signal(15);
        run.until_stdout("got 15 as 1", secs(20));
        // A stopped migration ends portcullis as the signal itself would.
        run.exits(if given == migrating { 143 } else { 7 });
        assert_eq!(programs.calls().len(), 1, "{preset} {given:?}");
    }
}

#[test]
fn a_third_term_is_the_process_own_affair() {
    for (preset, mode, program) in [(NEWEST, "worker", "celery"), (OLD, "api", "gunicorn")] {
        let programs = StandIns::new(&PROGRAMS);
        let mut run = up(preset, &programs, &[("MODE", mode)], (program, &talker(5, 4)));
        for (signal, time) in [(15, 1), (15, 2), (2, 3), (15, 4)] {
            // The same request within 50 ms would be the echo of the one before.
            moment(Duration::from_millis(60));
            run.signal(signal);
            run.until_stdout(&format!("got {signal} as {time}"), secs(20));
        }
        run.exits(5);
    }
}
