//! The part of the page about hidden details, with the form for the token.

use crate::view::DetailAccess;

/// The target of the form: relative to the page.
pub(super) const ACTION: &str = "token";

/// How to see the details, or to hide them again. `holds` means that the page does not reload, which would clear the token while it is
/// typed.
pub(super) fn notice(html: &mut String, authorized: bool, access: DetailAccess, holds: bool) {
    if authorized {
        if access == DetailAccess::Token {
            html.push_str("<p>Details are shown. <a href=\"?hold#access\">Hide them again</a></p>");
            if holds {
                form(html, "Forget the token in this browser", "hidden");
            }
        }
        return;
    }
    html.push_str("<p>Targets, causes and names of instances are hidden. ");
    html.push_str(match (access, holds) {
        (DetailAccess::Token, true) => "The token of [health] shows them in this browser, until it is closed:</p>",
        (DetailAccess::Token, false) => "<a href=\"?hold#access\">Enter the token to see them</a>.</p>",
        (DetailAccess::Local, _) => {
            "<code>portcullis status</code> in the container shows them to root and to portcullis' own user; with a <code>token</code> in \
             [health] they can be seen here.</p>"
        }
        (DetailAccess::Never, _) => "The configuration shows them to no one: <code>details = \"never\"</code> in [health].</p>",
    });
    if access == DetailAccess::Token && holds {
        form(html, "Show details", "password");
    }
}

fn form(html: &mut String, words: &str, kind: &str) {
    html.push_str("<form method=\"post\" action=\"");
    html.push_str(ACTION);
    html.push_str("\"><input name=\"token\" aria-label=\"Token\" placeholder=\"Token\" autocomplete=\"off\" type=\"");
    html.push_str(kind);
    html.push_str("\"> <button>");
    html.push_str(words);
    html.push_str("</button></form>");
}
