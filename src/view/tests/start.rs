//! The bars of the start: they end with it.

use super::fixtures::named;
use crate::clock::Moment;
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
    snapshot.stages = vec![
        stage("spawn:app", StageState::Up, 5, Some(20)),
        stage("module:slow", StageState::Unknown, 6, None),
        stage("module:later", StageState::Up, 50, Some(60)),
    ];
    let (bars, span) = timeline(&snapshot, look);
    let shown: Vec<_> = bars.iter().map(|bar| (bar.name, bar.length.as_secs())).collect();
    assert_eq!(shown, [("spawn:app", 15), ("module:slow", 14)]);
    assert_eq!(span, Duration::from_secs(20));
}
