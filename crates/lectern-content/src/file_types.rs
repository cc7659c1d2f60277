//! The one table of the file types that teachers have: which of them Lectern accepts, and what to do with the others.
//!
//! [`MediaType::file_type`] holds the accepted types, `REFUSED` the others that people try. The API, the pages, the
//! rejections of receive-upload and `docs/files.md` show these rows. How a file's structure shows its type is decided in
//! [`crate::sniff()`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::MediaType;

/// What a file is to the person who looks at it. Videos and recordings have media facts and a transcript, documents have
/// a text with findings, and pictures have neither.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Moving pictures, with or without sound.
    Video,
    /// A recording of sound.
    Audio,
    /// Something to read.
    Document,
    /// A photo or a drawing.
    Picture,
}

impl MediaKind {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Video, Self::Audio, Self::Document, Self::Picture];

    /// The name in JSON, such as `video`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Picture => "picture",
        }
    }

    /// Whether files of this kind are played, so that they have media facts and a transcript.
    pub fn is_played(self) -> bool {
        matches!(self, Self::Video | Self::Audio)
    }
}

/// Whether the current versions of Chrome, Edge, Firefox and Safari play or show the files of a type themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BrowserSupport {
    /// All of them do.
    Yes,
    /// It depends on the file, such as on the codec of a video.
    Depends,
    /// None of them does.
    No,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileType {
    /// The registered name of the media type, or the name in general use.
    pub media_type: &'static str,
    /// The type with its article, for sentences: "an MP4 video".
    #[serde(skip)]
    pub title: &'static str,
    /// What its files are to the reader. Archives, programs and links have no kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    /// The extensions of its files in lower case, without the dot. The first one is the usual one.
    pub extensions: &'static [&'static str],
    /// The type, if Lectern accepts it; in JSON, whether Lectern accepts it.
    #[serde(serialize_with = "is_some")]
    pub accepted: Option<MediaType>,
    /// Whether browsers play or show its files. Only accepted types say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plays_in_browsers: Option<BrowserSupport>,
    /// A sentence for the teacher: what to do instead if the type is refused, and otherwise what to know if not all
    /// browsers play or show its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the form that serde requires")]
fn is_some<S: Serializer>(accepted: &Option<MediaType>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(accepted.is_some())
}

impl FileType {
    const fn accepted(
        accepted: MediaType,
        media_type: &'static str,
        title: &'static str,
        extensions: &'static [&'static str],
    ) -> Self {
        Self {
            media_type,
            title,
            kind: Some(accepted.kind()),
            extensions,
            accepted: Some(accepted),
            plays_in_browsers: Some(BrowserSupport::Yes),
            advice: None,
        }
    }

    const fn with_advice(self, plays_in_browsers: BrowserSupport, advice: &'static str) -> Self {
        Self { plays_in_browsers: Some(plays_in_browsers), advice: Some(advice), ..self }
    }

    const fn refused(
        media_type: &'static str,
        (title, kind): (&'static str, Option<MediaKind>),
        extensions: &'static [&'static str],
        advice: &'static str,
    ) -> Self {
        Self {
            media_type,
            title,
            kind,
            extensions,
            accepted: None,
            plays_in_browsers: None,
            advice: Some(advice),
        }
    }

    /// All rows: the accepted types in the order of [`MediaType::ALL`], then the refused ones.
    pub fn all() -> impl Iterator<Item = Self> {
        MediaType::ALL.into_iter().map(MediaType::file_type).chain(REFUSED.iter().copied())
    }

    /// The usual extension, without the dot.
    pub fn extension(&self) -> &'static str {
        self.extensions.first().copied().unwrap_or_default()
    }

    /// The row that a file name's extension claims. Upper and lower case are the same.
    pub fn of_file_name(file_name: &str) -> Option<Self> {
        let (_, extension) = file_name.rsplit_once('.')?;
        let extension = extension.to_ascii_lowercase();
        Self::all().find(|row| row.extensions.contains(&extension.as_str()))
    }

    /// The row of a [`crate::canonical`] media type.
    pub fn of_media_type(canonical: &str) -> Option<Self> {
        Self::all().find(|row| row.media_type == canonical)
    }

    /// What to do with a file of a type that is not in the table.
    pub fn advice_for_unknown() -> String {
        let usual: Vec<_> = MediaType::ALL.iter().map(|accepted| accepted.file_type().extension()).collect();
        let (last, others) = usual.split_last().map_or(("", &[][..]), |(last, others)| (*last, others));
        format!(
            "Only files of these types can be handed in: .{} and .{last}. Convert the file and upload it again.",
            others.join(", .")
        )
    }
}

