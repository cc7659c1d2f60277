//! Reads JSON of the third party tolerantly: programs in many languages write numbers and text in odd ways.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, Visitor},
};

/// Why JSON could not be read: where, and nothing of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} error at line {line} column {column}")]
pub struct BadJson {
    /// `Syntax` or `Eof` for what is no JSON, `Data` for JSON of another shape.
    kind: String,
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for BadJson {
    fn from(error: serde_json::Error) -> Self {
        Self { kind: format!("{:?}", error.classify()), line: error.line(), column: error.column() }
    }
}

/// Parses UTF-8 JSON. A byte order mark is skipped, and half of a surrogate pair becomes U+FFFD.
///
/// # Errors
/// [`BadJson`] if this is not JSON, or of another shape.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadJson> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => from_str(text),
        // The parser says where the text is not UTF-8.
        Err(_) => Ok(serde_json::from_slice(bytes)?),
    }
}

/// As [`from_slice`], from text without a byte order mark.
///
/// # Errors
/// As [`from_slice`].
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, BadJson> {
    Ok(serde_json::from_str(&with_whole_characters(text))?)
}

/// Replaces each escape of half a surrogate pair by one of U+FFFD, which is as long, so that positions stay the same.
fn with_whole_characters(text: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        let escape = at + found;
        // Behind a backslash stands one character, or `u` and four digits.
        at = match surrogate(&text[escape..]) {
            None => text[escape + 1..].chars().next().map_or(text.len(), |c| escape + 1 + c.len_utf8()),
            Some(Surrogate::High) if matches!(surrogate(&text[escape + 6..]), Some(Surrogate::Low)) => {
                escape + 12
            }
            Some(_) => {
                replaced.push_str(&text[copied..escape]);
                replaced.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Surrogate {
    High,
    Low,
}

/// Whether the text starts with the escape of a surrogate.
fn surrogate(text: &str) -> Option<Surrogate> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Surrogate::High),
        0xDC00..=0xDFFF => Some(Surrogate::Low),
        _ => None,
    }
}

/// Reads a whole number in any spelling that JSON Schema calls an integer, such as `1`, `1.0` and `1e3`.
pub(super) fn whole<'de, D: Deserializer<'de>, N: TryFrom<u64>>(deserializer: D) -> Result<N, D::Error> {
    struct Whole;

    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number, not negative")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            u64::try_from(number).map_err(|_| E::custom("a negative number"))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
            /// Larger numbers have no fractions, but may have been rounded.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked right before"
                )]
                return Ok(number as u64);
            }
            Err(E::custom("no whole number"))
        }
    }

    let number = deserializer.deserialize_any(Whole)?;
    N::try_from(number).map_err(|_| de::Error::custom("a number that is too large"))
}

/// As [`whole`], or nothing.
pub(super) fn optional_whole<'de, D: Deserializer<'de>, N: TryFrom<u64>>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    struct Maybe<N>(N);

    impl<'de, N: TryFrom<u64>> de::Deserialize<'de> for Maybe<N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole(deserializer).map(Self)
        }
    }

    let maybe: Option<Maybe<N>> = de::Deserialize::deserialize(deserializer)?;
    Ok(maybe.map(|Maybe(number)| number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Numbers {
        #[serde(deserialize_with = "whole")]
        a: u64,
        #[serde(default, deserialize_with = "optional_whole")]
        b: Option<u32>,
    }

    #[rstest]
    #[case(r#"{"a": 1500}"#, Some((1500, None)))]
    #[case(r#"{"a": 1500.0, "b": null}"#, Some((1500, None)))]
    #[case(r#"{"a": 1e3, "b": 1.28E3}"#, Some((1000, Some(1280))))]
    #[case(r#"{"a": -0.0}"#, Some((0, None)))]
    #[case(r#"{"a": 18446744073709551615}"#, Some((u64::MAX, None)))]
    #[case(r#"{"a": 1.5}"#, None)]
    #[case(r#"{"a": -1}"#, None)]
    #[case(r#"{"a": -1.0}"#, None)]
    #[case(r#"{"a": 1e17}"#, None)]
    #[case(r#"{"a": 1, "b": 4294967296}"#, None)]
    #[case(r#"{"a": "1"}"#, None)]
    #[case(r#"{"a": null}"#, None)]
    fn f14_v04_whole_number_is_read_in_any_spelling(
        #[case] json: &str,
        #[case] expected: Option<(u64, Option<u32>)>,
    ) {
        let numbers = from_str::<Numbers>(json).ok();
        assert_eq!(numbers, expected.map(|(a, b)| Numbers { a, b }));
    }

    #[rstest]
    #[case(r#""a\ud83d\ude00b""#, "a😀b")]
    #[case(r#""a\ud83db""#, "a\u{FFFD}b")]
    #[case(r#""\ude00\ud83d""#, "\u{FFFD}\u{FFFD}")]
    #[case(r#""\uD83D\ud83d\uDE00""#, "\u{FFFD}😀")]
    #[case(r#""\\ud83d \\\ud83d\u0041""#, "\\ud83d \\\u{FFFD}A")]
    #[case(r#""\ud83d\n""#, "\u{FFFD}\n")]
    fn f14_v04_half_of_a_character_becomes_a_replacement_character(
        #[case] json: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(from_str::<String>(json).unwrap(), expected);
    }

    #[test]
    fn v04_byte_order_mark_before_json_is_skipped() {
        assert_eq!(from_slice::<Vec<u8>>(b"\xEF\xBB\xBF[1]"), Ok(vec![1]));
    }

    #[rstest]
    #[case(b"{\"a\": 1,\n \"secret\"}", "Syntax error at line 2 column 10")]
    #[case(b"{\"a\": \"secret\"}", "Data error at line 1 column 14")]
    #[case(b"{\"a\": 1", "Eof error at line 1 column 7")]
    #[case(b"{\"\xFF\": 1}", "Syntax error at line 1 column 3")]
    fn v04_broken_json_says_where_and_quotes_nothing(#[case] json: &[u8], #[case] expected: &str) {
        assert_eq!(from_slice::<Numbers>(json).unwrap_err().to_string(), expected);
    }

    proptest! {
        #[test]
        fn valid_json_is_read_as_it_is(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_escapes_are_read_or_an_error(text in r#"(\\|\\u|[dD][89a-fA-F]|[0-9a-f]{2}|"|é){0,40}"#) {
            let _ = from_str::<Value>(&text);
            let _ = from_str::<Value>(&format!("\"{text}\""));
        }
    }
}
