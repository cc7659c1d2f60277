//! The table of file types and the docs that show it agree.
//!
//! `UPDATE_FILES=1` in the environment of these tests rewrites the tables in `docs/files.md`.

use lectern_content::{BrowserSupport, FileType, MediaKind};

use super::sources::{read, root};

const DOCS: &str = "docs/files.md";
/// The comments that stand before the tables.
const ACCEPTED: &str = "<!-- accepted -->\n";
const REFUSED: &str = "<!-- refused -->\n";

#[test]
fn docs_show_the_table_of_file_types() {
    let docs = read(DOCS);
    let expected = with_table(&with_table(&docs, ACCEPTED, &accepted()), REFUSED, &refused());
    if std::env::var_os("UPDATE_FILES").is_some() {
        std::fs::write(root().join(DOCS), expected).unwrap();
        return;
    }
    assert!(
        docs == expected,
        "{DOCS} differs from the table of file types; run\n\
         UPDATE_FILES=1 cargo test -p lectern-tests --test contract file_types\nand read the diff"
    );
}

/// The docs with this table behind a comment, instead of the one that stands there.
fn with_table(docs: &str, comment: &str, table: &str) -> String {
    let (before, after) = docs.split_once(comment).expect("the docs have the comment");
    let rest = after.trim_start_matches('\n').split_inclusive('\n').skip_while(|line| line.starts_with('|'));
    let rest: String = rest.collect();
    format!("{before}{comment}\n{table}\n{}", rest.trim_start_matches('\n'))
}

fn accepted() -> String {
    let rows = FileType::all().filter(|row| row.accepted.is_some()).map(|row| {
        let browsers = match row.plays_in_browsers {
            Some(BrowserSupport::Yes) => "yes",
            Some(BrowserSupport::Depends) => "depends",
            Some(BrowserSupport::No) | None => "no",
        };
        format!(
            "| {} | {} | `{}` | {browsers} | {} |\n",
            extensions(&row),
            kind(&row),
            row.media_type,
            row.advice.unwrap_or_default()
        )
    });
    let header = "| extensions | kind | media type | browsers | advice |\n|---|---|---|---|---|\n".to_owned();
    std::iter::once(header).chain(rows).collect()
}

fn refused() -> String {
    let rows = FileType::all().filter(|row| row.accepted.is_none()).map(|row| {
        format!(
            "| {} | {} | The file is {}. {} |\n",
            extensions(&row),
            kind(&row),
            row.title,
            row.advice.unwrap_or_default()
        )
    });
    let header = "| extensions | kind | what the teacher reads |\n|---|---|---|\n".to_owned();
    std::iter::once(header).chain(rows).collect()
}

fn extensions(row: &FileType) -> String {
    row.extensions.iter().map(|extension| format!("`.{extension}`")).collect::<Vec<_>>().join(", ")
}

fn kind(row: &FileType) -> &'static str {
    row.kind.map_or("–", MediaKind::as_str)
}
