//! What the page says where details are hidden, with the form that shows them to who has the token.

use crate::view::DetailAccess;

/// Where the form sends the token: beside the page, whatever stands before it in the address.
pub(super) const ACTION: &str = "token";

/// How to see the details, or to hide them again. A page that loads itself again would take the token away while it is typed: `holds`
/// says that it does not.
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
        (DetailAccess::Token, false) => "<a href=\"?hold#access\">Enter the token to see them</a></p>",
        (DetailAccess::Local, _) => {
            "<code>portcullis status</code> in the container shows them to root and to portcullis' own user; with a <code>token</code> in \
             [health] they can be seen here</p>"
        }
        (DetailAccess::Never, _) => "The configuration shows them to nobody: <code>details = \"never\"</code> in [health]</p>",
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