impl MediaType {
    /// The type's row of the table.
    pub const fn file_type(self) -> FileType {
        use BrowserSupport::{Depends, No};

        match self {
            Self::Mp4 => FileType::accepted(self, "video/mp4", "an MP4 video", &["mp4", "m4v"])
                .with_advice(Depends, CODEC),
            Self::QuickTime => FileType::accepted(self, "video/quicktime", "a QuickTime video", &["mov", "qt"])
                .with_advice(Depends, CODEC),
            Self::ThreeGpp => {
                FileType::accepted(self, "video/3gpp", "a 3GP video", &["3gp", "3gpp", "3g2"]).with_advice(
                    Depends,
                    "Browsers play it if its codecs are H.264 and AAC. If the preview stays black or silent, export \
                     the video as MP4 with H.264.",
                )
            }
            Self::WebM => FileType::accepted(self, "video/webm", "a WebM video", &["webm"]),
            Self::M4a => FileType::accepted(self, "audio/mp4", "an M4A recording", &["m4a"]).with_advice(
                Depends,
                "Every browser plays AAC. A recording in Apple Lossless plays in Safari only; if the preview stays \
                 silent, export it as MP3.",
            ),
            Self::Mp3 => FileType::accepted(self, "audio/mpeg", "an MP3 recording", &["mp3"]),
            Self::Jpeg => FileType::accepted(self, "image/jpeg", "a JPEG picture", &["jpg", "jpeg", "jpe", "jfif"]),
            Self::Png => FileType::accepted(self, "image/png", "a PNG picture", &["png"]),
            Self::Docx => FileType::accepted(
                self,
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "a Word document",
                &["docx"],
            )
            .with_advice(No, READ_AS_TEXT),
            Self::Pptx => FileType::accepted(
                self,
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
                "a PowerPoint presentation",
                &["pptx"],
            )
            .with_advice(No, READ_AS_TEXT),
            Self::Odt => FileType::accepted(
                self,
                "application/vnd.oasis.opendocument.text",
                "an OpenDocument text",
                &["odt"],
            )
            .with_advice(No, READ_AS_TEXT),
            Self::Pdf => FileType::accepted(self, "application/pdf", "a PDF", &["pdf"]),
            Self::Text => FileType::accepted(self, "text/plain", "a text file", &["txt", "text"]),
        }
    }
}

const CODEC: &str = "Every browser plays H.264. A video in HEVC (H.265) plays in some browsers only; if the preview stays \
                     black, export it as MP4 with H.264.";
const READ_AS_TEXT: &str = "Evaluators read its text. To show pages and pictures too, save it as .pdf.";
const SAVE_AS_MP4: &str = "Export the video as MP4 with H.264 and upload the .mp4 file.";
const SAVE_AS_MP3: &str = "Export the recording as MP3 and upload the .mp3 file.";
const SAVE_AS_PNG: &str = "Save the picture as .png or .jpg and upload that file.";
const SAVE_AS_PDF: &str = "Save or print it as .pdf and upload the .pdf file.";
const SAVE_AS_PPTX: &str =
    "Open it in PowerPoint or LibreOffice, save it as .pptx and upload the .pptx file.";
const SAVE_AS_DOCX: &str = "Open it in Word or LibreOffice, save it as .docx and upload the .docx file.";
const UNPACK: &str = "Unpack the archive and upload the files in it one by one.";
const PROGRAM: &str =
    "Programs and scripts cannot be handed in. Upload videos, recordings, documents or pictures.";
const LINK: &str = "This file is only a link. Download what it leads to and upload that file.";

