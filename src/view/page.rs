//! The page at `/` for the person on call: the state, its reasons, each check with its last half hour, the start as bars.
//!
//! It has no scripts and no external resources; it reloads every few seconds, unless `hold` is set.

mod access;
mod check;
mod processes;

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::summary::{self, Headline, by_urgency, headline, levels, mark, outcome, reasons, timeline};
use super::{DetailAccess, Request, Response, TEXT, accept, fit, has_key, terminal, time};
use crate::state::snapshot::{Assessment, Look, Snapshot, StageState};
use check::check;

/// The page's style sheet. The page's policy allows only its hash.
const STYLE: &str = include_str!("page/style.css");

/// The reload interval in seconds.
const REFRESH: u32 = 5;

/// The size in bytes from which checks are only counted; failing ones come first.
const LONGEST_PAGE: usize = 512 * 1024;

/// The maximum number of listed causes; further ones are counted.
const MOST_CAUSES: usize = 12;

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
});

/// The content type that selects the plain text.
const PLAIN: &str = "text/plain";

/// The negotiated content type.
pub(super) fn syntax(accept: &str) -> &'static str {
    let wants = |kind| accept::ranges(accept).any(|range| range.kind == kind);
    if wants(PLAIN) && !wants("text/html") { PLAIN } else { "" }
}

/// The page, or the same as text for clients that accept text and not HTML. `hold` in the query stops the reload.
pub(super) fn render(assessment: &Assessment<'_>, request: &Request<'_>) -> Response {
    let vary = ("vary", "Accept");
    if syntax(request.accept) == PLAIN {
        return Response { headers: vec![vary], ..Response::new(200, TEXT, terminal::render(assessment, request)) };
    }
    let holds = has_key(request.query, "hold");
    let Assessment { snapshot, look, .. } = *assessment;
    let html = String::with_capacity(16 * 1024);
    let mut page = Page { html, assessment, snapshot, look, authorized: request.authorized, access: request.access, holds };
    let headline = headline(assessment, request.authorized);
    page.head(&headline);
    page.verdict(&headline);
    page.push("<main>");
    page.checks();
    page.start();
    processes::modules(&mut page.html, snapshot, look, request.authorized);
    processes::process(&mut page.html, snapshot, look, request.authorized);
    page.instances();
    page.push("</main>");
    page.foot();
    let headers = vec![vary, ("content-security-policy", POLICY.as_str()), ("referrer-policy", "no-referrer")];
    Response { headers, ..Response::new(200, "text/html; charset=utf-8", page.html) }
}

struct Page<'a> {
    html: String,
    assessment: &'a Assessment<'a>,
    snapshot: &'a Snapshot,
    look: Look,
    authorized: bool,
    access: DetailAccess,
    holds: bool,
}

