//! Prints the type and the content of a file: `cargo run -p lectern-content --example inspect -- samples/lesson.mp4`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the output of the example")]

use std::{env, error::Error, fs, io::Cursor, process::ExitCode};

use lectern_content::{
    Captions, Kind, MediaType, ZipContent, docx, mp4, sniff, sniff_zip_end, srt, text, vtt,
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
    let media_type = match kind {
        Kind::Accepted(media_type) => Some(media_type),
        Kind::Zip => (sniff_zip_end(&bytes) == ZipContent::Word).then_some(MediaType::Docx),
        Kind::CompoundFile(_) | Kind::TextInOtherEncoding | Kind::Other => None,
    };
    println!(
        "{path}: {}",
        media_type.map_or_else(|| format!("{kind:?}"), |media_type| media_type.to_string())
    );
    match media_type {
        Some(MediaType::Mp4) => println!("{:?}", mp4::facts(Cursor::new(&bytes), bytes.len() as u64)?),
        Some(MediaType::Docx) => println!("{}", docx::extract_text(&bytes)?),
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
