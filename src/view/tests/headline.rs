//! The verdict in words, in every situation.

use super::ask;
use super::fixtures::{all, at, further, look, named};
use crate::exit::Ended;
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::ModuleId;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::event::ProcessId;
use crate::state::snapshot::{Child, Look, Module, ModuleState, Phase, Shutdown, Snapshot, Stage, StageState};
use crate::view::DetailAccess;
use crate::view::{Request, route};
use std::time::Duration;

/// The first line of the text.
fn first(snapshot: &Snapshot, look: Look, authorized: bool) -> String {
    let text = ask(snapshot, look, "GET /", "text/plain", authorized).body;
    text.lines().next().unwrap().to_owned()
}

#[test]
fn the_verdict_is_in_words() {
    let rows = [
        ("no checks", "\u{25cf} SERVING"),
        ("waiting", "\u{25cc} STARTING: waiting"),
        ("all up", "\u{25cf} SERVING"),
        ("redis degraded", "\u{25b2} SERVING, degraded: redis"),
        ("redis down", "\u{25b2} SERVING, degraded: redis"),
        ("redis down for readiness", "\u{2715} NOT READY: redis"),
        ("stale", "\u{25b2} SERVING, degraded: db"),
        ("overdue", "\u{2715} NOT READY: the checks do not run any more"),
        ("stalled", "\u{2715} DOWN: the checks do not run any more"),
        ("draining", "\u{25d1} DRAINING"),
        ("failed", "\u{2715} DOWN: the start failed"),
        ("module failed", "\u{25cf} SERVING"),
    ];
    for ((name, snapshot, look), (row, words)) in all().into_iter().zip(rows) {
        assert_eq!((name, first(&snapshot, look, false)), (row, format!("{words}  dify-api 1.4.1")));
    }
    let (_, queued, look) = further().into_iter().next().unwrap();
    assert_eq!(first(&queued, look, false), "\u{25cc} STARTING: another replica migrates, queueing for 2 s  dify-api 1.4.1");
    assert!(first(&queued, look, true).contains("migrates (portcullis-mig:api-1 at 10.0.0.7), queueing"));
}

#[test]
fn a_start_reports_what_it_is_doing() {
    let (base, look) = named("waiting");
    let doing = |phase, names: &[&str]| {
        let stage = |name: &&str| Stage {
            name: (*name).to_owned(),
            step: StageState::Unknown,
            counts: true,
            began: Some(at(1)),
            ended: None,
            note: None,
        };
        first(
            &Snapshot { phase, stages: names.iter().map(stage).map(CopyOnWrite::from).collect::<Vec<_>>().into(), ..base.clone() },
            look,
            false,
        )
    };
    for (phase, names, words) in [
        (Phase::Waiting, &["wait:db"][..], "waiting for db"),
        (Phase::Waiting, &["wait:db", "wait:redis"], "waiting for db and redis"),
        (Phase::Waiting, &["wait:a", "wait:b", "wait:c"], "waiting for a, b and c"),
        (Phase::Waiting, &["wait:a", "wait:b", "wait:c", "wait:d", "wait:e"], "waiting for a, b, c and 2 more"),
        (Phase::Waiting, &["step:collectstatic"], "step collectstatic"),
        (Phase::Starting, &["spawn:app"], "starting the process"),
        (Phase::Starting, &["started:app"], "waiting for the process to pass its startup check"),
    ] {
        assert_eq!(doing(phase, names), format!("\u{25cc} STARTING: {words}  dify-api 1.4.1"));
    }
}

#[test]
fn a_process_that_ended_and_one_that_starts_late_are_distinguished() {
    let (mut snapshot, look) = named("all up");
    snapshot.phase = Phase::Starting;
    for second in [97, 98, 99] {
        snapshot.checks[2].feed(at(second), Outcome::failed(ErrorKind::Exited, "", Duration::ZERO));
    }
    *snapshot.child = Child { last_exit: Some(Ended::Code(3)), restarts: 1, ..Child::default() };
    assert_eq!(first(&snapshot, look, false), "\u{2715} DOWN: the process ended with status 3 and is being started again  dify-api 1.4.1");
    snapshot.child.pid = Some(7);
    assert_eq!(first(&snapshot, look, false), "\u{2715} NOT READY: waiting for the process to be ready  dify-api 1.4.1");
    let (mut late, look) = named("all up");
    late.stages[4].step = StageState::Unknown;
    late.stages[4].counts = true;
    assert_eq!(first(&late, look, false), "\u{25b2} SERVING, starting: reports  dify-api 1.4.1");
}