/// The types that people try although Lectern does not accept them.
static REFUSED: &[FileType] = {
    use MediaKind::{Audio, Document, Picture, Video};

    &[
        FileType::refused("video/x-msvideo", ("an AVI video", Some(Video)), &["avi"], SAVE_AS_MP4),
        FileType::refused("video/matroska", ("a Matroska video", Some(Video)), &["mkv"], SAVE_AS_MP4),
        FileType::refused(
            "video/x-ms-wmv",
            ("a Windows Media video", Some(Video)),
            &["wmv", "asf"],
            SAVE_AS_MP4,
        ),
        FileType::refused(
            "video/mp2t",
            ("a camcorder video", Some(Video)),
            &["mts", "m2ts", "ts"],
            SAVE_AS_MP4,
        ),
        FileType::refused("video/mpeg", ("an MPEG video", Some(Video)), &["mpg", "mpeg", "vob"], SAVE_AS_MP4),
        FileType::refused("video/x-flv", ("a Flash video", Some(Video)), &["flv"], SAVE_AS_MP4),
        FileType::refused(
            "application/msword",
            ("a document of an old version of Word", Some(Document)),
            &["doc", "dot"],
            SAVE_AS_DOCX,
        ),
        FileType::refused(
            "application/vnd.ms-word.document.macroenabled.12",
            ("a Word document with macros", Some(Document)),
            &["docm", "dotm"],
            "Open it in Word, save it as .docx, which has no macros, and upload the .docx file.",
        ),
        FileType::refused(
            "application/vnd.ms-powerpoint",
            ("a presentation of an old version of PowerPoint", Some(Document)),
            &["ppt", "pps", "pot"],
            SAVE_AS_PPTX,
        ),
        FileType::refused(
            "application/vnd.ms-powerpoint.presentation.macroenabled.12",
            ("a presentation with macros", Some(Document)),
            &["pptm", "ppsm", "potm"],
            "Open it in PowerPoint, save it as .pptx, which has no macros, and upload the .pptx file.",
        ),
        FileType::refused(
            "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
            ("a PowerPoint slide show", Some(Document)),
            &["ppsx", "potx"],
            SAVE_AS_PPTX,
        ),
        FileType::refused(
            "application/vnd.apple.keynote",
            ("a Keynote presentation", Some(Document)),
            &["key"],
            "Open it in Keynote, choose File, Export To, PowerPoint, and upload the .pptx file.",
        ),
        FileType::refused(
            "application/vnd.oasis.opendocument.presentation",
            ("an OpenDocument presentation", Some(Document)),
            &["odp"],
            SAVE_AS_PPTX,
        ),
        FileType::refused("application/rtf", ("an RTF document", Some(Document)), &["rtf"], SAVE_AS_DOCX),
        FileType::refused(
            "application/vnd.apple.pages",
            ("a Pages document", Some(Document)),
            &["pages"],
            "Open it in Pages, choose File, Export To, Word, and upload the .docx file.",
        ),
        FileType::refused(
            "application/vnd.ms-excel",
            ("a table of an old version of Excel", Some(Document)),
            &["xls"],
            SAVE_AS_PDF,
        ),
        FileType::refused(
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            ("an Excel table", Some(Document)),
            &["xlsx", "xlsm"],
            SAVE_AS_PDF,
        ),
        FileType::refused(
            "application/vnd.oasis.opendocument.spreadsheet",
            ("an OpenDocument table", Some(Document)),
            &["ods"],
            SAVE_AS_PDF,
        ),
        FileType::refused(
            "application/vnd.apple.numbers",
            ("a Numbers table", Some(Document)),
            &["numbers"],
            SAVE_AS_PDF,
        ),
        FileType::refused("application/epub+zip", ("an e-book", Some(Document)), &["epub"], SAVE_AS_PDF),
        FileType::refused(
            "text/html",
            ("a web page", Some(Document)),
            &["html", "htm", "mhtml"],
            SAVE_AS_PDF,
        ),
        FileType::refused(
            "text/markdown",
            ("a Markdown text", Some(Document)),
            &["md", "markdown"],
            "Save it as .txt or .pdf and upload that file.",
        ),
        FileType::refused("application/zip", ("a ZIP archive", None), &["zip"], UNPACK),
        FileType::refused("application/vnd.rar", ("a RAR archive", None), &["rar"], UNPACK),
        FileType::refused("application/x-7z-compressed", ("a 7-Zip archive", None), &["7z"], UNPACK),
        FileType::refused("application/gzip", ("a packed file", None), &["gz", "tgz", "tar"], UNPACK),
        FileType::refused(
            "application/x-msdownload",
            ("a program", None),
            &["exe", "msi", "com", "scr", "dll"],
            PROGRAM,
        ),
        FileType::refused(
            "application/javascript",
            ("a script", None),
            &["js", "vbs", "bat", "cmd", "ps1", "sh", "py"],
            PROGRAM,
        ),
        FileType::refused(
            "application/vnd.android.package-archive",
            ("a program", None),
            &["apk", "jar", "dmg", "app"],
            PROGRAM,
        ),
        FileType::refused(
            "application/vnd.google-apps.document",
            ("a link to a Google document", None),
            &["gdoc", "gslides", "gsheet"],
            "This file is only a link. Open it in Google Docs, choose File, Download, Microsoft Word or PDF, and \
             upload the downloaded file.",
        ),
        FileType::refused("application/x-url", ("a link", None), &["url", "webloc", "lnk"], LINK),
        FileType::refused(
            "audio/wav",
            ("an uncompressed recording", Some(Audio)),
            &["wav", "aif", "aiff"],
            SAVE_AS_MP3,
        ),
        FileType::refused("audio/aac", ("an AAC recording", Some(Audio)), &["aac"], SAVE_AS_MP3),
        FileType::refused("audio/amr", ("an AMR recording", Some(Audio)), &["amr"], SAVE_AS_MP3),
        FileType::refused(
            "audio/ogg",
            ("an Ogg recording", Some(Audio)),
            &["ogg", "oga", "opus"],
            SAVE_AS_MP3,
        ),
        FileType::refused("audio/flac", ("a FLAC recording", Some(Audio)), &["flac"], SAVE_AS_MP3),
        FileType::refused(
            "audio/x-ms-wma",
            ("a Windows Media recording", Some(Audio)),
            &["wma"],
            SAVE_AS_MP3,
        ),
        FileType::refused(
            "image/heic",
            ("a HEIC picture", Some(Picture)),
            &["heic", "heif", "hif"],
            "Few browsers show it. Save the picture as .jpg and upload that file; an iPhone takes JPEG pictures with \
             Settings, Camera, Formats, Most Compatible.",
        ),
        FileType::refused("image/avif", ("an AVIF picture", Some(Picture)), &["avif"], SAVE_AS_PNG),
        FileType::refused("image/webp", ("a WebP picture", Some(Picture)), &["webp"], SAVE_AS_PNG),
        FileType::refused(
            "image/x-adobe-dng",
            ("a raw photo", Some(Picture)),
            &["dng", "cr2", "cr3", "nef", "arw"],
            SAVE_AS_PNG,
        ),
        FileType::refused("image/svg+xml", ("an SVG drawing", Some(Picture)), &["svg"], SAVE_AS_PNG),
        FileType::refused("image/bmp", ("a BMP picture", Some(Picture)), &["bmp"], SAVE_AS_PNG),
        FileType::refused("image/tiff", ("a TIFF picture", Some(Picture)), &["tif", "tiff"], SAVE_AS_PNG),
        FileType::refused("image/gif", ("a GIF picture", Some(Picture)), &["gif"], SAVE_AS_PNG),
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("lesson.MP4", "video/mp4", true)]
    #[case("lesson.m4v", "video/mp4", true)]
    #[case("report.pdf.exe", "application/x-msdownload", false)]
    #[case("plan.doc", "application/msword", false)]
    #[case("IMG_0001.MOV", "video/quicktime", true)]
    #[case("IMG_0001.HEIC", "image/heic", false)]
    #[case("slides.pptm", "application/vnd.ms-powerpoint.presentation.macroenabled.12", false)]
    fn a_file_name_finds_its_row(#[case] name: &str, #[case] media_type: &str, #[case] accepted: bool) {
        let row = FileType::of_file_name(name).unwrap();
        assert_eq!((row.media_type, row.accepted.is_some()), (media_type, accepted));
    }

    #[test]
    fn every_accepted_type_is_named_by_its_own_row() {
        for media_type in MediaType::ALL {
            let row = media_type.file_type();
            assert_eq!(row.accepted, Some(media_type));
            assert_eq!(media_type.as_str(), row.media_type);
            assert_eq!(
                row.advice.is_some(),
                row.plays_in_browsers != Some(BrowserSupport::Yes),
                "{media_type}"
            );
        }
    }

    #[test]
    fn no_extension_and_no_media_type_has_two_rows() {
        let mut seen = BTreeSet::new();
        for name in FileType::all().flat_map(|row| row.extensions.iter().copied().chain([row.media_type])) {
            assert!(seen.insert(name), "{name}");
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for row in FileType::all().filter(|row| row.accepted.is_none()) {
            let advice = row.advice.unwrap();
            assert!(advice.ends_with('.') && advice.contains("pload"), "{}: {advice}", row.media_type);
            assert!(row.title.starts_with("a ") || row.title.starts_with("an "), "{}", row.title);
        }
        assert!(FileType::advice_for_unknown().contains(".mp4, .mov,"));
    }

    #[test]
    fn rows_in_json_have_the_fields_that_the_pages_read() {
        let rows: Vec<_> = FileType::all().collect();
        let json = serde_json::to_value(&rows).unwrap();
        assert_eq!(
            json[3],
            json!({
                "mediaType": "video/webm",
                "kind": "video",
                "extensions": ["webm"],
                "accepted": true,
                "playsInBrowsers": "yes",
            })
        );
        let avi = json.as_array().unwrap().iter().find(|row| row["mediaType"] == "video/x-msvideo").unwrap();
        assert_eq!(
            avi,
            &json!({
                "mediaType": "video/x-msvideo",
                "kind": "video",
                "extensions": ["avi"],
                "accepted": false,
                "advice": SAVE_AS_MP4,
            })
        );
        for kind in MediaKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
