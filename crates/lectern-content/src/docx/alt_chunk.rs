//! Documents that are embedded in a DOCX by `altChunk` (ECMA-376, part 1, 17.17.2). Programs that turn HTML into DOCX write
//! the whole text this way, and leave it to Word to convert it.

use crate::{ContentError, html, package::Package, sniff, text};

/// An embedded document.
pub(super) enum Chunk {
    /// Its text.
    Text(String),
    /// A DOCX.
    Document(Vec<u8>),
}

/// Reads the document that a part embeds by the id of a relationship: HTML, HTML in MIME (`.mht`), plain text, or DOCX.
pub(super) fn read(package: &mut Package<'_>, part: &str, id: &str) -> Result<Chunk, ContentError> {
    let relationship = package.relationships(part)?.into_iter().find(|relationship| relationship.id == id);
    let target = relationship.and_then(|relationship| relationship.target).ok_or_else(unsupported)?;
    let embedded = package.part(&target)?.ok_or_else(unsupported)?;
    let content = package.content(embedded)?;
    if sniff::sniff(&content) == sniff::Kind::Zip {
        return Ok(Chunk::Document(content));
    }
    let content = text::decode(&content)?;
    if content.starts_with("{\\rtf") {
        return Err(unsupported());
    }
    let is_plain = target.to_ascii_lowercase().ends_with(".txt");
    Ok(Chunk::Text(match html_in_mime(&content)? {
        Some(markup) => html::text(&markup),
        None if is_plain => content,
        None => html::text(&content),
    }))
}

/// The error for an embedded document that cannot be read.
pub(super) fn unsupported() -> ContentError {
    ContentError::Unsupported(
        "a part of its text is embedded in another format; please open it in Word and save it again",
    )
}

/// The first HTML of a MIME message; `None` if the text is no message.
fn html_in_mime(message: &str) -> Result<Option<String>, ContentError> {
    let message = message.replace("\r\n", "\n");
    let Some((head, body)) = message.trim_start().split_once("\n\n") else { return Ok(None) };
    let Some(content_type) = header(head, "content-type") else { return Ok(None) };
    let Some(boundary) = parameter(&content_type, "boundary") else {
        return if is_html(head) { decoded(head, body).map(Some) } else { Err(unsupported()) };
    };
    for part in body.split(&format!("--{boundary}")) {
        if let Some((head, body)) = part.trim_start().split_once("\n\n")
            && is_html(head)
        {
            return decoded(head, body).map(Some);
        }
    }
    Err(unsupported())
}

fn is_html(head: &str) -> bool {
    header(head, "content-type").is_some_and(|content_type| {
        let content_type = content_type.to_ascii_lowercase();
        content_type.starts_with("text/html") || content_type.starts_with("application/xhtml+xml")
    })
}

/// The value of a header field, with its continuation lines.
fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().peekable();
    let is_field =
        |line: &str| line.split_once(':').is_some_and(|(field, _)| field.eq_ignore_ascii_case(name));
    while let Some(line) = lines.next() {
        if is_field(line) {
            let mut value = line.split_once(':')?.1.trim().to_owned();
            while let Some(line) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
                value.push_str(line);
            }
            return Some(value);
        }
    }
    None
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.trim().split_once('=')?;
        let value = value.trim().trim_matches('"');
        (found.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

fn decoded(head: &str, body: &str) -> Result<String, ContentError> {
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    match encoding.as_str() {
        "quoted-printable" => text::decode(&quoted_printable(body)),
        "" | "7bit" | "8bit" | "binary" => Ok(body.to_owned()),
        _ => Err(unsupported()),
    }
}

/// RFC 2045, 6.7. An escape that makes no sense stays as it is.
fn quoted_printable(body: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'=', [b'\n', after @ ..]) => after,
            (b'=', [high, low, after @ ..]) if let Some(byte) = hex(*high, *low) => {
                bytes.push(byte);
                after
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    bytes
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}
