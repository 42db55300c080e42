//! Where a fault is shown: line, column, and the marked text.

use super::*;

fn group(lines: &str) -> String {
    format!("[[listen]]\nname = \"lab\"\n{lines}\n")
}

#[test]
fn a_bad_port_is_marked_inside_its_string() {
    let fault = only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [\"8000\", \"8001,80x\"]"));
    assert_eq!((fault.line, fault.column, marked(&fault)), (4, 24, "80x"));
    assert!(fault.message.starts_with("`ports`: "), "{}", fault.message);
    assert_eq!(fault.key.as_deref(), Some("listen.ports"));
}

#[test]
fn a_port_number_that_is_none_is_marked() {
    let fault = only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [65536]"));
    assert_eq!((fault.line, marked(&fault)), (4, "65536"));
    let fault = only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [-1]"));
    assert_eq!((fault.line, marked(&fault)), (4, "-1"));
    let fault = only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [\"90-80\"]"));
    assert_eq!((fault.line, marked(&fault)), (4, "90-80"));
}

#[test]
fn a_bad_address_is_marked_inside_its_string() {
    for address in ["10.0.0.256", "10.0.0.0/33", "10.0.0.1/24"] {
        let fault = only_fault(&group(&format!("addresses = ['{address}']\nports = [80]")));
        assert_eq!(fault.line, 3);
        assert!(address.contains(marked(&fault)), "{}", marked(&fault));
        assert!(!marked(&fault).is_empty());
    }
}

#[test]
fn every_bad_item_of_a_group_is_reported() {
    let text = group(
        "addresses = [\"10.0.0.256\", \"127.0.0.1\", \"1.2.3.4/33\"]\nports = [\"80x\", 70000]\nmdoe = 1",
    );
    let faults = refused(&text);
    assert_eq!(faults.len(), 5, "{faults:#?}");
    let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [3, 3, 4, 4, 5], "in the order of the text");
}

#[test]
fn a_bad_spec_is_marked_inside_its_string_after_escapes_and_wide_letters() {
    let fault = only_fault(&group("spec = \"tcp\\u003a//127.0.0.1:80x\" # é"));
    assert_eq!((fault.line, fault.column, marked(&fault)), (3, 30, "80x"));
}

#[test]
fn a_column_counts_characters() {
    let fault = only_fault("[log]\nlevel = \"info\" \nformat = \"é\"\n");
    assert_eq!((fault.line, fault.column), (3, 10));
    let fault = only_fault("log = { \"é\" = 1 }\n");
    assert_eq!((fault.line, fault.column, marked(&fault)), (1, 9, "\"é\""));
}

#[test]
fn a_bad_spec_of_the_variable_is_marked_in_the_variable() {
    let inputs = variables(&[("IPCOW__LISTEN", "127.0.0.1:80 127.0.0.1:80x")]);
    let errors = load(&inputs).expect_err("a bad spec");
    let fault = &errors.faults()[0];
    assert_eq!(&*fault.source, "IPCOW__LISTEN=127.0.0.1:80 127.0.0.1:80x");
    assert_eq!((fault.line, fault.column, marked(fault)), (1, 38, "80x"));
}

#[test]
fn a_bad_assignment_is_marked_at_its_value_and_an_unknown_one_at_its_name() {
    let errors = load(&sets(&["log.level=loud"])).expect_err("a bad value");
    assert_eq!(marked(&errors.faults()[0]), "loud");
    let errors = load(&sets(&["log.levle=info"])).expect_err("an unknown key");
    assert_eq!(marked(&errors.faults()[0]), "log.levle");
    assert_eq!(errors.faults()[0].help.as_deref(), Some("did you mean `log.level`?"));
}

#[test]
fn a_group_says_what_it_lacks() {
    let message = |text: &str| only_fault(text).message;
    assert_eq!(message("[[listen]]\nspec = \":80\"\n"), "a group needs a `name`");
    assert_eq!(message(&group("ports = [80]")), "a group needs `addresses`");
    assert_eq!(message(&group("addresses = [\"127.0.0.1\"]")), "a group needs `ports`");
    assert_eq!(message(&group("")), "a group needs `addresses`");
    assert_eq!(message(&group("spec = []")), "`spec` names no endpoint");
    assert_eq!(only_fault(&group("")).line, 1);
    assert_eq!(
        message(&group("spec = \":80\"\nports = [80]")),
        "`spec` stands beside `addresses`, `ports` or `protocols`"
    );
}

#[test]
fn a_name_is_legal_and_taken_once() {
    let named = |name: &str| format!("[[listen]]\nname = {name}\nspec = \":80\"\n");
    for bad in ["\"\"", "\"Lab\"", "\"a b\"", "\"é\"", "5", &format!("\"{}\"", "x".repeat(65))] {
        let fault = only_fault(&named(bad));
        assert!(fault.message.starts_with("`name` of a group cannot be "), "{}", fault.message);
    }
    let fault = only_fault(&(named("\"a\"") + &named("\"a\"")));
    assert_eq!(fault.message, "the group \"a\" is named twice");
    assert_eq!((fault.line, fault.column), (5, 8));
    let inline = "listen = [{name='a', spec=':1'}, {name='a', spec=':2'}]\n";
    assert_eq!(only_fault(inline).message, "the group \"a\" is named twice");
}

#[test]
fn an_empty_or_wrong_list_is_marked() {
    let fault = only_fault(&group("addresses = []\nports = [80]"));
    assert_eq!((fault.line, marked(&fault)), (3, "[]"));
    let fault = only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [80, true]"));
    assert_eq!((fault.line, marked(&fault)), (4, "true"));
    let fault =
        only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [80]\nprotocols = [\"sctp\"]"));
    assert_eq!(fault.message, "unknown protocol \"sctp\"");
    let fault = only_fault(&group("addresses = [\"127.0.0.1\"]\nports = [80]\nprotocols = []"));
    assert_eq!(fault.key.as_deref(), Some("listen.protocols"));
}

#[test]
fn an_unknown_key_of_a_group_is_marked_with_the_nearest() {
    let fault = only_fault(&group("spec = \":80\"\nprotocol = \"tcp\""));
    assert_eq!(fault.message, "unknown key `listen.protocol`");
    assert_eq!(fault.help.as_deref(), Some("did you mean `protocols`?"));
}

#[test]
fn what_is_no_toml_is_marked_where_it_stops_being_it() {
    let fault = only_fault("[log]\nlevel = \n");
    assert_eq!(fault.line, 2);
    assert!(fault.message.starts_with("this is not TOML: "), "{}", fault.message);
    let fault = only_fault("[log]\nlevel = \"info\"\nlevel = \"warn\"\n");
    assert_eq!((fault.line, fault.column), (3, 1));
}

#[test]
fn a_fault_prints_on_one_line_with_its_place() {
    let fault = only_fault("[log]\nlevle = \"info\"\n");
    assert_eq!(
        fault.to_string(),
        "test.toml:2:1: unknown key `log.levle`; did you mean `log.level`?"
    );
    let errors = load(&sets(&["log.levle=info"])).expect_err("unknown");
    assert_eq!(
        errors.to_string(),
        "--set \"log.levle=info\": unknown key `log.levle`; did you mean `log.level`?"
    );
    let errors = load(&variables(&[("IPCOW__LOG__LEVLE", "x")])).expect_err("unknown");
    assert_eq!(
        errors.to_string(),
        "environment IPCOW__LOG__LEVLE: unknown variable `IPCOW__LOG__LEVLE`; \
         did you mean `IPCOW__LOG__LEVEL`?"
    );
}
