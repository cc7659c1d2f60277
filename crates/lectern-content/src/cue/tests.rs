//! Tests of times and markup.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn whole(text: &str, rules: TimeRules) -> Option<u64> {
    timestamp(text, rules).filter(|(_, rest)| rest.is_empty()).map(|(ms, _)| ms)
}

fn voices_of(markup: &str) -> Vec<(Option<String>, String)> {
    let mut found = Vec::new();
    voices(markup, &mut |speaker, text| {
        found.push((speaker, text));
        Ok(())
    })
    .unwrap();
    found
}

#[rstest]
#[case("00:01.500", Some(1_500))]
#[case("01:02:03,004", Some(3_723_004))]
#[case("100:00:00.000", Some(360_000_000))]
#[case("00:00:01,5", Some(1_500))]
#[case("00:00:01", Some(1_000))]
#[case("00:00:01.123456", Some(1_123))]
#[case("-00:00:01,000", Some(0))]
#[case("00:60.000", None)]
#[case("00:00:61,000", None)]
#[case("00:61:00.000", None)]
#[case("100:00.000", None)]
#[case("1.5", None)]
#[case("00:00:01.", None)]
#[case("00:00:+1.000", None)]
#[case("9999999999:00:00.000", None)]
#[case("١:٠٠.٠٠٠", None)]
#[case("", None)]
fn a_timestamp_is_read_or_refused(#[case] text: &str, #[case] expected: Option<u64>) {
    assert_eq!(whole(text, TimeRules::Strict), expected);
}

#[rstest]
#[case("00:00:60,000", 60_000)]
#[case("00:00:59,1000", 60_000)]
#[case("00:59:60,1000", 3_601_000)]
#[case("00:00:01,1234", 1_123)]
fn f05_excess_of_a_time_in_srt_carries_over(#[case] text: &str, #[case] expected: u64) {
    assert_eq!(whole(text, TimeRules::Carrying), Some(expected));
}

#[rstest]
#[case("<i>so</i> <c.loud>it</c> is", "so it is")]
#[case("one <00:01.000>two", "one two")]
#[case("a < b and b > c", "a < b and b > c")]
#[case("I <3 you> and me", "I <3 you> and me")]
#[case("an open <tag", "an open <tag")]
#[case("<i>an open element", "an open element")]
#[case("&amp;lt;", "&lt;")]
fn markup_is_stripped(#[case] markup: &str, #[case] text: &str) {
    assert_eq!(voices_of(markup), [(None, text.to_owned())]);
}

#[rstest]
#[case("Tom &amp; Jerry &lt;3 &#233;&#xe9; &nope; R&D", "Tom & Jerry <3 éé &nope; R&D")]
#[case("&copy; &eacute; &hellip; &rarr; &notit; &copy 2026", "© é … → ¬it; © 2026")]
#[case("&#0;&#x110000;&#xD800;&#128;", "\u{FFFD}\u{FFFD}\u{FFFD}€")]
#[case("one&#13;two&#10;&#10;three", "one\ntwo\nthree")]
fn v07_all_character_references_of_html_are_decoded(#[case] markup: &str, #[case] text: &str) {
    assert_eq!(voices_of(markup), [(None, text.to_owned())]);
}

#[test]
fn each_voice_of_a_cue_becomes_its_own() {
    let expected = [
        (Some("Ms Smith".to_owned()), "Hello".to_owned()),
        (None, "all".to_owned()),
        (Some("Tom & Ann".to_owned()), "Hi".to_owned()),
        (None, "?".to_owned()),
    ];
    assert_eq!(voices_of("<v.loud Ms  Smith>Hello</v> all <v Tom &amp; Ann>Hi</v><v>?"), expected);
}

#[rstest]
#[case::lf(b"a\nb\n\nc", "a\nb\n\nc")]
#[case::cr_lf(b"a\r\nb\r\n\r\nc", "a\nb\n\nc")]
#[case::cr(b"a\rb\r\rc", "a\nb\n\nc")]
#[case::cr_cr_lf(b"a\r\r\nb\r\r\n\r\r\nc", "a\nb\n\nc")]
#[case::mixed(b"a\rb\r\nc\nd\r", "a\nb\nc\nd\n")]
fn f05_every_line_end_is_one_line_end(#[case] file: &[u8], #[case] text: &str) {
    assert_eq!(text_of(file).unwrap(), text);
}

/// Each of these takes many minutes if the time is quadratic.
#[rstest]
#[case::tags_without_end("<a", "")]
#[case::tags_with_one_end("<a", ">")]
#[case::times_without_end("<1", ">")]
#[case::long_times("<00:00:00.000", ">")]
#[case::end_tags("</", "")]
#[case::bare("<", ">")]
#[case::references("&", ";")]
#[case::long_references("&CounterClockwiseContourIntegra", ";")]
#[case::numeric_references("&#", ";")]
#[case::speakers("<v ", ">")]
fn d07_time_is_linear_in_the_markup(#[case] part: &str, #[case] end: &str) {
    let markup = part.repeat(4 * 1024 * 1024 / part.len()) + end;
    assert!(voices_of(&markup).len() <= 1);
}

proptest! {
    #[test]
    fn any_markup_gives_texts_that_are_not_empty(markup in "[<>&;/v #x0-9a-c:.\r\n-]{0,200}") {
        for (_, text) in voices_of(&markup) {
            prop_assert!(!text.trim().is_empty());
            prop_assert!(!text.contains("\n\n") && !text.contains('\r'));
        }
    }

    #[test]
    fn any_time_is_read_or_refused(text in "[-0-9:., >a]{0,60}") {
        for rules in [TimeRules::Strict, TimeRules::Carrying] {
            let _ = timestamp(&text, rules);
        }
    }
}
