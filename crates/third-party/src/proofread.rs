//! Proofreading of English text by fixed rules.

mod misspellings;

use lectern::contract::wire::{FileFinding, Severity};

/// Findings of one proofreading.
const MAX_FINDINGS: usize = 1_000;
/// A sentence with more words is too long.
const LONG_SENTENCE_WORDS: usize = 40;
/// Words that may correctly occur twice in a row.
const MAY_BE_DOUBLED: [&str; 6] = ["had", "that", "very", "bye", "no", "so"];
/// Words whose full stop does not end a sentence.
const ABBREVIATIONS: [&str; 23] = [
    "a.m", "approx", "cf", "ch", "dr", "e.g", "ed", "etc", "fig", "i.e", "incl", "max", "min", "mr", "mrs",
    "ms", "no", "p.m", "pp", "prof", "resp", "st", "vs",
];

/// The first 1,000 mistakes, in the order of the text.
///
/// Offsets count Unicode scalar values. Time is linear in the text; memory is about 5 bytes for each character.
///
/// | rule | severity | finds |
/// |---|---|---|
/// | `misspelling` | error | a word of a fixed table |
/// | `doubledWord` | warning | the same word twice in a row |
/// | `unmatchedBracket` | warning | a bracket without its partner in the paragraph (blank lines separate paragraphs) |
/// | `unmatchedQuote` | warning | a double quotation mark without its partner in the line |
/// | `lowercaseSentence` | warning | a sentence that starts with a lower-case letter |
/// | `longSentence` | info | a sentence of more than 40 words |
/// | `doubleSpace` | info | several spaces between two words |
pub fn proofread(text: &str) -> Vec<FileFinding> {
    let chars: Vec<char> = text.chars().collect();
    let mut findings = Vec::new();
    for rule in [words, sentences, spaces, brackets, quotes] {
        let mut report = Report::default();
        rule(&chars, &mut report);
        findings.append(&mut report.findings);
    }
    findings.sort_by_key(|finding| (finding.start, finding.end));
    findings.truncate(MAX_FINDINGS);
    findings
}

/// The first findings of one rule. Each rule reads the text from start to end.
#[derive(Default)]
struct Report {
    findings: Vec<FileFinding>,
}

impl Report {
    fn add(
        &mut self,
        (start, end): (usize, usize),
        (rule, severity): (&str, Severity),
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        if self.findings.len() < MAX_FINDINGS {
            let (start, end, message) = (start as u64, end as u64, message.into());
            self.findings.push(FileFinding {
                start,
                end,
                rule: rule.into(),
                message: message.into(),
                suggestion: suggestion.map(Into::into),
                severity,
            });
        }
    }
}

/// Misspellings and doubled words.
fn words(chars: &[char], report: &mut Report) {
    let mut before: Option<(usize, usize, String)> = None;
    for (start, end) in word_ranges(chars) {
        let word: String = chars[start..end].iter().collect();
        let lower = word.to_lowercase();
        if let Some(right) = misspellings::correction(&lower) {
            let right =
                if word.starts_with(char::is_uppercase) { capitalised(right) } else { right.to_owned() };
            let message = format!("This is usually spelt “{right}”.");
            report.add((start, end), ("misspelling", Severity::Error), message, Some(right));
        }
        if let Some((first, first_end, earlier)) = before.take()
            && earlier.to_lowercase() == lower
            && chars[first_end..start].iter().all(|c| c.is_whitespace())
            && lower.chars().all(char::is_alphabetic)
            && !MAY_BE_DOUBLED.contains(&lower.as_str())
        {
            let message = "This word occurs twice in a row.";
            report.add((first, end), ("doubledWord", Severity::Warning), message, Some(earlier));
        }
        before = Some((start, end, word));
    }
}

