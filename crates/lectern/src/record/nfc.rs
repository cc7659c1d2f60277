//! Unicode NFC of display text, and the mapping of positions in the original text to positions in the normalised text.

use unicode_normalization::{
    IsNormalized, UnicodeNormalization as _, char::canonical_combining_class, is_nfc, is_nfc_quick,
};

/// `text` in NFC.
pub(crate) fn nfc(text: &str) -> String {
    if is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

/// A text in NFC with a mapping of the original text's positions. Positions and lengths count Unicode scalar values.
/// Positions of the original text count its byte order mark, which the normalised text does not have.
#[derive(Debug)]
pub(super) struct NormalizedText {
    /// The text, NFC.
    pub(super) text: String,
    /// The number of byte order marks before the original text: 0 or 1.
    mark: u64,
    /// The length of the original text without its mark.
    chars_before: u64,
    changed: Vec<Changed>,
}

impl NormalizedText {
    /// Normalises `text`, in whose original a byte order mark stood before it if `has_mark`.
    pub(super) fn new(text: String, has_mark: bool) -> Self {
        let mark = u64::from(has_mark);
        if is_nfc(&text) {
            return Self { mark, chars_before: count(&text), text, changed: Vec::new() };
        }
        let mut normalized =
            Self { text: String::with_capacity(text.len()), mark, chars_before: 0, changed: Vec::new() };
        let mut after = 0;
        for part in Parts(&text) {
            let (before, start_after) = (normalized.chars_before, after);
            let length = count(part);
            normalized.chars_before += length;
            if is_nfc(part) {
                normalized.text.push_str(part);
                after += length;
                continue;
            }
            let composed: String = part.nfc().collect();
            after += count(&composed);
            normalized.text.push_str(&composed);
            normalized
                .changed
                .push(Changed { before: (before, normalized.chars_before), after: (start_after, after) });
        }
        normalized
    }

    /// The range in the NFC text that covers `start..end` of the original text; `None` if that range is reversed or
    /// reaches beyond the text. A bound within composed characters moves outward, never inward.
    pub(super) fn range(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        (start <= end && end <= self.chars_before + self.mark).then(|| {
            let [start, end] = [start, end].map(|position| position.saturating_sub(self.mark));
            let empty = start == end;
            let from = self.position(start, |changed| changed.after.0);
            (from, if empty { from } else { self.position(end, |changed| changed.after.1) })
        })
    }

    fn position(&self, before: u64, within: impl Fn(&Changed) -> u64) -> u64 {
        let following = self.changed.partition_point(|changed| changed.before.0 < before);
        match following.checked_sub(1).and_then(|last| self.changed.get(last)) {
            None => before,
            Some(last) if before < last.before.1 => within(last),
            Some(last) => last.after.1 + (before - last.before.1),
        }
    }
}

/// A part of the text that normalisation changed.
#[derive(Debug)]
struct Changed {
    before: (u64, u64),
    after: (u64, u64),
}

/// Splits a text where no characters compose across the split: before each starter that is allowed in NFC unchanged
/// (UAX #15, "Stable code points").
struct Parts<'t>(&'t str);

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let cut =
            self.0.char_indices().skip(1).find(|(_, c)| is_boundary(*c)).map_or(self.0.len(), |(at, _)| at);
        let (part, rest) = self.0.split_at(cut);
        self.0 = rest;
        (!part.is_empty()).then_some(part)
    }
}

fn is_boundary(c: char) -> bool {
    c.is_ascii()
        || (canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes)
}

fn count(text: &str) -> u64 {
    text.chars().count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::unchanged("abc", (1, 2), Some((1, 2)))]
    #[case::composed_before("e\u{301}abc", (2, 3), Some((1, 2)))]
    #[case::exactly_the_composed("xe\u{301}y", (1, 3), Some((1, 2)))]
    #[case::ends_within_the_composed("xe\u{301}y", (0, 2), Some((0, 2)))]
    #[case::starts_within_the_composed("xe\u{301}y", (2, 4), Some((1, 3)))]
    #[case::empty_within_the_composed("xe\u{301}y", (2, 2), Some((1, 1)))]
    #[case::grows("\u{958}x", (1, 2), Some((2, 3)))]
    #[case::whole("e\u{301}\u{1112}\u{1161}\u{11ab}", (0, 5), Some((0, 2)))]
    #[case::at_the_end("e\u{301}", (2, 2), Some((1, 1)))]
    #[case::beyond("e\u{301}", (0, 3), None)]
    #[case::reversed("abc", (2, 1), None)]
    fn range_is_mapped_to_the_composed_text(
        #[case] text: &str,
        #[case] (start, end): (u64, u64),
        #[case] expected: Option<(u64, u64)>,
    ) {
        assert_eq!(NormalizedText::new(text.to_owned(), false).range(start, end), expected);
    }

    #[rstest]
    #[case::unchanged("abc", (1, 4), Some((0, 3)))]
    #[case::last_word("ab cd", (4, 6), Some((3, 5)))]
    #[case::mark_itself("abc", (0, 1), Some((0, 0)))]
    #[case::mark_and_more("abc", (0, 2), Some((0, 1)))]
    #[case::composed("e\u{301}abc", (3, 4), Some((1, 2)))]
    #[case::no_text("", (0, 1), Some((0, 0)))]
    #[case::beyond("abc", (1, 5), None)]
    fn d05_range_of_a_text_with_a_byte_order_mark_counts_the_mark(
        #[case] text: &str,
        #[case] (start, end): (u64, u64),
        #[case] expected: Option<(u64, u64)>,
    ) {
        assert_eq!(NormalizedText::new(text.to_owned(), true).range(start, end), expected);
    }

    fn mixed() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("e\u{301}".to_owned()),
            Just("\u{1112}\u{1161}\u{11ab}".to_owned()),
            Just("\u{958}".to_owned()),
            Just("a\u{323}\u{307}".to_owned()),
            Just("\u{301}".to_owned()),
            any::<char>().prop_map(String::from),
            "[a-z ]{0,4}",
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn text_in_parts_is_the_text_as_a_whole(text in mixed()) {
            prop_assert_eq!(NormalizedText::new(text.clone(), false).text, text.nfc().collect::<String>());
        }

        #[test]
        fn ranged_text_is_contained_in_the_mapped_range(text in mixed(), a in 0_usize..40, b in 0_usize..40) {
            let chars: Vec<char> = text.chars().collect();
            let (start, end) = (a.min(b).min(chars.len()), a.max(b).min(chars.len()));
            let normalized = NormalizedText::new(text, false);
            let (from, to) = normalized.range(start as u64, end as u64).unwrap();
            prop_assert!(from <= to && to <= count(&normalized.text));
            let skip = |n: u64| usize::try_from(n).unwrap();
            let mapped: String = normalized.text.chars().skip(skip(from)).take(skip(to - from)).collect();
            let wanted: String = chars[start..end].iter().collect::<String>().nfd().collect();
            let (mut mapped, mut wanted): (Vec<_>, Vec<_>) = (mapped.nfd().collect(), wanted.chars().collect());
            // Canonical reordering may move marks, so the characters are compared as a multiset.
            mapped.sort_unstable();
            wanted.sort_unstable();
            for c in wanted {
                let at = mapped.binary_search(&c);
                prop_assert!(at.is_ok(), "{c:?} is missing");
                mapped.remove(at.unwrap());
            }
        }
    }
}
