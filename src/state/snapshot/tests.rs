//! The laws between the verdicts, on random snapshots.

use proptest::prelude::*;

use super::arbitrary::snapshot;
use super::{HEARTBEAT, Level, Look, Phase, Status};

proptest! {
    #[test]
    fn each_level_holds_only_with_those_it_contains((snapshot, look) in snapshot()) {
        let [live, started, ready, deep] = [Level::Live, Level::Started, Level::Ready, Level::Deep].map(|level| snapshot.verdict(level, look));
        prop_assert!(!ready || (live && started && snapshot.started && snapshot.phase == Phase::Running));
        prop_assert!(!deep || ready);
        prop_assert_eq!(snapshot.overall(look) == Status::Up, deep && snapshot.phase == Phase::Running);
    }

    #[test]
    fn readiness_is_that_of_the_whole_assessment((snapshot, look) in snapshot()) {
        let fresh = Look::fresh(look.now);
        prop_assert_eq!(snapshot.is_ready(look.now), snapshot.verdict(Level::Ready, fresh));
        prop_assert_eq!(snapshot.is_ready_but_for_heartbeat(look.now), snapshot.as_published().verdict(Level::Ready, fresh));
    }

    #[test]
    fn what_is_published_is_all_but_the_publishing((snapshot, look) in snapshot()) {
        for level in [Level::Live, Level::Started, Level::Ready, Level::Deep] {
            let failing: Vec<_> = snapshot.assess(look).items(level).into_iter().filter(|item| !item.passes).map(|item| item.name.to_owned()).collect();
            prop_assert_eq!(snapshot.as_published().verdict(level, look), failing.iter().all(|name| name == HEARTBEAT));
        }
    }

    #[test]
    fn every_name_is_queried_once((snapshot, look) in snapshot()) {
        for level in [Level::Live, Level::Started, Level::Ready, Level::Deep] {
            let mut names: Vec<&str> = snapshot.assess(look).items(level).iter().map(|item| item.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn while_the_loop_is_stuck_nothing_is_live_ready_or_well((snapshot, look) in snapshot()) {
        let (turns, stuck) = (Look { stuck: false, ..look }, Look { stuck: true, ..look });
        for level in [Level::Live, Level::Ready, Level::Deep] {
            prop_assert!(!snapshot.verdict(level, stuck));
        }
        prop_assert_eq!(snapshot.verdict(Level::Started, stuck), snapshot.verdict(Level::Started, turns));
        let failing = |look| snapshot.assess(look).items(Level::Live).iter().filter(|item| !item.passes && item.name != "supervisor").count();
        prop_assert_eq!(failing(stuck), failing(turns), "it is said of the supervisor and of nothing else");
    }
}
