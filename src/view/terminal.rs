//! The page as plain text in eighty columns, for `portcullis status` and for clients that accept `text/plain` at `/`.

use std::fmt;

use super::summary::{self, bucket, by_urgency, ends, has_ended, headline, last_try, levels, mark, outcome, reasons, timeline};
use super::{DetailAccess, Request, fit, time};
use crate::state::snapshot::{Assessed, Assessment, Child, Look, Snapshot, StageState};
use crate::visible;

/// The size in bytes from which checks are only counted; failing ones come first.
const LONGEST_TEXT: usize = 512 * 1024;

/// The width of a timeline bar in columns.
const BAR: usize = 40;

/// The longest name that keeps its column; a longer one pushes the rest to the right.
const WIDEST_NAME: usize = 24;

/// The whole text. Control characters in names and texts are escaped, so they can neither control the terminal nor forge lines.
pub(super) fn render(assessment: &Assessment<'_>, request: &Request<'_>) -> String {
    let authorized = request.authorized;
    let Assessment { snapshot, look, .. } = *assessment;
    let mut text = String::with_capacity(4096);
    let headline = headline(assessment, authorized);
    let service = &snapshot.service;
    add(&mut text, format_args!("{} {headline}  {}{}", headline.tone.shape(), summary::named(service), mode(snapshot)));
    add(&mut text, format_args!("  {}", summary::phase(snapshot, look)));
    if authorized {
        let place = summary::place(service).unwrap_or_default();
        add(&mut text, format_args!("  instance {place}, portcullis {}", service.build));
    }
    let answers = levels(assessment).map(|(name, holds)| if holds { name.to_owned() } else { format!("not {name}") });
    add(&mut text, format_args!("  {}", answers.join(", ")));
    match fit::append(&mut text, LONGEST_TEXT / 2, reasons(assessment, authorized), |text, cause| {
        add(text, format_args!("  \u{2715} {cause}"))
    }) {
        0 => {}
        left_out => add(&mut text, format_args!("  and {left_out} more")),
    }
    start(&mut text, snapshot, look, authorized);
    checks(&mut text, assessment, authorized);
    if !snapshot.modules.is_empty() {
        text.push_str("\nModules\n");
        let width = width(snapshot.modules.iter().map(|module| module.name.as_str()));
        for module in snapshot.modules.iter() {
            let counts = if module.counts { "" } else { ", start not counted for health" };
            let mark = mark(summary::module_mark(module));
            add(&mut text, format_args!("{mark} {:width$}  {}{counts}", module.name, summary::module(module, authorized)));
            strip_of_ends(&mut text, &module.child, look, width);
        }
    }
    text.push('\n');
    add(&mut text, format_args!("Process    {}", summary::process(snapshot, authorized)));
    strip_of_ends(&mut text, &snapshot.child, look, 7);
    if let Some(heartbeat) = summary::heartbeat(snapshot, look) {
        add(&mut text, format_args!("Heartbeat  {heartbeat}"));
    }
    instances(&mut text, snapshot, look, authorized);
    if !authorized {
        text.push_str("\nTargets, causes and names of instances are hidden: [health] says who sees them, ");
        text.push_str(match request.access {
            DetailAccess::Local => "root and portcullis' own\nuser over the unix socket (`portcullis status` in the container)\n",
            DetailAccess::Token => {
                "root and portcullis' own\nuser over the unix socket (`portcullis status` in the container), and clients that send the token\n"
            }
            DetailAccess::Never => "no one (`details = \"never\"`)\n",
        });
    }
    text
}

/// The ends of a process in the last half hour, if any.
fn strip_of_ends(text: &mut String, child: &Child, look: Look, width: usize) {
    if has_ended(child, look) {
        let strip: String = child.ends.seen(look.now).map(|(_, seen)| ends(seen).0).collect();
        add(text, format_args!("  {:width$}  {strip}  ends", ""));
    }
}

