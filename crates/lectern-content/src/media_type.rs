//! The media types that teachers may upload, and how a file's first bytes show which one it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of file that Lectern accepts from a teacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum MediaType {
    /// ISO base media, `video/mp4`.
    #[serde(rename = "video/mp4")]
    Mp4,
    /// Matroska subset, `video/webm`.
    #[serde(rename = "video/webm")]
    WebM,
    /// Office Open XML word processing document.
    #[serde(rename = "application/vnd.openxmlformats-officedocument.wordprocessingml.document")]
    Docx,
    /// Portable Document Format.
    #[serde(rename = "application/pdf")]
    Pdf,
    /// UTF-8 text.
    #[serde(rename = "text/plain")]
    Text,
}

impl MediaType {
    /// All of them, in a stable order.
    pub const ALL: [Self; 5] = [Self::Mp4, Self::WebM, Self::Docx, Self::Pdf, Self::Text];

    /// The registered name, such as `video/mp4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::WebM => "video/webm",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Pdf => "application/pdf",
            Self::Text => "text/plain",
        }
    }

    /// The type that a file name's extension claims, whatever its case.
    pub fn from_extension(file_name: &str) -> Option<Self> {
        let (_, extension) = file_name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "mp4" | "m4v" => Some(Self::Mp4),
            "webm" => Some(Self::WebM),
            "docx" => Some(Self::Docx),
            "pdf" => Some(Self::Pdf),
            "txt" | "text" => Some(Self::Text),
            _ => None,
        }
    }

    /// Whether it is a video, whose record has media facts and a transcript rather than findings.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Mp4 | Self::WebM)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not one of the media types that Lectern accepts.
#[derive(Debug, thiserror::Error)]
#[error("not an accepted media type")]
pub struct UnknownMediaType;

impl FromStr for MediaType {
    type Err = UnknownMediaType;

    /// Reads a `Content-Type` value; parameters such as `; charset=utf-8` are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("video/x-m4v") {
            return Ok(Self::Mp4);
        }
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(essence))
            .ok_or(UnknownMediaType)
    }
}
