//! Prints the type and the content of a file: `cargo run -p lectern-content --example inspect -- samples/lesson.mp4`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the output of the example")]

use std::{env, error::Error, fs, io::Cursor, process::ExitCode};

use lectern_content::{Cue, MediaType, docx, mp4, sniff, srt, text, vtt};

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
    let media_type = sniff(&bytes[..bytes.len().min(64 * 1024)]);
    println!("{path}: {}", media_type.map_or("no accepted media type", MediaType::as_str));
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

fn print(cues: &[Cue]) {
    for cue in cues {
        println!("{} to {} ms: {}", cue.start_ms, cue.end_ms, cue.text);
    }
}
