//! What a program gets that embeds the library alone: how many crates that is, and that
//! a crate of somebody else builds and runs on the public face.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Crates that `default-features = false` may bring, this one included.
const MOST: usize = 59;

#[test]
fn the_library_without_its_program_is_fewer_than_sixty_crates() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--no-default-features", "--edges", "normal", "--prefix", "none"])
        .args(["--offline", "--locked", "--no-dedupe"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("text");
    let crates: BTreeSet<&str> = tree.lines().collect();
    assert!(crates.len() <= MOST, "{} crates: {crates:#?}", crates.len());
    for unwanted in ["clap", "actix-web", "hyper", "serde_json", "landlock"] {
        assert!(!crates.iter().any(|name| name.split(' ').next() == Some(unwanted)), "{unwanted}");
    }
}

#[test]
fn a_crate_of_somebody_else_embeds_two_services_under_two_runtimes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tested = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--offline", "--locked"])
        .arg("--manifest-path")
        .arg(root.join("tests/embedder/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/embedder"))
        .output()
        .expect("cargo test");
    let said = [&tested.stdout[..], &tested.stderr[..]].map(String::from_utf8_lossy);
    assert!(tested.status.success(), "{}", said.concat());
    assert!(said[0].contains("2 passed"), "{}", said.concat());
}
