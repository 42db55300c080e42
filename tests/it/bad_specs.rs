//! Endpoint specs that must be refused (faults 1, 2, 3 and 5): exit 2 with a caret when
//! they are arguments, 78 with file and line when they stand in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{Block, Ipcow, NO_SPECS, Need, binary, needs};

/// A spec and the part of it that is at fault.
const FAULTY: [(&str, &str); 9] = [
    ("tcp://127.0.0.1:65536", "65536"),
    ("tcp://127.0.0.1:-1", "-1"),
    ("tcp://127.0.0.1:80x", "80x"),
    ("tcp://127.0.0.1:90-80", "90-80"),
    ("tcp://10.0.0.256:80", "10.0.0.256"),
    ("tcp://10.0.0.0/33:80", "10.0.0.0/33"),
    ("tcp://10.0.0.1/24:80", "10.0.0.1/24"),
    ("tcp://10.0.0.9-10.0.0.2:80", "10.0.0.9-10.0.0.2"),
    ("ftp://127.0.0.1:80", "ftp"),
];

fn write(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("ipcow.toml");
    std::fs::write(&file, text).expect("the folder is writable");
    file
}

/// Runs `ipcow` with these words and measures it.
fn measure(words: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/measure.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(binary())
        .args(words)
        .output()
        .expect("python3 starts");
    serde_json::from_slice(&output.stdout).expect("the script prints one document")
}

#[test]
fn a_faulty_argument_ends_with_2_and_a_caret_under_the_fault() {
    for (spec, fault) in FAULTY {
        let done = Ipcow::serve([spec]).run().expect_refusal(2, &[spec, fault, "^"]);
        assert_eq!(done.stdout, "", "{spec}");
    }
}

#[test]
fn a_faulty_spec_in_a_file_ends_with_78_and_names_file_line_and_key() {
    let folder = tempfile::tempdir().expect("a folder");
    for (spec, fault) in FAULTY {
        let file =
            write(folder.path(), &format!("\n[[listen]]\nname = \"lab\"\nspec = \"{spec}\"\n"));
        let args = ["serve", "--json", "--config"];
        Ipcow::new(args)
            .args([&file])
            .run()
            .expect_refusal(78, &[fault, "ipcow.toml:4", "spec", "^"]);
    }
}

#[test]
fn a_faulty_port_item_in_a_list_is_pointed_at_where_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        "[[listen]]\nname = \"lab\"\naddresses = [\"127.0.0.1\"]\nports = [8000, \"90-80\"]\n";
    let file = write(folder.path(), text);
    let done = Ipcow::new(["check", "--config"]).args([&file]).run();
    done.expect_refusal(78, &["90-80", "ipcow.toml:4", "ports", "^"]);
}

#[test]
fn a_faulty_spec_in_the_environment_ends_with_78_and_names_the_variable() {
    let started = Ipcow::serve(NO_SPECS).env("IPCOW__LISTEN", "tcp://127.0.0.1:65536");
    started.run().expect_refusal(78, &["IPCOW__LISTEN", "65536"]);
}

#[test]
fn cidrs_with_host_bits_are_refused_with_the_network_they_may_mean() {
    Ipcow::serve(["tcp://10.0.0.1/24:80"]).run().expect_refusal(2, &["10.0.0.0/24"]);
}

#[test]
fn a_product_past_the_cap_is_refused_at_once_and_without_building_it() {
    if !needs(&[Need::Tool("python3")]) {
        return;
    }
    let cost = measure(&["serve", "--json", "--config", "none", "tcp://10.0.0.0/8:1-65535"]);
    assert_eq!(cost["code"], 2, "{cost}");
    assert!(cost["cpu_seconds"].as_f64().expect("a number") < 1.0, "{cost}");
    assert!(cost["max_rss_kib"].as_u64().expect("a number") < 50 * 1024, "{cost}");
    assert!(cost["stderr"].as_str().expect("text").contains("limits.max_endpoints"), "{cost}");
}

#[test]
fn every_address_of_ipv6_on_every_port_overflows_nothing() {
    Ipcow::plan(["both://[::/0]:*"]).run().expect_refusal(2, &["limits.max_endpoints"]);
}

#[test]
fn a_wildcard_and_one_of_its_addresses_on_one_port_are_refused() {
    let done = Ipcow::serve(["tcp://0.0.0.0:18000", "tcp://127.0.0.1:18000"]).run();
    done.expect_refusal(2, &["0.0.0.0:18000", "127.0.0.1:18000"]);
}

#[test]
fn an_empty_result_names_the_exclusion_that_emptied_it() {
    let done =
        Ipcow::serve(["tcp://127.0.0.1:18000-18009", "--exclude", "tcp://127.0.0.1:*"]).run();
    done.expect_refusal(2, &["tcp://127.0.0.1:*"]);
}

#[test]
fn overlapping_ranges_are_served_once_and_warned_about() {
    let block = Block::new();
    let ip = block.ip(0);
    let mut server =
        Ipcow::serve([format!("tcp://{ip}:18000-18009"), format!("tcp://{ip}:18005-18014,18000")])
            .start();
    let ready = server.ready();
    assert_eq!(ready.endpoints("total"), 15);
    assert_eq!(ready.endpoints("listening"), 15);
    let done = server.terminate().expect_code(0);
    assert!(done.stderr.to_lowercase().contains("duplicate"), "{done:#?}");
}

#[test]
fn an_exclusion_wins_in_any_order() {
    let block = Block::new();
    for specs in [
        [format!("!tcp://{}:18003", block.ip(0)), format!("tcp://{}:18000-18009", block.ip(0))],
        [format!("tcp://{}:18000-18009", block.ip(0)), format!("!tcp://{}:18003", block.ip(0))],
    ] {
        let plan = Ipcow::plan(&specs).run().expect_code(0).json();
        assert_eq!(plan["endpoints"]["total"], 9, "{specs:?}");
    }
}