/// Runs of letters and digits, with apostrophes and hyphens inside. Longer words than 64 characters are split.
fn word_ranges(chars: &[char]) -> impl Iterator<Item = (usize, usize)> {
    const LONGEST: usize = 64;
    let mut at = 0;
    std::iter::from_fn(move || {
        while !chars.get(at)?.is_alphanumeric() {
            at += 1;
        }
        let start = at;
        while at - start < LONGEST
            && chars.get(at).is_some_and(|c| {
                let inner =
                    matches!(c, '\'' | '’' | '-') && chars.get(at + 1).is_some_and(|c| c.is_alphanumeric());
                c.is_alphanumeric() || inner
            })
        {
            at += 1;
        }
        Some((start, at))
    })
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// Long sentences, and sentences that start with a lower-case letter.
///
/// A sentence ends at `.`, `!` or `?` before white space, and at a blank line.
fn sentences(chars: &[char], report: &mut Report) {
    let mut sentence: Option<(usize, usize)> = None;
    let mut words = 0;
    let mut ended_by_a_stop = true;
    for (start, end) in word_ranges(chars) {
        let gap_start = sentence.map_or(0, |(_, last)| last);
        let gap = &chars[gap_start..start];
        let stopped = sentence.is_none() || ends_sentence(chars, gap_start, gap);
        if stopped || is_blank_line(gap) {
            long_sentence(sentence, words, report);
            ended_by_a_stop = stopped;
            words = 0;
        }
        if words == 0 {
            let follows_text =
                gap.last().is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '“' | '(' | '‘'));
            let word = &chars[start..end];
            if ended_by_a_stop && follows_text && starts_lower_case(word) {
                let right: String = capitalised(&word.iter().collect::<String>());
                let message = "A sentence starts with a capital letter.";
                report.add((start, end), ("lowercaseSentence", Severity::Warning), message, Some(right));
            }
        }
        words += 1;
        sentence = Some((if words == 1 { start } else { sentence.map_or(start, |(first, _)| first) }, end));
    }
    long_sentence(sentence, words, report);
}

fn long_sentence(sentence: Option<(usize, usize)>, words: usize, report: &mut Report) {
    if let Some(range) = sentence.filter(|_| words > LONG_SENTENCE_WORDS) {
        let message = format!("This sentence has {words} words. Shorter ones are easier to read.");
        report.add(range, ("longSentence", Severity::Info), message, None);
    }
}

/// Whether the gap after a word ends the sentence. An ellipsis does not.
fn ends_sentence(chars: &[char], word_end: usize, gap: &[char]) -> bool {
    let Some(stop) = gap.iter().position(|c| matches!(c, '.' | '!' | '?')) else { return false };
    let rest = &gap[stop + 1..];
    let spaced = rest.iter().find(|c| !matches!(c, '"' | '”' | '\'' | '’' | ')' | ']'));
    if rest.first() == Some(&'.') || !spaced.is_some_and(|c| c.is_whitespace()) {
        return false;
    }
    gap[stop] != '.' || stop > 0 || !is_abbreviation(chars, word_end)
}

fn is_abbreviation(chars: &[char], word_end: usize) -> bool {
    let from =
        chars[..word_end].iter().rev().take(8).take_while(|c| c.is_alphanumeric() || **c == '.').count();
    let word: String = chars[word_end - from..word_end].iter().collect::<String>().to_lowercase();
    ABBREVIATIONS.contains(&word.as_str())
        || word.chars().count() == 1
        || word.chars().all(|c| c.is_ascii_digit())
}

fn starts_lower_case(word: &[char]) -> bool {
    // A word with a later capital (iPad, pH) is a name and keeps its spelling.
    word.first().is_some_and(|c| c.is_lowercase()) && !word.iter().any(|c| c.is_uppercase())
}

fn is_blank_line(gap: &[char]) -> bool {
    let mut line_is_blank = false;
    gap.iter().any(|c| {
        let ends_blank_line = line_is_blank && *c == '\n';
        line_is_blank = *c == '\n' || line_is_blank && c.is_whitespace();
        ends_blank_line
    })
}

