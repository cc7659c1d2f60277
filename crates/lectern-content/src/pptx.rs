//! PPTX: the text of a presentation (ECMA-376, part 1, `PresentationML`).

use std::io::Read;

use crate::{
    ContentError, Limits,
    package::{Package, Relationship},
    xml::{self, Extracted, Node},
};

/// Elements whose content is not part of the text: fields such as the number of the slide, and the second rendering for
/// old readers in `mc:AlternateContent`.
const SKIPPED: [&str; 2] = ["fld", "Fallback"];

/// Extracts the paragraphs of the slides, each followed by `\n`, in the order in which they are shown. The speaker's
/// notes follow their slide, and a blank line separates the slides. Diagrams (`SmartArt`), charts, comments and the
/// layouts that slides are made from are left out.
///
/// The limits are those of [`crate::docx`]; a presentation has at most [`Limits::SLIDES`] slides.
pub fn extract_text(bytes: &[u8]) -> Result<String, ContentError> {
    let mut package =
        Package::open(bytes, "it is in the format of an old version of PowerPoint; please save it as .pptx")?;
    let main = package.main_part("ppt/presentation.xml")?;
    let part = package
        .part(&main)?
        .ok_or_else(|| ContentError::malformed("it is a ZIP, but not a PowerPoint presentation"))?;
    let ids = package.read(part, |xml| slide_ids(xml))?;
    let slides = package.relationships(&main)?;
    let mut text = Extracted::default();
    for id in ids {
        let Some(slide) = target(&slides, |slide| slide.id == id) else { continue };
        let slide = slide.to_owned();
        if !text.as_str().is_empty() {
            text.push("\n")?;
        }
        read_part(&mut package, &slide, "sld", &mut text)?;
        let parts = package.relationships(&slide)?;
        if let Some(notes) = target(&parts, |part| part.kind.ends_with("/notesSlide")) {
            read_part(&mut package, notes, "notes", &mut text)?;
        }
    }
    Ok(text.finish())
}

fn target(parts: &[Relationship], is_wanted: impl Fn(&Relationship) -> bool) -> Option<&str> {
    parts.iter().find(|part| is_wanted(part)).and_then(|part| part.target.as_deref())
}

/// The ids of the slides' relationships, in the order in which the slides are shown.
fn slide_ids(xml: impl Read) -> Result<Vec<String>, ContentError> {
    let mut ids = Vec::new();
    xml::visit(xml, "presentation", |node| {
        if let Node::Open("sldId", tag) = node
            && let Some(id) = xml::relationship_id(tag)?
        {
            if ids.len() >= Limits::SLIDES {
                return Err(ContentError::TooComplex);
            }
            ids.push(id);
        }
        Ok(())
    })?;
    Ok(ids)
}

/// Adds the text of a slide or of its notes. A part that is missing has no text.
fn read_part(
    package: &mut Package<'_>,
    name: &str,
    root: &str,
    text: &mut Extracted,
) -> Result<(), ContentError> {
    let Some(part) = package.part(name)? else { return Ok(()) };
    package.read(part, |xml| add_paragraphs(xml, root, text))
}

/// Adds the paragraphs of `DrawingML`. Paragraphs without text are left out.
fn add_paragraphs(xml: impl Read, root: &str, text: &mut Extracted) -> Result<(), ContentError> {
    let (mut skipped, mut in_text) = (0_usize, false);
    xml::visit(xml, root, |node| {
        match node {
            Node::Open(name, _) if skipped > 0 || SKIPPED.contains(&name) => skipped += 1,
            Node::Close(_) if skipped > 0 => skipped -= 1,
            Node::Open(name, _) => {
                in_text = name == "t";
                if name == "br" {
                    text.push("\n")?;
                }
            }
            Node::Close("p") if !text.as_str().is_empty() && !text.as_str().ends_with('\n') => {
                text.push("\n")?;
            }
            Node::Close(_) => in_text = false,
            Node::Text(content) if in_text && skipped == 0 => text.push(content)?,
            Node::Text(_) => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests;
