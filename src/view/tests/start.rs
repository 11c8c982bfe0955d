//! The bars of the start, which end with it.

use super::ask;
use super::fixtures::named;
use crate::clock::Moment;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::snapshot::{Stage, StageState};
use crate::view::summary::timeline;
use std::time::Duration;

#[test]
fn the_bars_of_a_start_end_when_it_ended() {
    let at = |seconds| Moment::default().after(Duration::from_secs(seconds));
    let (mut snapshot, look) = named("no checks");
    let stage = |name: &str, step, began: u64, ended: Option<u64>| Stage {
        name: name.to_owned(),
        step,
        counts: step == StageState::Up,
        began: Some(at(began)),
        ended: ended.map(at),
        note: None,
    };
    snapshot.started_at = at(0);
    snapshot.start_over = Some(at(20));
    snapshot.stages = [
        stage("spawn:app", StageState::Up, 5, Some(20)),
        stage("module:slow", StageState::Unknown, 6, None),
        stage("module:later", StageState::Up, 50, Some(60)),
    ]
    .map(CopyOnWrite::from)
    .to_vec()
    .into();
    let (bars, span) = timeline(&snapshot, look);
    let shown: Vec<_> = bars.iter().map(|bar| (bar.name, bar.length.as_secs())).collect();
    assert_eq!(shown, [("spawn:app", 15), ("module:slow", 14)]);
    assert_eq!(span, Duration::from_secs(20));
}

#[test]
fn steps_have_their_state_their_time_and_their_note_everywhere() {
    let at = |seconds| Moment::default().after(Duration::from_secs(seconds));
    let (mut snapshot, look) = named("no checks");
    snapshot.started_at = at(0);
    let step = |name: &str, step, began: Option<u64>, ended: Option<u64>, note: Option<&str>| Stage {
        step,
        began: began.map(at),
        ended: ended.map(at),
        note: note.map(str::to_owned),
        ..Stage::new(format!("step:{name}"))
    };
    snapshot.stages = [
        step("static files", StageState::Up, Some(1), Some(4), Some("nothing to do")),
        step("seed <db>", StageState::Down, Some(4), Some(6), Some("ended with status 3")),
        step("warm", StageState::Unknown, None, None, None),
    ]
    .map(CopyOnWrite::from)
    .to_vec()
    .into();
    let metrics = ask(&snapshot, look, "GET /metrics", "", false).body;
    for line in [
        "portcullis_step_state{step=\"static files\",state=\"done\"} 1",
        "portcullis_step_state{step=\"seed <db>\",state=\"failed\"} 1",
        "portcullis_step_state{step=\"warm\",state=\"pending\"} 1",
        "portcullis_step_duration_seconds{step=\"static files\"} 3",
        "portcullis_step_duration_seconds{step=\"seed <db>\"} 2",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("portcullis_step_duration_seconds{step=\"warm\"}"));
    let page = |authorized| ask(&snapshot, look, "GET /", "text/html", authorized).body;
    assert!(page(true).contains("step:seed &lt;db&gt;") && page(true).contains("<small>ended with status 3</small>"), "{}", page(true));
    let text = |authorized| ask(&snapshot, look, "GET /", "text/plain", authorized).body;
    assert!(
        text(true).contains("failed after 2.0 s: ended with status 3") && text(true).contains("3.0 s: nothing to do"),
        "{}",
        text(true)
    );
    let status = |authorized| ask(&snapshot, look, "GET /status?verbose", "", authorized).body;
    assert!(status(true).contains("\"note\":\"nothing to do\""), "{}", status(true));
    for without in [page(false), text(false), status(false)] {
        assert!(without.contains("static files") && !without.contains("nothing to do") && !without.contains("ended with"), "{without}");
    }
}