#[test]
fn the_end_of_a_run_reports_what_is_left() {
    let (mut snapshot, look) = named("draining");
    snapshot.child.pid = Some(7);
    let module = |name: &str, pid| Module { name: name.to_owned(), child: Child { pid, ..Child::default() }.into(), ..Module::default() };
    snapshot.modules = vec![module("beat", Some(8)), module("reports", None)].into_iter().collect();
    let mut response = |phase, shutdown, gone| {
        if gone {
            snapshot.child.pid = None;
            snapshot.modules = CopyOnWrite::default();
        }
        (snapshot.phase, snapshot.shutdown) = (phase, Some(shutdown));
        first(&snapshot, look, false)
    };
    for (phase, shutdown, gone, words) in [
        (
            Phase::Draining,
            Shutdown::Draining(15),
            false,
            "DRAINING: requests go elsewhere, then the process and module beat will be stopped",
        ),
        (Phase::Draining, Shutdown::Stopping(ProcessId::Main), false, "STOPPING: waiting for the process and module beat to end"),
        (Phase::Draining, Shutdown::Killing(ProcessId::Main), false, "STOPPING: reaping the process and module beat after KILL"),
        (Phase::Stopped, Shutdown::Exited, true, "STOPPED"),
    ] {
        assert_eq!(response(phase, shutdown, gone), format!("\u{25d1} {words}  dify-api 1.4.1"));
    }
}

#[test]
fn a_module_that_crashes_shows_how_and_when() {
    let (mut snapshot, look) = named("all up");
    let mut child = Child { restarts: 2, last_exit: Some(Ended::Code(3)), ..Child::default() };
    for second in [40, 70] {
        child.ends.feed(at(second), false, Duration::from_secs(4));
    }
    snapshot.modules = vec![Module {
        id: ModuleId::default(),
        name: "beat".to_owned(),
        state: ModuleState::Broken,
        counts: true,
        child: child.into(),
        ..Module::default()
    }]
    .into_iter()
    .collect();
    let page = ask(&snapshot, look, "GET /", "", false).body;
    assert!(page.contains("<strong>beat</strong>: failed, restarted 2 times, last ended with status 3"), "{page}");
    assert!(page.contains("ended 2 times, unexpectedly; up for 4.0 s at most"), "{page}");
    let text = ask(&snapshot, look, "GET /", "text/plain", false).body;
    assert!(text.contains("\u{2588}\u{2588}\u{b7}  ends"), "{text}");
}

#[test]
fn the_page_has_wide_buckets_that_say_their_class() {
    let (snapshot, look) = named("redis down");
    let page = ask(&snapshot, look, "GET /", "", false).body;
    let redis = page.split("<article").skip(1).find(|article| article.contains("authentication failed")).unwrap();
    let (fine, coarse) = redis.split_once("<div class=\"strip coarse\">").unwrap();
    assert_eq!([fine, coarse].map(|strip| strip.matches("<i></i>").count() + strip.matches("<details").count()), [30, 15]);
    assert!(coarse.contains("some failed: 2 ok, 3 failed, slowest 5.2 ms</p>"), "{coarse}");
}

#[test]
fn facts_that_are_old_look_old() {
    let (stale, look) = named("stale");
    let old = |snapshot: &Snapshot, look| ask(snapshot, look, "GET /", "", false).body.matches("<article class=\"old\">").count();
    assert_eq!(old(&stale, look), 1);
    let (overdue, late) = named("overdue");
    assert_eq!(old(&overdue, late), 4, "no check runs any more");
    let (_, mut instances, look) = further().into_iter().find(|(name, ..)| *name == "instances").unwrap();
    let section = |snapshot: &Snapshot| ask(snapshot, look, "GET /", "", false).body.matches("<section class=\"old\">").count();
    assert_eq!(section(&instances), 0);
    let mut response = (**instances.instances.as_ref().unwrap()).clone();
    response.read = at(40);
    instances.instances = Some(std::sync::Arc::new(response));
    assert_eq!(section(&instances), 1);
}

#[test]
fn the_page_reports_that_details_are_hidden_and_how_to_see_them() {
    let (snapshot, _) = named("all up");
    let page = |query, access, authorized| {
        let request = Request { method: "GET", path: "/", query, access, authorized, ..Request::default() };
        route(&snapshot, look(), &request).body
    };
    let form = "<form method=\"post\" action=\"token\">";
    for (query, access, authorized, words, has_form) in [
        ("", DetailAccess::Token, false, "Enter the token to see them", false),
        ("hold", DetailAccess::Token, false, "Show details", true),
        ("", DetailAccess::Local, false, "portcullis status", false),
        ("hold", DetailAccess::Never, false, "to no one", false),
        ("", DetailAccess::Token, true, "Details are shown", false),
        ("hold", DetailAccess::Token, true, "Forget the token", true),
        ("hold", DetailAccess::Local, true, "Seen at", false),
    ] {
        let page = page(query, access, authorized);
        assert!(page.contains(words) && page.contains(form) == has_form, "{query} {access:?} {authorized}: {page}");
        assert_eq!(page.contains("are hidden"), !authorized);
        assert!(!has_form || !page.contains("http-equiv"), "a page that loads itself again takes away what is typed");
    }
}
