//! Laws on random runs: each step of a [`World`] checks them all, and in the end every run ends.

use proptest::collection::vec;
use proptest::prelude::*;

use super::table::{every_event, may_follow};
use super::world::{Feature, Happening, Manners, Setting, World};
use super::*;

fn manners() -> impl Strategy<Value = Manners> {
    prop::sample::select(vec![Manners::Polite, Manners::Stubborn, Manners::Stuck])
}

prop_compose! {
    fn setting()(manners in manners(), flags in any::<[bool; 7]>()) -> Setting {
        let mut features: BTreeSet<Feature> = Feature::ALL.into_iter().zip(flags).filter_map(|(one, has)| has.then_some(one)).collect();
        if !features.contains(&Feature::Migration) {
            features.insert(Feature::Main);
        }
        Setting { manners, features }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let signals = vec![libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1];
    prop_oneof![
        6 => (0..2usize, prop::bool::weighted(0.7)).prop_map(|(id, passes)| Happening::Probe(id, passes)),
        3 => prop::bool::weighted(0.6).prop_map(Happening::Startup),
        1 => prop::sample::select(signals).prop_map(Happening::Signal),
        1 => Just(Happening::Timer),
        1 => (0..30u64).prop_map(Happening::Away),
        5 => any::<u8>().prop_map(Happening::Answer),
        1 => any::<u8>().prop_map(Happening::Ends),
    ]
}

#[test]
fn leftovers_after_kill_prevent_the_next_step_under_a_lock_in_doubt() {
    let setting = Setting { manners: Manners::Polite, features: [Feature::Confirmations, Feature::Migration].into() };
    let mut world = World::new(setting, false);
    world.apply(Event::Begin);
    let (probe, answer, ends) = (Happening::Probe(0, true), Happening::Answer(2), Happening::Ends(74));
    for step in [probe, answer, Happening::Away(0), ends, Happening::Timer, Happening::Timer] {
        world.step(step);
    }
    world.step(Happening::Signal(libc::SIGTERM));
    world.settle();
    assert!(world.exit.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_run_keeps_the_laws_and_a_stop_ends_it(setting in setting(), fails in prop::bool::weighted(0.1), steps in vec(happening(), 0..60)) {
        let mut world = World::new(setting, fails);
        world.apply(Event::Begin);
        for step in steps {
            world.step(step);
        }
        world.step(Happening::Signal(libc::SIGTERM));
        world.settle();
        prop_assert!(world.exit.is_some(), "TERM did not end it");
    }

    #[test]
    fn a_run_ends_with_its_process(setting in setting(), steps in vec(happening(), 0..40)) {
        let mut features = setting.features;
        features.retain(|feature| !matches!(feature, Feature::Restarts | Feature::HangingFiles));
        features.extend([Feature::Main, Feature::Confirmations]);
        let setting = Setting { manners: Manners::Polite, features };
        let mut world = World::new(setting, false);
        world.apply(Event::Begin);
        for step in steps {
            world.step(step);
        }
        for _ in 0..4 {
            world.settle();
            world.step(Happening::Ends(0));
        }
        world.settle();
        prop_assert!(world.exit.is_some());
    }

    #[test]
    fn even_impossible_events_never_lead_back(choices in vec(0..every_event().len(), 0..40)) {
        let events = every_event();
        let mut run = Run::of(full());
        let mut exits = 0;
        for choice in choices {
            let before = run.phase();
            let effects = run.apply(events[choice].clone());
            prop_assert!(may_follow(before, run.phase()), "{:?}: {before:?} to {:?}", events[choice], run.phase());
            prop_assert!(exits == 0 || effects.is_empty());
            exits += effects.iter().filter(|effect| matches!(effect, Effect::Exit(_))).count();
            prop_assert!(exits <= 1);
        }
    }
}