/// Several spaces between two words. Indentation and trailing spaces are fine.
fn spaces(chars: &[char], report: &mut Report) {
    let mut at = 0;
    while at < chars.len() {
        let count = chars[at..].iter().take_while(|c| **c == ' ').count();
        let after = chars.get(at + count).is_some_and(|c| !c.is_whitespace());
        if count > 1 && after && at > 0 && !chars[at - 1].is_whitespace() {
            let message = "There are several spaces here.";
            report.add((at, at + count), ("doubleSpace", Severity::Info), message, Some(" ".to_owned()));
        }
        at += count.max(1);
    }
}

/// Brackets without a partner in the same paragraph.
fn brackets(chars: &[char], report: &mut Report) {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut line_is_blank = false;
    for (at, c) in chars.iter().enumerate() {
        match c {
            '\n' if line_is_blank => unmatched(&mut open, report),
            '\n' => line_is_blank = true,
            '(' | '[' | '{' => open.push((at, *c)),
            ')' | ']' | '}' if open.last().is_some_and(|(_, opening)| partner(*opening) == *c) => {
                open.pop();
            }
            ')' | ']' | '}' if !is_item_or_smiley(&chars[..at]) => unmatched_bracket(at, report),
            _ => {}
        }
        line_is_blank &= c.is_whitespace();
    }
    unmatched(&mut open, report);
}

fn unmatched(open: &mut Vec<(usize, char)>, report: &mut Report) {
    for (at, _) in open.drain(..) {
        unmatched_bracket(at, report);
    }
}

fn unmatched_bracket(at: usize, report: &mut Report) {
    let message = "This bracket has no partner.";
    report.add((at, at + 1), ("unmatchedBracket", Severity::Warning), message, None);
}

