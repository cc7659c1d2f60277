//! The signatures of the formats that Lectern accepts, and of those that are mistaken for them.

/// PDF readers accept this many bytes before the signature.
const PDF_SIGNATURE_WITHIN: usize = 1024;

/// Whether a PDF can start with these bytes.
pub(super) fn pdf(first_bytes: &[u8]) -> bool {
    let start = &first_bytes[..first_bytes.len().min(PDF_SIGNATURE_WITHIN)];
    start.windows(5).any(|window| window == b"%PDF-")
}

/// Whether the bytes start with a PDF's version. Unlike [`pdf`], a text that mentions `%PDF-` does not.
pub(super) fn pdf_version(first_bytes: &[u8]) -> bool {
    let start = first_bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first_bytes).trim_ascii_start();
    matches!(start, [b'%', b'P', b'D', b'F', b'-', b'0'..=b'9', b'.', b'0'..=b'9', ..])
}

/// The major brand of an ISO base media file: the `ftyp` box at its start, or behind boxes without meaning.
pub(super) fn major_brand(first_bytes: &[u8]) -> Option<[u8; 4]> {
    const LONGEST_FTYP: usize = 4096;

    let mut rest = first_bytes;
    loop {
        let (size, after) = rest.split_first_chunk()?;
        let (kind, body) = after.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        match kind {
            b"ftyp" if (16..=LONGEST_FTYP).contains(&size) => {
                let brand = *body.first_chunk()?;
                return brand.iter().all(|byte| (b' '..=b'~').contains(byte)).then_some(brand);
            }
            b"free" | b"skip" | b"wide" | b"pdin" if size >= 8 => rest = rest.get(size..)?,
            _ => return None,
        }
    }
}

/// Whether this is the start of an old `QuickTime` movie without a brand: the first box that means something is its
/// index, its media or its preview.
pub(super) fn old_quicktime(first_bytes: &[u8]) -> bool {
    let mut rest = first_bytes;
    while let Some((size, after)) = rest.split_first_chunk() {
        let size = u32::from_be_bytes(*size);
        match after.first_chunk() {
            Some(b"moov" | b"mdat" | b"pnot") => return size == 1 || size >= 8,
            Some(b"free" | b"skip" | b"wide") if size >= 8 => {
                rest = usize::try_from(size).ok().and_then(|size| rest.get(size..)).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

/// Whether the brand is one of HEIF pictures with the codec HEVC, which phones take.
pub(super) fn is_heic_brand(brand: [u8; 4]) -> bool {
    matches!(
        &brand,
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" | b"mif1" | b"msf1"
    )
}

/// Whether the brand is one of still pictures and bursts: HEIF, AVIF, JPEG XL, and raw photos of Canon's cameras.
pub(super) fn is_image_brand(brand: [u8; 4]) -> bool {
    const IMAGES: [[u8; 4]; 17] = [
        *b"heic", *b"heix", *b"heim", *b"heis", *b"hevc", *b"hevx", *b"hevm", *b"hevs", *b"mif1", *b"mif2",
        *b"msf1", *b"miaf", *b"avif", *b"avis", *b"jxl ", *b"crx ", *b"jp2 ",
    ];
    IMAGES.contains(&brand)
}

/// The media type that an `OpenDocument` or an e-book states in its first entry, which is stored uncompressed.
pub(super) fn zip_mimetype(first_bytes: &[u8]) -> Option<&str> {
    const LONGEST: usize = 100;

    let header = first_bytes.strip_prefix(LOCAL_FILE)?;
    let length = |at: usize| Some(usize::from(u16::from_le_bytes(*header.get(at..)?.first_chunk()?)));
    let size = usize::try_from(u32::from_le_bytes(*header.get(14..)?.first_chunk()?)).ok()?;
    let (name, extra) = (length(22)?, length(24)?);
    let is_stored = length(4)? == 0;
    if !is_stored || header.get(26..26 + name)? != b"mimetype" || !(1..=LONGEST).contains(&size) {
        return None;
    }
    let start = 26 + name + extra;
    std::str::from_utf8(header.get(start..start + size)?).ok()
}

const LOCAL_FILE: &[u8] = b"PK\x03\x04";

/// Whether a ZIP starts with these bytes.
pub(super) fn zip(first_bytes: &[u8]) -> bool {
    let spanned = [b"PK\x07\x08", b"PK00"].into_iter().find_map(|marker| first_bytes.strip_prefix(marker));
    spanned.unwrap_or(first_bytes).starts_with(LOCAL_FILE) || first_bytes.starts_with(b"PK\x05\x06")
}

/// Whether an OLE compound file starts with these bytes ([MS-CFB] 2.2).
pub(super) fn compound_file(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1])
}

/// Whether a compound file has an entry of this name. An entry's name is UTF-16.
pub(super) fn has_entry(compound_file: &[u8], name: &str) -> bool {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    compound_file.windows(name.len()).any(|window| window == name)
}
