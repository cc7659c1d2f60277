//! Prints the type and the content of a file: `cargo run -p lectern-content --example inspect -- samples/lesson.mp4`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the output of the example")]

use std::{env, error::Error, fs, io::Cursor, process::ExitCode};

use lectern_content::{
    Captions, Kind, MediaType, ZipContent, docx, mp3, mp4, odt, picture, pptx, sniff, sniff_zip_end, srt,
    text, vtt,
};

fn main() -> ExitCode {
    inspect().map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn inspect() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: inspect FILE")?;
    let bytes = fs::read(&path)?;
    let kind = sniff(&bytes[..bytes.len().min(64 * 1024)]);
    let claimed = MediaType::from_extension(&path);
    let media_type = match kind {
        Kind::Accepted(media_type) => Some(media_type),
        Kind::IsoMedia => Some(claimed.filter(|claimed| claimed.is_iso_media()).unwrap_or(MediaType::Mp4)),
        Kind::Zip => match sniff_zip_end(&bytes) {
            ZipContent::Word => Some(MediaType::Docx),
            ZipContent::Presentation => Some(MediaType::Pptx),
            ZipContent::OpenDocument => Some(MediaType::Odt),
            ZipContent::WithMacros
            | ZipContent::EncryptedOpenDocument
            | ZipContent::Other
            | ZipContent::Truncated => None,
        },
        Kind::CompoundFile(_) | Kind::Refused(_) | Kind::TextInOtherEncoding | Kind::Other => None,
    };
    println!(
        "{path}: {}",
        media_type.map_or_else(|| format!("{kind:?}"), |media_type| media_type.to_string())
    );
    match media_type {
        Some(MediaType::Mp4 | MediaType::QuickTime | MediaType::ThreeGpp | MediaType::M4a) => {
            println!("{:?}", mp4::facts(Cursor::new(&bytes), bytes.len() as u64)?);
        }
        Some(MediaType::Mp3) => {
            println!("{} ms", mp3::duration_ms(Cursor::new(&bytes), bytes.len() as u64)?);
        }
        Some(MediaType::Jpeg | MediaType::Png) => println!("{:?}", picture::facts(&bytes)?),
        Some(MediaType::Docx) => println!("{}", docx::extract_text(&bytes)?),
        Some(MediaType::Pptx) => println!("{}", pptx::extract_text(&bytes)?),
        Some(MediaType::Odt) => println!("{}", odt::extract_text(&bytes)?),
        Some(MediaType::Text) if path.to_ascii_lowercase().ends_with(".vtt") => print(&vtt::parse(&bytes)?),
        Some(MediaType::Text) if path.to_ascii_lowercase().ends_with(".srt") => print(&srt::parse(&bytes)?),
        Some(MediaType::Text) => println!("{}", text::decode(&bytes)?),
        Some(MediaType::WebM | MediaType::Pdf) | None => {}
    }
    Ok(())
}

fn print(captions: &Captions) {
    for cue in &captions.cues {
        println!("{} to {} ms: {}", cue.start_ms, cue.end_ms, cue.text);
    }
    println!("Dropped cues: {}", captions.dropped);
}
