//! How groups of several layers meet.

use super::*;

fn names(inputs: &Inputs) -> Vec<String> {
    let config = load(inputs).unwrap_or_else(|faults| panic!("{faults}")).config;
    config.groups.into_iter().map(|group| group.name).collect()
}

fn in_files(texts: &[&str]) -> (tempfile::TempDir, Inputs) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut inputs = Inputs::default();
    for (index, text) in texts.iter().enumerate() {
        let path = directory.path().join(format!("{index}.toml"));
        std::fs::write(&path, text).expect("a file");
        inputs.config_files.push(path);
    }
    (directory, inputs)
}

const ONE: &str = "[[listen]]\nname = \"one\"\nspec = \"127.0.0.1:1\"\nmode = \"discard\"\n";
const TWO: &str = "[[listen]]\nname = \"two\"\nspec = \"127.0.0.1:2\"\n";
const ONE_AGAIN: &str = "[[listen]]\nname = \"one\"\nspec = \"127.0.0.1:3\"\n";

#[test]
fn a_file_without_groups_keeps_the_built_in_one() {
    let (_directory, inputs) = in_files(&["# nothing\n", "[log]\nlevel = \"warn\"\n"]);
    assert_eq!(names(&inputs), ["lab"]);
}

#[test]
fn a_group_of_any_file_drops_the_built_in_one() {
    let (_directory, inputs) = in_files(&["# nothing\n", TWO]);
    assert_eq!(names(&inputs), ["two"]);
}

#[test]
fn groups_of_several_files_join_by_name_and_the_later_replaces_the_whole() {
    let (_directory, inputs) = in_files(&[ONE, TWO, ONE_AGAIN]);
    assert_eq!(names(&inputs), ["one", "two"]);
    let config = load(&inputs).expect("legal").config;
    assert_eq!(config.groups[0].specs[0].to_string(), "127.0.0.1:3");
    assert_eq!(config.groups[0].settings.mode, Mode::Echo, "nothing of the earlier one stays");
}

#[test]
fn the_variable_replaces_all_groups_by_one() {
    let (_directory, mut inputs) = in_files(&[ONE, TWO]);
    inputs.env = vec![("IPCOW__LISTEN".to_owned(), " 127.0.0.1:7  both://[::1]:8 ".to_owned())];
    inputs.sets = vec!["listen_defaults.mode=discard".to_owned()];
    let config = load(&inputs).expect("legal").config;
    assert_eq!(config.groups.len(), 1);
    let group = &config.groups[0];
    assert_eq!(group.name, "cli");
    assert_eq!(group.settings.mode, Mode::Discard, "the defaults feed it too");
    let specs: Vec<String> = group.specs.iter().map(ToString::to_string).collect();
    assert_eq!(specs, ["127.0.0.1:7", "both://[::1]:8"]);
}

#[test]
fn arguments_replace_all_groups_and_the_variable() {
    let (_directory, mut inputs) = in_files(&[ONE]);
    inputs.env = vec![("IPCOW__LISTEN".to_owned(), "127.0.0.1:7".to_owned())];
    inputs.specs = vec!["127.0.0.1:9".to_owned()];
    inputs.excludes = vec!["127.0.0.1:10".to_owned()];
    let config = load(&inputs).expect("legal").config;
    assert_eq!(config.groups.len(), 1);
    assert_eq!(config.groups[0].specs[0].to_string(), "127.0.0.1:9");
    assert_eq!(config.excludes[0].to_string(), "127.0.0.1:10");
}

#[test]
fn a_group_says_lists_or_single_strings_and_numbers() {
    let text = "[[listen]]\nname = \"x\"\naddresses = \"127.0.0.1,127.0.0.2\"\nports = 80\n";
    let config = load_str("test.toml", text).expect("legal").config;
    assert_eq!(config.groups[0].specs[0].to_string(), "tcp://127.0.0.1,127.0.0.2:80");
}

#[test]
fn a_group_may_hold_several_specs() {
    let text = "[[listen]]\nname = \"x\"\nspec = [\"127.0.0.1:1-9\", \"!127.0.0.1:5\"]\n";
    let config = load_str("test.toml", text).expect("legal").config;
    assert!(config.groups[0].specs[1].is_exclusion());
}

#[test]
fn the_group_name_cli_is_free_for_files() {
    let text = "[[listen]]\nname = \"cli\"\nspec = \":80\"\n";
    assert_eq!(load_str("test.toml", text).expect("legal").config.groups[0].name, "cli");
}