fn partner(opening: char) -> char {
    match opening {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

/// `a)` or `12)` at the start of a line, or `:-)`.
fn is_item_or_smiley(before: &[char]) -> bool {
    let number = before.iter().rev().take(3).take_while(|c| c.is_alphanumeric()).count();
    let earlier = before[..before.len() - number].iter().rev().find(|c| !matches!(c, ' ' | '\t'));
    let item = (1..=2).contains(&number) && earlier.is_none_or(|c| *c == '\n');
    item || matches!(before, [.., ':' | ';'] | [.., ':' | ';', '-'])
}

/// Double quotation marks without a partner in the same line.
fn quotes(chars: &[char], report: &mut Report) {
    let mut straight: Option<usize> = None;
    let mut curly: Option<usize> = None;
    for (at, c) in chars.iter().chain(std::iter::once(&'\n')).enumerate() {
        match c {
            '\n' => {
                for alone in [straight.take(), curly.take()].into_iter().flatten() {
                    unmatched_quote(alone, report);
                }
            }
            // A straight quote after a digit stands for inches or seconds.
            '"' if straight.is_none() && at > 0 && chars[at - 1].is_ascii_digit() => {}
            '"' => straight = if straight.is_some() { None } else { Some(at) },
            '“' => {
                if let Some(alone) = curly.replace(at) {
                    unmatched_quote(alone, report);
                }
            }
            '”' if curly.take().is_none() => unmatched_quote(at, report),
            _ => {}
        }
    }
}

fn unmatched_quote(at: usize, report: &mut Report) {
    let message = "This quotation mark has no partner.";
    report.add((at, at + 1), ("unmatchedQuote", Severity::Warning), message, None);
}

#[cfg(test)]
mod tests {
    use lectern_content::samples;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn found(text: &str) -> Vec<(String, String, Option<String>)> {
        let chars: Vec<char> = text.chars().collect();
        let range = |start, end| usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
        proofread(text)
            .into_iter()
            .map(|f| {
                (f.rule.into(), chars[range(f.start, f.end)].iter().collect(), f.suggestion.map(Into::into))
            })
            .collect()
    }

    #[rstest]
    #[case("Paris in the the spring.", "doubledWord", "the the", Some("the"))]
    #[case("The the end.", "doubledWord", "The the", Some("The"))]
    #[case("Übung: wait and\nand see.", "doubledWord", "and\nand", Some("and"))]
    #[case("They recieve it.", "misspelling", "recieve", Some("receive"))]
    #[case("😀 Definately.", "misspelling", "Definately", Some("Definitely"))]
    #[case("Two  spaces.", "doubleSpace", "  ", Some(" "))]
    #[case("One. two.", "lowercaseSentence", "two", Some("Two"))]
    #[case("once upon a time.", "lowercaseSentence", "once", Some("Once"))]
    #[case("He asked: “Why?” nobody knew.", "lowercaseSentence", "nobody", Some("Nobody"))]
    #[case("See (page 4.", "unmatchedBracket", "(", None)]
    #[case("See page 4).", "unmatchedBracket", ")", None)]
    #[case("See [page 4).\n\nNext.", "unmatchedBracket", "[", None)]
    #[case("He said \"no.", "unmatchedQuote", "\"", None)]
    #[case("“Yes, he said.", "unmatchedQuote", "“", None)]
    fn a_mistake_is_found(
        #[case] text: &str,
        #[case] rule: &str,
        #[case] quoted: &str,
        #[case] suggestion: Option<&str>,
    ) {
        let expected = (rule.to_owned(), quoted.to_owned(), suggestion.map(str::to_owned));
        assert!(found(text).contains(&expected), "{:?}", found(text));
    }

    #[rstest]
    #[case("He had had enough, and that that was. Bye bye!")]
    #[case("Use a ruler, e.g. one of wood, at 3 p.m. sharp, as Mr. Smith does.")]
    #[case("Well... maybe. It costs 3.50 at www.example.org today.")]
    #[case("a) one\nb) two\n12) three\nFine :-) and ;)")]
    #[case("A 5\" disc, \"so to say\", and “this” (with [some] brackets).")]
    #[case("    Indented  \nLine\n\nAims and goals\n\npupils name four stages")]
    #[case("Done. iPad users wait. It went well, well enough.")]
    #[case("")]
    fn correct_text_has_no_findings(#[case] text: &str) {
        let wrong: Vec<_> =
            found(text).into_iter().filter(|(rule, ..)| rule != "lowercaseSentence").collect();
        assert_eq!(wrong, []);
        assert!(found(text).len() <= usize::from(text.starts_with("a)")), "{:?}", found(text));
    }

    #[test]
    fn a_long_sentence_is_found_whole() {
        let long = "word, ".repeat(LONG_SENTENCE_WORDS) + "end";
        let findings = found(&format!("Short. A {long}. Short."));
        assert!(findings.contains(&("longSentence".to_owned(), format!("A {long}"), None)), "{findings:?}");
    }

    #[test]
    fn the_findings_are_bounded_and_in_the_order_of_the_text() {
        let findings = proofread(&"teh  the the ( \" x. y\n".repeat(2_000));
        assert_eq!(findings.len(), MAX_FINDINGS);
        assert!(findings.is_sorted_by_key(|finding| (finding.start, finding.end)));
    }

    #[test]
    fn the_mistakes_of_the_sample_lesson_plan_are_found() {
        let plan = lectern_content::docx::extract_text(samples::LESSON_PLAN_DOCX).unwrap();
        let findings = found(&plan);
        for (rule, quoted) in [
            ("doubledWord", "the the"),
            ("misspelling", "recieve"),
            ("misspelling", "untill"),
            ("lowercaseSentence", "collect"),
            ("unmatchedBracket", "("),
        ] {
            assert!(
                findings.iter().any(|(r, q, _)| r == rule && q == quoted),
                "{rule} {quoted}: {findings:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn offsets_always_lie_in_the_text(
            text in "(the |teh |and and|[a-zA-Zß]|😀|[.!?\"“”(){}\\[\\] \n\t-]|\\PC){0,80}"
        ) {
            let length = text.chars().count() as u64;
            for finding in proofread(&text) {
                prop_assert!(finding.start < finding.end, "{:?}", finding);
                prop_assert!(finding.end <= length, "{:?} of {}", finding, length);
            }
        }
    }
}