impl Page<'_> {
    fn push(&mut self, html: &str) {
        self.html.push_str(html);
    }

    fn head(&mut self, headline: &Headline) {
        let refresh = if self.holds { String::new() } else { format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">") };
        let (name, shape, words) = (escape(&self.snapshot.service.name), headline.tone.shape(), escape(&headline.to_string()));
        let _ = write!(
            self.html,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{refresh}\
             <title>{shape} {words} - {name}</title><style>{STYLE}</style></head><body>"
        );
    }

    fn verdict(&mut self, headline: &Headline) {
        let (snapshot, look) = (self.snapshot, self.look);
        let Headline { tone, word, rest } = headline;
        let (class, shape) = (tone.class(), tone.shape());
        let _ = write!(self.html, "<header class=\"{class}\"><h1>{shape} {word}");
        if !rest.is_empty() {
            let _ = write!(self.html, "<span>{}</span>", escape(rest));
        }
        let service = &snapshot.service;
        let mode = service.mode.as_ref().filter(|mode| **mode != service.name).map(|mode| format!(", mode {}", escape(mode)));
        let place = summary::place(service).filter(|_| self.authorized).map(|place| format!(" on {}", escape(&place)));
        let (mode, place) = (mode.unwrap_or_default(), place.unwrap_or_default());
        let (name, phase) = (escape(&summary::named(service)), summary::phase(snapshot, look));
        let _ = write!(self.html, "</h1><p><strong>{name}</strong>{mode}{place}, {phase}</p><ul class=\"levels\">");
        for (name, holds) in levels(self.assessment) {
            let (class, mark, not) = if holds { ("yes", "\u{2713}", "") } else { ("no", "\u{2715}", "not ") };
            let _ = write!(self.html, "<li class=\"{class}\"><b>{mark}</b> {not}{name}</li>");
        }
        self.push("</ul>");
        let causes = reasons(self.assessment, self.authorized);
        if !causes.is_empty() {
            self.push("<ul>");
            let listed = causes.iter().take(MOST_CAUSES);
            let unlisted = causes.len() - listed.len();
            let cut = fit::append(&mut self.html, LONGEST_PAGE, listed, |html, cause| {
                let _ = write!(html, "<li class=\"cause\"><b>\u{2715}</b> {}</li>", escape(cause));
            });
            if unlisted + cut > 0 {
                let _ = write!(self.html, "<li class=\"cause\">and {} more</li>", unlisted + cut);
            }
            self.push("</ul>");
        }
        self.push("</header>");
    }

    fn checks(&mut self) {
        let checks = by_urgency(self.assessment);
        if checks.is_empty() {
            return;
        }
        self.push(
            "<section class=\"checks\"><h2>Checks <small>and their last 30 minutes: <span class=\"key\"><i class=\"ok\"></i> all ok, \
             <i class=\"mixed\"></i> some failed, <i class=\"bad\"></i> all failed, <i></i> no check ran</span></small></h2>",
        );
        let (look, authorized, late) = (self.look, self.authorized, summary::checks_are_late(self.assessment));
        let left_out = fit::append(&mut self.html, LONGEST_PAGE, checks, |html, assessed| check(html, assessed, look, authorized, late));
        if left_out > 0 {
            let _ = write!(self.html, "<p>and {left_out} more</p>");
        }
        self.push("</section>");
    }

    fn start(&mut self) {
        let (snapshot, look) = (self.snapshot, self.look);
        let (bars, span) = timeline(snapshot, look);
        if bars.is_empty() {
            return;
        }
        let _ = write!(self.html, "<section><h2>Start <small>{} from end to end</small></h2><div class=\"bars\">", time::length(span));
        let scaled = |time: Duration| if span.is_zero() { 0.0 } else { time.as_secs_f64() / span.as_secs_f64() * 1000.0 };
        for bar in &bars {
            let class = match bar.step {
                StageState::Up => "up",
                StageState::Down => "down",
                StageState::Unknown => "unknown",
            };
            let words = outcome(bar);
            let _ = write!(
                self.html,
                "<span>{}</span><svg class=\"{class}\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{words}\">",
                escape(bar.name)
            );
            if let Some(from) = bar.from {
                // Even an instant stage is visible.
                let length = scaled(bar.length).max(4.0);
                let (from, queued) = (scaled(from).min(1000.0 - length), scaled(bar.queued));
                let _ = write!(self.html, "<rect x=\"{from:.1}\" width=\"{length:.1}\" height=\"10\"/>");
                if queued > 0.0 {
                    let _ = write!(self.html, "<rect class=\"queued\" x=\"{from:.1}\" width=\"{queued:.1}\" height=\"10\"/>");
                }
            }
            let queued = if bar.queued.as_millis() > 0 { format!(", {} of it queueing", time::length(bar.queued)) } else { String::new() };
            let note = bar.note.filter(|_| self.authorized).map(|note| format!(" <small>{}</small>", escape(note))).unwrap_or_default();
            let _ = write!(self.html, "</svg><span>{words}{queued}{note}</span>");
        }
        self.push("</div></section>");
    }

    /// Their number for all readers, their names for authorized readers.
    fn instances(&mut self) {
        let Some((known, words)) = self.snapshot.instances.as_ref().zip(summary::instances(self.snapshot, self.look)) else { return };
        let (class, old) = if summary::instances_are_old(known, self.look) { (" class=\"old\"", " <em>old</em>") } else { ("", "") };
        let _ = write!(self.html, "<section{class}><h2>Instances of {}{old}</h2><p>{words}</p>", escape(&self.snapshot.service.name));
        if self.authorized {
            self.push("<ul class=\"instances\">");
            for instance in &known.listed {
                let (state, words) = summary::instance(instance, self.look);
                let name = escape(&instance.name);
                let _ = write!(self.html, "<li class=\"{}\"><b>{}</b> <span>{name}", state.word(), mark(state));
                if instance.own {
                    self.push(" <em>this one</em>");
                }
                if let Some(address) = &instance.address {
                    let _ = write!(self.html, " <small>{}</small>", escape(address));
                }
                let _ = write!(self.html, "</span> <span>{words}</span></li>");
            }
            match known.all.saturating_sub(known.listed.len() as u64) {
                0 => self.push("</ul>"),
                more => _ = write!(self.html, "<li>and {more} more</li></ul>"),
            }
        }
        self.push("</section>");
    }

    fn foot(&mut self) {
        self.push("<footer id=\"access\">");
        access::notice(&mut self.html, self.authorized, self.access, self.holds);
        let clock = time::clock(self.look.now.wall);
        let link = if self.holds {
            "paused, <a href=\"?\">resume</a>".to_owned()
        } else {
            format!("refreshed every {REFRESH} s, <a href=\"?hold\">pause</a>")
        };
        let build = self.snapshot.service.build;
        let _ = write!(self.html, "<p>Seen at {clock} UTC; {link}. portcullis {build}</p></footer></body></html>");
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML cannot represent them (HTML 13.5), and a terminal that shows the source would interpret them.
            c if c.is_control() && c != '\n' => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_can_stand_in_a_page() {
        assert!(!STYLE.contains('<') && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
