//! The text of HTML, for reading. This is no browser: styles hide nothing, and scripts do nothing.

/// Elements whose content is no text, or is a second rendering of the text.
const SKIPPED: [&str; 8] = ["head", "script", "style", "template", "noscript", "rt", "rp", "svg"];

/// Elements that start and end a line.
const BLOCKS: [&str; 29] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "section",
    "table",
    "tr",
    "ul",
];

/// Strips the markup, decodes the character references and collapses white space. Blocks are separated by `\n`, cells of
/// a table by a tab.
///
/// Time is linear: each character is looked at a fixed number of times.
pub(crate) fn text(html: &str) -> String {
    // A tag is looked for only where its end lies ahead.
    let last_end = html.rfind('>').unwrap_or(0);
    let mut out = Lines::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push(&rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some((tag, after)) = (html.len() - rest.len() < last_end).then(|| tag(rest)).flatten() else {
            out.push("<");
            rest = &rest[1..];
            continue;
        };
        rest = after;
        let (name, is_end) = tag.strip_prefix('/').map_or((tag, false), |name| (name, true));
        let name =
            name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            skipped if SKIPPED.contains(&skipped) && !is_end && !tag.ends_with('/') => {
                rest = behind_end(rest, skipped);
            }
            "br" => out.break_line(),
            "td" | "th" if !is_end => out.tab(),
            block if BLOCKS.contains(&block) => out.end_line(),
            _ => {}
        }
    }
    out.push(rest);
    out.finish()
}

/// The tag at the start of `html` without its brackets, and what follows. Without an end, the rest is no tag.
fn tag(html: &str) -> Option<(&str, &str)> {
    let inside = html.strip_prefix('<')?;
    let starts = inside.strip_prefix('/').unwrap_or(inside).starts_with(|c: char| c.is_ascii_alphabetic());
    if starts || inside.starts_with(['!', '?']) { inside.split_once('>') } else { None }
}

/// What follows the end tag of this element; nothing if it does not end.
fn behind_end<'h>(html: &'h str, name: &str) -> &'h str {
    let mut rest = html;
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        rest = after;
    }
    ""
}

/// Collects text with its white space collapsed.
#[derive(Default)]
struct Lines {
    text: String,
    /// White space that is written before the next word, unless a line starts there.
    pending: Option<char>,
}

impl Lines {
    fn push(&mut self, markup: &str) {
        let decoded = htmlize::unescape(markup);
        for piece in decoded.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let word = piece.trim_end_matches(|c: char| c.is_ascii_whitespace());
            if !word.is_empty() {
                let at_start = self.text.is_empty() || self.text.ends_with('\n');
                if let Some(blank) = self.pending.take()
                    && !(at_start && blank == ' ')
                {
                    self.text.push(blank);
                }
                self.text.push_str(word);
            }
            if word.len() < piece.len() {
                self.pending.get_or_insert(' ');
            }
        }
    }

    fn tab(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.pending = Some('\t');
        }
    }

    fn break_line(&mut self) {
        self.pending = None;
        self.text.push('\n');
    }

    fn end_line(&mut self) {
        self.pending = None;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("<p>One <b>two</b>\n three</p><p>four</p>", "One two three\nfour")]
    #[case("<html><head><title>x</title><style>p {}</style></head><body>a</body></html>", "a")]
    #[case("a<br>b<br/>c", "a\nb\nc")]
    #[case("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a\tb\nc")]
    #[case("R&amp;D &eacute;&nbsp;&lt;b&gt;", "R&D é\u{A0}<b>")]
    #[case("<!-- a > b --><script>if (a < b) '</p>'</script>c", "c")]
    #[case("<ruby>\u{6F22}<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "\u{6F22}")]
    #[case("1 < 2 <3 and <", "1 < 2 <3 and <")]
    #[case("<!DOCTYPE html><?xml?><P>x", "x")]
    #[case("<script>never ends", "")]
    #[case("", "")]
    fn f12_text_of_html_is_what_is_read(#[case] html: &str, #[case] expected: &str) {
        assert_eq!(text(html), expected);
    }

    /// Each of these takes many minutes if the time is quadratic.
    #[rstest]
    fn d07_time_is_linear_in_the_html(
        #[values("<", "<a", "<!--", "<script>", "</", "<p>", "&", " ", "<rt></")] part: &str,
    ) {
        let html = part.repeat(4 * 1024 * 1024 / part.len());
        assert!(text(&html).len() <= html.len());
    }

    proptest! {
        #[test]
        fn any_html_has_a_text(html in "[<>/!&;a-z \n-]{0,200}") {
            let _ = text(&html);
        }
    }
}
