//! What others publish is pinned, so that it changes only by a commit.

use super::sources::{captures, files, read};

#[test]
fn s15_packages_are_pinned_with_their_hashes() {
    let requirements = read("requirements.txt");
    let packages: Vec<&str> = requirements.lines().filter(|line| !line.starts_with([' ', '#'])).collect();
    assert!(packages.len() > 20, "{packages:?}");
    for package in packages {
        assert!(
            package.contains("==") && package.ends_with('\\'),
            "{package}: pin its version and its hashes"
        );
    }
    assert!(read("Makefile").contains("pip install --quiet --no-deps --require-hashes"));
}

#[test]
fn s15_actions_are_pinned_by_commit_and_the_toolchain_by_version() {
    let workflows = files(&[".github/workflows"], "yml");
    assert!(!workflows.is_empty());
    for workflow in workflows {
        let uses = captures(r"(?m)uses: (.+)$", &workflow.text);
        let pinned = captures(r"(?m)uses: (\S+@[0-9a-f]{40} # v[0-9.]+)$", &workflow.text);
        assert_eq!(uses, pinned, "{}: left: all actions; right: those pinned by a commit", workflow.path);
    }
    assert_eq!(captures(r#"channel = "(\d+\.\d+\.\d+)""#, &read("rust-toolchain.toml")).len(), 1);
}

#[test]
fn s15_dependencies_are_compared_with_the_advisories_every_day() {
    let workflow = read(".github/workflows/advisories.yml");
    assert!(workflow.contains("cron:") && workflow.contains("make advisories"), "{workflow}");
}