/// Adds exactly one line, whatever it contains.
fn add(text: &mut String, words: fmt::Arguments<'_>) {
    text.push_str(&visible::line(&words.to_string()));
    text.push('\n');
}

fn instances(text: &mut String, snapshot: &Snapshot, look: Look, authorized: bool) {
    let Some((known, words)) = snapshot.instances.as_ref().zip(summary::instances(snapshot, look)) else { return };
    add(text, format_args!("Instances  {words}"));
    if !authorized {
        return;
    }
    let width = width(known.listed.iter().map(|instance| instance.name.as_str()));
    for instance in &known.listed {
        let (state, words) = summary::instance(instance, look);
        let own = if instance.own { ", this one" } else { "" };
        let address = instance.address.as_ref().map(|address| format!("  {address}")).unwrap_or_default();
        add(text, format_args!("{} {:width$}  {words}{own}{address}", mark(state), instance.name));
    }
    let more = known.all.saturating_sub(known.listed.len() as u64);
    if more > 0 {
        add(text, format_args!("  and {more} more"));
    }
}

fn mode(snapshot: &Snapshot) -> String {
    let mode = snapshot.service.mode.as_ref().filter(|mode| **mode != snapshot.service.name);
    mode.map(|mode| format!(" (mode {mode})")).unwrap_or_default()
}

fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or_default().min(WIDEST_NAME)
}

fn start(text: &mut String, snapshot: &Snapshot, look: Look, authorized: bool) {
    let (bars, span) = timeline(snapshot, look);
    if bars.is_empty() {
        return;
    }
    text.push('\n');
    add(text, format_args!("Start, {} from end to end", time::length(span)));
    let width = width(bars.iter().map(|bar| bar.name));
    let column = |at: std::time::Duration| {
        if span.is_zero() { 0 } else { ((at.as_secs_f64() / span.as_secs_f64()) * BAR as f64).round() as usize }
    };
    for bar in &bars {
        let from = bar.from.map_or(0, column).min(BAR - 1);
        let drawn = if bar.from.is_some() { column(bar.length).clamp(1, BAR - from) } else { 0 };
        let queued = column(bar.queued).min(drawn);
        let shape = match bar.step {
            StageState::Up => "\u{2588}",
            StageState::Unknown => "\u{2592}",
            StageState::Down => "\u{2573}",
        };
        let note = bar.note.filter(|_| authorized).map(|note| format!(": {note}")).unwrap_or_default();
        let line = format!("{}{}{}", " ".repeat(from), "\u{2591}".repeat(queued), shape.repeat(drawn - queued));
        let padding = BAR - from - drawn;
        add(text, format_args!("  {:width$}  {line}{}  {}{note}", bar.name, " ".repeat(padding), outcome(bar)));
    }
}

fn checks(text: &mut String, assessment: &Assessment<'_>, authorized: bool) {
    if assessment.checks.is_empty() {
        return;
    }
    text.push_str("\nChecks, and their last 30 minutes\n");
    let look = assessment.look;
    let width = width(assessment.checks.iter().map(|assessed| assessed.check.name.as_str()));
    let left_out = fit::append(text, LONGEST_TEXT, by_urgency(assessment), |text, assessed| {
        let Assessed { check, state, counts, .. } = *assessed;
        let counts = if counts { "" } else { ", not counted for health" };
        let tried = last_try(check, look).map(|tried| format!(", {tried}")).unwrap_or_default();
        let target = if authorized && !check.target.is_empty() { format!("  {}", check.target) } else { String::new() };
        let verdict = summary::verdict(assessed, look, authorized);
        add(text, format_args!("{} {:width$}  {} {verdict}{tried}{counts}{target}", mark(state), check.name, check.kind));
        if check.stale_after.is_some() {
            let strip: String = check.history.seen(look.now).map(|(_, seen)| bucket(seen).0).collect();
            add(text, format_args!("  {:width$}  {strip}", ""));
        }
    });
    if left_out > 0 {
        add(text, format_args!("  and {left_out} more"));
    }
}
