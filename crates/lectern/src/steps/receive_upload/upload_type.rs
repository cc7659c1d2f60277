//! Decides whether an upload is of the type that its name claims.

use lectern_content::{
    CompoundFile, FileType, Kind, MediaKind, MediaType, ZipContent, can_be_pdf, canonical, sniff,
    sniff_zip_start,
};

use crate::document::Reason;

/// The type that the key's extension claims, unless Lectern refuses it or the declared type contradicts it.
pub(super) fn claimed(key: &str, declared: &str) -> Result<MediaType, Reason> {
    let row = FileType::of_file_name(key);
    let Some(claimed) = row.and_then(|row| row.accepted) else {
        let message = row.map_or_else(FileType::advice_for_unknown, |row| refusal(&row));
        return Err(Reason::new("unsupportedType", message));
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
        "image" => claimed.kind() != MediaKind::Picture,
        "audio" | "video" => !claimed.kind().is_played(),
        "application" => {
            let another = declared.parse::<MediaType>().is_ok_and(|declared| declared != claimed);
            another || (claimed != MediaType::Docx && declared == "application/msword")
        }
        _ => false,
    }
}

/// Whether the end of the file has to be read too: only the end of a ZIP says what is in it.
pub(super) fn needs_end(claimed: MediaType, first_bytes: &[u8]) -> bool {
    claimed.is_zip() && sniff(first_bytes) == Kind::Zip
}

/// Checks the content. `zip` is what the end of a ZIP shows, where [`needs_end`] asks for it.
///
/// Codecs are not judged: which of them a browser plays depends on the browser, and the third party reads them all.
pub(super) fn check(claimed: MediaType, first_bytes: &[u8], zip: Option<ZipContent>) -> Result<(), Reason> {
    match sniff(first_bytes) {
        Kind::Accepted(shown) if shown == claimed => Ok(()),
        Kind::IsoMedia if claimed.is_iso_media() => Ok(()),
        Kind::Zip if claimed.is_zip() => check_zip(claimed, sniff_zip_start(first_bytes), zip),
        _ if claimed == MediaType::Pdf && can_be_pdf(first_bytes) => Ok(()),
        Kind::CompoundFile(content) if matches!(claimed, MediaType::Docx | MediaType::Pptx) => {
            Err(protected_or_old(claimed, content))
        }
        Kind::TextInOtherEncoding if claimed == MediaType::Text => Err(Reason::new(
            "notUtf8",
            "The text is in an old encoding. Open it in a text editor, save it with the encoding UTF-8 and upload it \
             again.",
        )),
        // A text is often a page with an error message, saved instead of the file, so no new name helps.
        Kind::Accepted(shown) if shown != MediaType::Text => Err(misnamed(shown)),
        Kind::IsoMedia => Err(misnamed(MediaType::Mp4)),
        Kind::Refused(row) => Err(mismatch(&refusal(&row))),
        Kind::Accepted(_) | Kind::Zip | Kind::CompoundFile(_) | Kind::TextInOtherEncoding | Kind::Other => {
            Err(other_content())
        }
    }
}

fn check_zip(claimed: MediaType, stated: Option<&str>, zip: Option<ZipContent>) -> Result<(), Reason> {
    match (claimed, zip) {
        (MediaType::Docx, Some(ZipContent::Word)) | (MediaType::Pptx, Some(ZipContent::Presentation)) => {
            Ok(())
        }
        (MediaType::Odt, Some(ZipContent::OpenDocument)) => {
            match stated {
                Some(stated) if stated != claimed.as_str() => Err(FileType::of_media_type(stated)
                    .map_or_else(other_content, |row| mismatch(&refusal(&row)))),
                Some(_) | None => Ok(()),
            }
        }
        (_, Some(ZipContent::Truncated) | None) => {
            Err(Reason::new("truncated", "The file is incomplete: its end is missing. Upload it again."))
        }
        (_, Some(ZipContent::EncryptedOpenDocument)) => Err(encrypted()),
        (_, Some(ZipContent::WithMacros)) => Err(Reason::new(
            "unsupported",
            format!(
                "The document contains macros. Save it as .{} without macros and upload it again.",
                extension(claimed)
            ),
        )),
        (_, Some(ZipContent::Word)) => Err(misnamed(MediaType::Docx)),
        (_, Some(ZipContent::Presentation)) => Err(misnamed(MediaType::Pptx)),
        (_, Some(ZipContent::OpenDocument | ZipContent::Other)) => Err(mismatch(&format!(
            "The file is not {}, but a ZIP or another kind of document. Save it as .{} and upload it again.",
            claimed.file_type().title,
            extension(claimed),
        ))),
    }
}

/// The reason for an OLE compound file that is named like a document of a current Office.
fn protected_or_old(claimed: MediaType, content: CompoundFile) -> Reason {
    let what = match content {
        CompoundFile::Encrypted => return encrypted(),
        CompoundFile::OldWord => "in the format of an old version of Word",
        CompoundFile::OldPowerPoint => "in the format of an old version of PowerPoint",
        CompoundFile::Unclear => "protected with a password, or in the format of an old version of Office",
    };
    let extension = extension(claimed);
    let message =
        format!("The document is {what}. Save it as .{extension} without a password and upload it again.");
    Reason::new("unsupported", message)
}

fn encrypted() -> Reason {
    Reason::new(
        "encrypted",
        "The document is protected with a password. Remove the password in the program that made it and upload the \
         document again.",
    )
}

fn refusal(row: &FileType) -> String {
    format!("The file is {}. {}", row.title, row.advice.unwrap_or_default())
}

fn misnamed(shown: MediaType) -> Reason {
    mismatch(&format!(
        "The file is {}, although its name says otherwise. Rename it so that it ends in .{} and upload it again.",
        shown.file_type().title,
        extension(shown),
    ))
}

fn other_content() -> Reason {
    mismatch("The file's content is not what its extension says. Save it in that format and upload it again.")
}

/// The usual extension.
fn extension(media_type: MediaType) -> &'static str {
    media_type.file_type().extension()
}

fn mismatch(message: &str) -> Reason {
    Reason::new("typeMismatch", message)
}
