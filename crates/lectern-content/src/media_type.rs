//! The media types that Lectern accepts from teachers.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{FileType, MediaKind};

/// A type of file that a teacher may upload. [`MediaType::file_type`] says more about each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum MediaType {
    /// ISO base media file, `video/mp4`.
    Mp4,
    /// `QuickTime` movie, the video of iPhones.
    QuickTime,
    /// ISO base media file of mobile phones.
    ThreeGpp,
    /// Matroska subset, `video/webm`.
    WebM,
    /// ISO base media file with sound only.
    M4a,
    /// MPEG audio, layer III.
    Mp3,
    /// JPEG picture.
    Jpeg,
    /// PNG picture.
    Png,
    /// Office Open XML word processing document.
    Docx,
    /// Office Open XML presentation.
    Pptx,
    /// `OpenDocument` text.
    Odt,
    /// Portable Document Format.
    Pdf,
    /// Text in UTF-8, or in UTF-16 with a byte order mark.
    Text,
}

impl MediaType {
    /// All variants.
    pub const ALL: [Self; 13] = [
        Self::Mp4,
        Self::QuickTime,
        Self::ThreeGpp,
        Self::WebM,
        Self::M4a,
        Self::Mp3,
        Self::Jpeg,
        Self::Png,
        Self::Docx,
        Self::Pptx,
        Self::Odt,
        Self::Pdf,
        Self::Text,
    ];

    /// The registered name, such as `video/mp4`.
    pub const fn as_str(self) -> &'static str {
        self.file_type().media_type
    }

    /// What files of this type are to their reader.
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Mp4 | Self::QuickTime | Self::ThreeGpp | Self::WebM => MediaKind::Video,
            Self::M4a | Self::Mp3 => MediaKind::Audio,
            Self::Jpeg | Self::Png => MediaKind::Picture,
            Self::Docx | Self::Pptx | Self::Odt | Self::Pdf | Self::Text => MediaKind::Document,
        }
    }

    /// Whether files of this type are ISO base media files, which look alike from outside: which codecs are in them, and
    /// whether there is a picture, only their index tells.
    pub const fn is_iso_media(self) -> bool {
        matches!(self, Self::Mp4 | Self::QuickTime | Self::ThreeGpp | Self::M4a)
    }

    /// Whether files of this type are ZIPs, whose end shows what they are: see [`crate::sniff_zip_end`].
    pub const fn is_zip(self) -> bool {
        matches!(self, Self::Docx | Self::Pptx | Self::Odt)
    }

    /// The type that a file name's extension claims. Upper and lower case are the same.
    pub fn from_extension(file_name: &str) -> Option<Self> {
        FileType::of_file_name(file_name)?.accepted
    }
}

impl From<MediaType> for &'static str {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str()
    }
}

impl TryFrom<String> for MediaType {
    type Error = UnknownMediaType;

    /// Reads a stored name, which is exactly that of [`MediaType::as_str`].
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or(UnknownMediaType)
    }
}

impl JsonSchema for MediaType {
    fn schema_name() -> Cow<'static, str> {
        "MediaType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "enum": Self::ALL.map(Self::as_str),
            "description": "A type of file that a teacher may upload.",
        })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text does not name a [`MediaType`].
#[derive(Debug, thiserror::Error)]
#[error("not an accepted media type")]
pub struct UnknownMediaType;

impl FromStr for MediaType {
    type Err = UnknownMediaType;

    /// Reads a `Content-Type` value by its [`canonical`] name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = canonical(text);
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or(UnknownMediaType)
    }
}

/// The name of a media type, without parameters and in lower case, where all names of one type become one:
/// `audio/x-wav` and `audio/vnd.wave` are `audio/wav`, and a type with the suffix `+json` or `+xml` is JSON or XML.
pub fn canonical(content_type: &str) -> String {
    let essence = essence(content_type);
    let name = match essence.as_str() {
        "application/x-pdf" => "application/pdf",
        "application/mp4" | "video/x-m4v" | "video/x-mp4" => "video/mp4",
        "text/json" | "application/x-json" => "application/json",
        "text/xml" => "application/xml",
        "text/javascript" | "application/x-javascript" => "application/javascript",
        "application/srt" | "application/x-srt" | "text/srt" | "text/x-srt" | "text/x-subrip" => {
            "application/x-subrip"
        }
        "application/gzip" | "application/x-gzip" => "application/gzip",
        "application/x-zip" | "application/x-zip-compressed" => "application/zip",
        "audio/wave" | "audio/x-wav" | "audio/vnd.wave" | "audio/x-pn-wav" => "audio/wav",
        "audio/mp3" | "audio/x-mp3" | "audio/x-mpeg" | "audio/mpeg3" | "audio/x-mpeg-3" => "audio/mpeg",
        "audio/m4a" | "audio/x-m4a" | "audio/mp4a-latm" => "audio/mp4",
        "video/3gp" | "audio/3gpp" | "video/3gpp2" | "audio/3gpp2" => "video/3gpp",
        "audio/x-flac" => "audio/flac",
        "audio/x-matroska" => "audio/matroska",
        "video/x-matroska" => "video/matroska",
        "video/avi" | "video/msvideo" => "video/x-msvideo",
        "application/ogg" | "audio/x-ogg" => "audio/ogg",
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "image/x-png" | "image/apng" => "image/png",
        "image/heif" | "image/heic-sequence" | "image/heif-sequence" => "image/heic",
        other if other.ends_with("+json") => "application/json",
        other if other.ends_with("+xml") => "application/xml",
        other => other,
    };
    name.to_owned()
}

/// A `Content-Type` value in lower case, without parameters such as `; charset=utf-8`.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Audio/X-WAV", "audio/wav")]
    #[case("audio/vnd.wave; codecs=1", "audio/wav")]
    #[case("text/xml", "application/xml")]
    #[case("image/svg+xml", "application/xml")]
    #[case("application/problem+json", "application/json")]
    #[case("text/srt", "application/x-subrip")]
    #[case("application/vnd.example", "application/vnd.example")]
    #[case("", "")]
    fn f08_all_names_of_one_type_are_one(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(canonical(name), expected);
        assert_eq!(canonical(expected), expected);
    }

    #[test]
    fn f08_every_accepted_type_keeps_its_name() {
        for media_type in MediaType::ALL {
            assert_eq!(media_type.as_str().to_uppercase().parse::<MediaType>().unwrap(), media_type);
        }
    }
}
