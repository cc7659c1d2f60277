//! Text from outside that people read: messages, names, rules, suggestions, speakers. It appears on pages, in terminals
//! and in logs, so a [`DisplayText`] can only be made by removing what could deceive a reader or control a terminal.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_LABEL_CHARS, MAX_REMARK_CHARS, MAX_SENTENCE_CHARS};

/// A sentence for a teacher, such as the reason of a failure.
pub type Sentence = DisplayText<MAX_SENTENCE_CHARS>;
/// What a finding says, and what it suggests.
pub type Remark = DisplayText<MAX_REMARK_CHARS>;
/// A name or a word: of a file, a speaker, a rule, a codec.
pub type Label = DisplayText<MAX_LABEL_CHARS>;

/// One line of at most `MAX_CHARS` characters.
///
/// Each run of line breaks and tabs becomes one space, so that words do not join. Other control characters are removed,
/// and so are the invisible characters that change the direction of text or hide in it. ZERO WIDTH JOINER, ZERO WIDTH
/// NON-JOINER and variation selectors stay, because Persian, Indic scripts, Mongolian, Chinese characters and emoji need
/// them. A longer text is cut and ends in an ellipsis. Making a `DisplayText` of a `DisplayText` changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct DisplayText<const MAX_CHARS: usize>(String);

impl<const MAX_CHARS: usize> DisplayText<MAX_CHARS> {
    /// Neutralises `text`.
    pub fn new(text: &str) -> Self {
        let line = keep_displayable(text);
        if line.chars().nth(MAX_CHARS).is_none() {
            return Self(line);
        }
        Self(line.chars().take(MAX_CHARS.saturating_sub(1)).chain(['…']).collect())
    }

    /// The text, or `default` if nothing of the text can be seen.
    #[must_use]
    pub fn or(self, default: &str) -> Self {
        if self.chars().any(is_seen) { self } else { Self::new(default) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text of several lines, each of them neutralised and none of them cut.
pub fn lines(text: &str) -> String {
    let line = |line: &str| keep_displayable(line.strip_suffix('\r').unwrap_or(line));
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Whether a character is never part of a [`DisplayText`].
pub fn is_neutralised(character: char) -> bool {
    is_break(character) || character.is_control() || is_invisible(character)
}

fn keep_displayable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut follows_break = false;
    for character in text.chars() {
        let repeats_space = character == ' ' && follows_break;
        if is_break(character) {
            if !line.ends_with(' ') {
                line.push(' ');
            }
            follows_break = true;
        } else if !is_neutralised(character) && !repeats_space {
            line.push(character);
            follows_break = false;
        }
    }
    line
}

/// Tab, the line breaks of Unicode (UAX #14: BK, CR, LF, NL), and the C0 separators, which also separate words.
fn is_break(character: char) -> bool {
    matches!(character, '\t'..='\r' | '\u{1c}'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Unicode's `Default_Ignorable_Code_Point` without joiners and variation selectors, and the interlinear annotations.
/// The set contains all marks, embeddings, overrides and isolates of the bidirectional algorithm, the tag characters,
/// and the letters that are blank.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

/// Whether a displayable character alone leaves something to see.
fn is_seen(character: char) -> bool {
    !character.is_whitespace()
        && !matches!(
            character,
            '\u{200c}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{e0100}'..='\u{e01ef}'
        )
}

impl<const MAX_CHARS: usize> From<&str> for DisplayText<MAX_CHARS> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const MAX_CHARS: usize> From<String> for DisplayText<MAX_CHARS> {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<const MAX_CHARS: usize> From<DisplayText<MAX_CHARS>> for String {
    fn from(text: DisplayText<MAX_CHARS>) -> Self {
        text.0
    }
}

impl<const MAX_CHARS: usize> Deref for DisplayText<MAX_CHARS> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX_CHARS: usize> PartialEq<&str> for DisplayText<MAX_CHARS> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<const MAX_CHARS: usize> PartialEq<str> for DisplayText<MAX_CHARS> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl<const MAX_CHARS: usize> fmt::Display for DisplayText<MAX_CHARS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX_CHARS: usize> schemars::JsonSchema for DisplayText<MAX_CHARS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::line_breaks("Save it\r\nwithout\ta\npassword.", "Save it without a password.")]
    #[case::break_beside_spaces("one \n two", "one two")]
    #[case::separators("one\u{2028}two\u{85}three", "one two three")]
    #[case::escape_sequence("\u{1b}[31mred\u{9b}0m\u{7}", "[31mred0m")]
    #[case::bidi("exe.\u{202e}fdp\u{2066}x\u{2069}\u{200f}\u{61c}", "exe.fdpx")]
    #[case::hidden("a\u{200b}b\u{feff}c\u{ad}d\u{e0041}e\u{2060}f", "abcdef")]
    #[case::blank_letters("a\u{3164}b\u{115f}c\u{ffa0}d", "abcd")]
    #[case::annotation("a\u{fff9}b\u{fffb}", "ab")]
    #[case::spaces_of_a_name("my  lesson plan.docx", "my  lesson plan.docx")]
    #[case::suggested_space(" ", " ")]
    fn v03_text_from_outside_is_neutralised(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Remark::new(text).as_str(), expected);
    }

    #[rstest]
    #[case::persian("می\u{200c}خواهم")]
    #[case::devanagari("क\u{94d}\u{200d}ष")]
    #[case::emoji("👩\u{200d}🏫 ❤\u{fe0f}")]
    #[case::hebrew("שיעור ראשון")]
    #[case::arabic("الدرس الأول")]
    #[case::kanji_variant("葛\u{e0100}城")]
    #[case::korean("수업 계획")]
    fn v03_what_a_script_needs_stays(#[case] text: &str) {
        assert_eq!(Remark::new(text).as_str(), text);
    }

    #[test]
    fn v03_long_text_is_cut_between_two_characters() {
        let text = Sentence::new(&"é".repeat(1000));
        assert_eq!(text.as_str(), format!("{}…", "é".repeat(MAX_SENTENCE_CHARS - 1)));
        let exact = "é".repeat(MAX_SENTENCE_CHARS);
        assert_eq!(Sentence::new(&exact).as_str(), exact);
    }

    #[rstest]
    #[case("")]
    #[case(" \r\n ")]
    #[case("\u{202e}\u{200b}")]
    #[case("\u{200d}\u{fe0f}")]
    #[case("\u{2800}\u{3000}")]
    fn v03_text_without_anything_to_see_is_replaced(#[case] text: &str) {
        assert_eq!(Sentence::new(text).or("There is no reason."), "There is no reason.");
    }

    #[test]
    fn v03_lines_keep_their_breaks_and_indentation() {
        assert_eq!(lines("One\u{1b}[2J\r\n   two\u{202e}\n\nthree\n"), "One[2J\n   two\n\nthree\n");
    }

    proptest! {
        #[test]
        fn v03_arbitrary_text_becomes_one_bounded_line_once_and_for_all(text in "\\PC{0,20}|[\\x00-\\x20\u{80}-\u{a0}\u{2000}-\u{206f}a…]{0,40}") {
            let once = DisplayText::<12>::new(&text);
            prop_assert!(once.chars().count() <= 12);
            prop_assert!(!once.chars().any(is_neutralised), "{once:?}");
            prop_assert_eq!(DisplayText::<12>::new(&once), once);
        }
    }
}
