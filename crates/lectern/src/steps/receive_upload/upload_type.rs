//! Decides whether an upload is of the type that its name claims.

use lectern_content::{CompoundFile, Kind, MediaType, ZipContent, can_be_pdf, canonical, sniff};

use crate::document::Reason;

/// The type that the key's extension claims, unless the declared type contradicts it.
pub(super) fn claimed(key: &str, declared: &str) -> Result<MediaType, Reason> {
    let Some(claimed) = MediaType::from_extension(key) else {
        return Err(Reason::new(
            "unsupportedType",
            "Only .mp4, .webm, .docx, .pdf and .txt files can be handed in. Convert the file and upload it again.",
        ));
    };
    if contradicts(declared, claimed) {
        return Err(mismatch("The declared type and the file's extension disagree. Upload the file again."));
    }
    Ok(claimed)
}

/// Whether the declared type is that of quite another file. Browsers, forms and portals declare types that say little,
/// such as `application/zip` for a DOCX or `text/plain` for anything; the content decides about them.
fn contradicts(declared: &str, claimed: MediaType) -> bool {
    let declared = canonical(declared);
    match declared.split('/').next().unwrap_or_default() {
        "image" => true,
        "audio" | "video" => !claimed.kind().is_played(),
        "application" => {
            let another = declared.parse::<MediaType>().is_ok_and(|declared| declared != claimed);
            another || (claimed != MediaType::Docx && declared == "application/msword")
        }
        _ => false,
    }
}

/// Whether the end of the file has to be read too: only the end of a ZIP says whether it is a DOCX.
pub(super) fn needs_end(claimed: MediaType, first_bytes: &[u8]) -> bool {
    claimed == MediaType::Docx && sniff(first_bytes) == Kind::Zip
}

/// Checks the content. `zip` is what the end of a ZIP shows, where [`needs_end`] asks for it.
pub(super) fn check(claimed: MediaType, first_bytes: &[u8], zip: Option<ZipContent>) -> Result<(), Reason> {
    match (claimed, sniff(first_bytes)) {
        (claimed, Kind::Accepted(shown)) if shown == claimed => Ok(()),
        (MediaType::Pdf, _) if can_be_pdf(first_bytes) => Ok(()),
        (MediaType::Docx, Kind::Zip) => match zip {
            Some(ZipContent::Word) => Ok(()),
            Some(ZipContent::Truncated) | None => {
                Err(Reason::new("truncated", "The file is incomplete: its end is missing. Upload it again."))
            }
            Some(ZipContent::Other) => Err(mismatch(
                "The file is a ZIP or another Office document, not a Word document. Save it as .docx and upload it \
                 again.",
            )),
        },
        (MediaType::Docx, Kind::CompoundFile(CompoundFile::Encrypted)) => Err(Reason::new(
            "encrypted",
            "The document is protected with a password. Remove the password in Word and upload the document again.",
        )),
        (MediaType::Docx, Kind::CompoundFile(CompoundFile::OldWord)) => Err(Reason::new(
            "unsupported",
            "The document is in the format of an old version of Word. Save it as .docx and upload it again.",
        )),
        (MediaType::Docx, Kind::CompoundFile(CompoundFile::Unclear)) => Err(Reason::new(
            "unsupported",
            "The document is protected with a password, or in the format of an old version of Word. Open it in Word, \
             save it as .docx without a password and upload it again.",
        )),
        (MediaType::Text, Kind::TextInOtherEncoding) => Err(Reason::new(
            "notUtf8",
            "The text is in an old encoding. Open it in a text editor, save it with the encoding UTF-8 and upload it \
             again.",
        )),
        _ => Err(mismatch(
            "The file's content is not what its extension says. Save it in that format and upload it again.",
        )),
    }
}

fn mismatch(message: &str) -> Reason {
    Reason::new("typeMismatch", message)
}
