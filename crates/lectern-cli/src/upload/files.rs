//! The files that a command line names.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use lectern::{display_text::Label, document::keys::is_companion};
use unicode_normalization::UnicodeNormalization as _;
use walkdir::{DirEntry, WalkDir};

use crate::problem::Problem;

/// A file to hand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalFile {
    pub(super) path: PathBuf,
    /// Its name as the API shows it.
    pub(super) name: String,
    pub(super) size_bytes: u64,
    /// `None` where the file system does not know it.
    modified: Option<SystemTime>,
}

impl LocalFile {
    fn at(path: PathBuf) -> Result<Self, Problem> {
        let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // macOS stores names in NFD.
        let name = Label::new(&name.nfc().collect::<String>()).to_string();
        Ok(Self { name, size_bytes: metadata.len(), modified: metadata.modified().ok(), path })
    }

    /// Whether the API means this file with a name and a size.
    pub(super) fn is(&self, name: &str, size_bytes: u64) -> bool {
        self.name == name && self.size_bytes == size_bytes
    }

    /// Whether the file is still as it was when the command began.
    pub(super) fn is_unchanged(&self) -> bool {
        let is_same =
            |now: &fs::Metadata| now.len() == self.size_bytes && now.modified().ok() == self.modified;
        fs::metadata(&self.path).is_ok_and(|now| is_same(&now))
    }
}

pub(super) struct Found {
    pub(super) files: Vec<LocalFile>,
    /// Companion files, and links to folders.
    pub(super) skipped: Vec<PathBuf>,
}

/// The files of these paths, each once, with the files in folders and their subfolders.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found, Problem> {
    let mut found = Found { files: Vec::new(), skipped: Vec::new() };
    for path in paths {
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let at = error.path().unwrap_or(path).to_owned();
                unreadable(&at, &error.into())
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let is_named = entry.depth() == 0;
            if !is_named && (is_companion(&entry.file_name().to_string_lossy()) || !leads_to_a_file(&entry)) {
                found.skipped.push(entry.into_path());
            } else if !found.files.iter().any(|file| file.path == entry.path()) {
                found.files.push(LocalFile::at(entry.into_path())?);
            }
        }
    }
    Ok(found)
}

/// A link to a folder could lead in a circle.
fn leads_to_a_file(entry: &DirEntry) -> bool {
    fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file())
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(
        format!("{} could not be read: {error}", path.display()),
        "Check the path and the file's permissions.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f07_folders_are_searched_and_companion_files_skipped() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();
        for name in ["b.docx", "a.mp4", "more/c.pdf", ".DS_Store", "._a.mp4", "~$b.docx", "more/Thumbs.db"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let paths = [folder.path().join("a.mp4"), folder.path().to_owned()];
        let Found { files, skipped } = find(&paths).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.mp4", "b.docx", "c.pdf"], "a file that is named twice is handed in once");
        let mut skipped: Vec<_> =
            skipped.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        skipped.sort_unstable();
        assert_eq!(skipped, [".DS_Store", "._a.mp4", "Thumbs.db", "~$b.docx"]);
    }

    #[cfg(unix)]
    #[test]
    fn link_to_a_folder_is_skipped_and_one_to_a_file_is_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.mp4"), "long content").unwrap();
        symlink(folder.path(), folder.path().join("circle")).unwrap();
        symlink(folder.path().join("a.mp4"), folder.path().join("b.mp4")).unwrap();
        let Found { files, skipped } = find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(files.iter().map(|file| file.size_bytes).collect::<Vec<_>>(), [12, 12]);
        assert_eq!(skipped, [folder.path().join("circle")]);
    }

    #[test]
    fn name_is_as_the_api_shows_it_and_a_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Pra\u{308}sentation\u{202e}.pdf");
        fs::write(&path, "one").unwrap();
        let file = LocalFile::at(path.clone()).unwrap();
        assert_eq!(file.name, "Pr\u{e4}sentation.pdf");
        assert!(file.is_unchanged());
        fs::write(&path, "other").unwrap();
        assert!(!file.is_unchanged());
    }

    #[test]
    fn path_that_does_not_exist_is_a_problem() {
        let problem = find(&[PathBuf::from("/nowhere/lesson.mp4")]).err().unwrap();
        assert!(problem.what.starts_with("/nowhere/lesson.mp4 could not be read"), "{}", problem.what);
    }
}
