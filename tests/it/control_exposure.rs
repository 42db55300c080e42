//! Who may use the control API, where it is, and what it survives (fault 54).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::{
    Api, DEADLINE, Ipcow, Lab, Need, Running, connect, echo_tcp, eventually, needs,
};

use crate::sandbox::has_both;

const NOBODY: u32 = 65_534;

/// A service whose control socket is where its environment says.
fn named(name: &str, runtime: &Path) -> Ipcow {
    Ipcow::serve(["tcp://127.0.0.1:0", "--name", name])
        .env("IPCOW__CONTROL__PATH", "auto")
        .env("RUNTIME_DIRECTORY", "")
        .env("XDG_RUNTIME_DIR", &runtime.display().to_string())
}

fn control_of(server: &mut Running) -> Value {
    server.ready().0["control"].clone()
}

/// A folder that everybody may enter.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    folder
}

#[test]
fn instances_of_two_names_have_two_sockets_and_a_third_of_a_taken_name_does_without() {
    if !needs(&[Need::Tool("curl")]) {
        return;
    }
    let runtime = open_folder();
    let folder = runtime.path().join("ipcow");
    let (mut one, mut two) =
        (named("one", runtime.path()).start(), named("two", runtime.path()).start());
    for (server, name) in [(&mut one, "one"), (&mut two, "two")] {
        let path = folder.join(format!("{name}.sock"));
        assert_eq!(control_of(server), path.display().to_string());
        assert_eq!(Api::at(&path).get("/api/v1/summary").expect(200)["instance"], name);
        assert_eq!(path.metadata().expect("it is there").mode() & 0o7777, 0o600);
    }
    assert_eq!(folder.metadata().expect("it is there").mode() & 0o7777, 0o700);

    let mut third = named("one", runtime.path()).start();
    assert_eq!(control_of(&mut third), Value::Null);
    assert!(third.stderr().contains("is taken"), "{}", third.stderr());
    third.terminate().expect_code(0);
    Api::at(folder.join("one.sock")).get("/healthz").expect(200);
    one.terminate().expect_code(0);
    two.terminate().expect_code(0);
    assert_eq!(folder.read_dir().expect("it stays").count(), 0);
}

#[test]
fn what_was_asked_for_and_is_taken_ends_with_69_before_anything_is_opened() {
    let Some(lab) = Lab::open(&[]) else { return };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let file = lab.folder.path().join("file");
    std::fs::write(&file, "precious").expect("a file");
    let socket = lab.folder.path().join("lab.sock");
    let serve = || Ipcow::serve(["tcp://127.0.0.1:0"]);
    serve()
        .args(["--control".as_ref(), socket.as_os_str()])
        .run()
        .expect_refusal(69, &["control.path", "lab.sock", "taken"]);
    serve()
        .set(&format!("control.path={}", socket.display()))
        .run()
        .expect_refusal(69, &["control.path", "taken"]);
    serve()
        .args(["--control".as_ref(), file.as_os_str()])
        .run()
        .expect_refusal(69, &["file", "not a socket"]);
    serve().args(["--admin", &address]).run().expect_refusal(69, &["admin.listen", &address]);
    serve()
        .args(["--control", "/no/such/folder/a.sock"])
        .run()
        .expect_refusal(1, &["control.path", "/no/such/folder/a.sock"]);
    assert_eq!(std::fs::read_to_string(file).expect("untouched"), "precious");
    lab.api.get("/healthz").expect(200);
}

#[test]
fn a_dead_socket_that_kill_left_is_replaced() {
    let Some(lab) = Lab::open(&[]) else { return };
    let path = lab.folder.path().join("lab.sock");
    lab.server.signal(Signal::SIGKILL);
    lab.server.finish();
    assert!(path.exists(), "nobody was left to remove it");
    let mut next =
        Ipcow::serve(["tcp://127.0.0.1:0"]).args(["--control".as_ref(), path.as_os_str()]).start();
    assert_eq!(control_of(&mut next), path.display().to_string());
    lab.api.get("/healthz").expect(200);
    // Whoever takes its place keeps it.
    std::fs::remove_file(&path).expect("the folder is ours");
    let _other = std::os::unix::net::UnixListener::bind(&path).expect("free");
    next.terminate().expect_code(0);
    assert!(path.exists());
}

#[test]
fn an_address_that_others_reach_needs_a_key_that_says_so() {
    let serve = || Ipcow::serve(["tcp://127.0.0.1:0", "--once"]);
    serve()
        .args(["--admin", "0.0.0.0:0"])
        .run()
        .expect_refusal(2, &["admin.listen", "admin.allow_remote"]);
    serve()
        .env("IPCOW__ADMIN__LISTEN", "[::]:0")
        .run()
        .expect_refusal(78, &["admin.listen", "admin.allow_remote"]);
    serve().args(["--admin", "nonsense"]).run().expect_refusal(2, &["--admin", "ADDRESS:PORT"]);
    let done = serve().args(["--admin", "0.0.0.0:0"]).set("admin.allow_remote=true").run();
    assert!(done.expect_code(0).stderr.contains("may read everything"));
    serve().set("control.mode=0666").run().expect_refusal(2, &["control.mode", "0 for others"]);
    serve()
        .set("control.group=no-such-group")
        .set("control.path=auto")
        .run()
        .expect_refusal(78, &["control.group", "no-such-group"]);
}

#[test]
fn the_admin_address_is_left_out_of_the_plan_with_a_finding() {
    let port = TcpListener::bind("127.0.0.1:0").expect("free").local_addr().expect("bound").port();
    let specs =
        [format!("tcp://127.0.0.1:{port},0"), "--admin".into(), format!("127.0.0.1:{port}")];
    let mut server = Ipcow::serve(specs).start();
    let ready = server.ready();
    assert_eq!((ready.endpoints("total"), ready.endpoints("listening")), (1, 1));
    assert_eq!(ready.0["admin"], format!("127.0.0.1:{port}"));
    assert!(server.stderr().contains("covers_admin"), "{}", server.stderr());
    server.terminate().expect_code(0);
    let plan = Ipcow::plan([format!("tcp://127.0.0.1:{port},0")])
        .set(&format!("admin.listen=127.0.0.1:{port}"))
        .run()
        .json();
    assert_eq!(plan["findings"][0]["kind"], "covers_admin", "{plan}");
    assert_eq!((&plan["endpoints"]["total"], &plan["reachable"]), (&json!(1), &json!(true)));
}

/// curl as another user.
fn curl_as(user: u32, api: &Api, path: &str) -> (Option<i32>, String) {
    let curl = api.curl(path);
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    let done = command.arg(curl.get_program()).args(curl.get_args()).output().expect("it runs");
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn nobody_but_the_owner_and_root_may_use_the_socket_unless_a_group_may() {
    if !needs(&[Need::Root, Need::Tool("setpriv"), Need::Tool("curl")]) {
        return;
    }
    let folder = open_folder();
    let path = folder.path().join("a.sock");
    let serve =
        || Ipcow::serve(["tcp://127.0.0.1:0"]).args(["--control".as_ref(), path.as_os_str()]);
    let (api, mut server) = (Api::at(&path), serve().start());
    server.ready();
    let (code, _) = curl_as(NOBODY, &api, "/healthz");
    assert_eq!(code, Some(7), "the kernel lets nobody connect");
    // Even where somebody opened the file, the credentials are asked.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("root may");
    let (code, answer) = curl_as(NOBODY, &api, "/healthz");
    assert_eq!(code, Some(0));
    assert!(answer.contains(" 403 ") && answer.contains(r#""code":"forbidden""#), "{answer}");
    api.get("/healthz").expect(200);
    server.terminate().expect_code(0);

    let group = format!("control.group={NOBODY}");
    let mut server = serve().set(&group).set("control.mode=0660").start();
    server.ready();
    let file = path.metadata().expect("it is there");
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o660, 0, NOBODY));
    assert!(curl_as(NOBODY, &api, "/healthz").1.contains(" 200 "));
    assert_eq!(curl_as(12_345, &api, "/healthz").0, Some(7));
    server.terminate().expect_code(0);
}

#[test]
fn inside_the_sandbox_as_another_user_the_api_works_and_removes_its_socket() {
    if !needs(&[Need::Root, Need::Tool("setpriv"), Need::Tool("curl")]) {
        return;
    }
    let runtime = open_folder();
    let mode = if has_both() { "process.sandbox=on" } else { "process.sandbox=auto" };
    let mut server = named("boxed", runtime.path())
        .set("process.user=nobody")
        .set(mode)
        .args(["--admin", "127.0.0.1:0"])
        .start();
    let ready = server.ready();
    let path = runtime.path().join("ipcow/boxed.sock");
    let (api, admin) = (Api::at(&path), ready.0["admin"].as_str().expect("an address"));
    let file = path.metadata().expect("it is there");
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, NOBODY));
    for path in ["/readyz", "/api/v1/summary", "/api/v1/plan", "/api/v1/errors"] {
        api.get(path).expect(200);
        Api::Address(admin.to_owned()).get(path).expect(200);
    }
    assert!(curl_as(NOBODY, &api, "/api/v1/config").1.contains(" 200 "));
    assert_eq!(api.post("/api/v1/reload", &json!({})).expect(200)["untouched"], 1);
    let added = api.post("/api/v1/endpoints", &json!({ "spec": "tcp://127.0.0.1:0" }));
    assert_eq!(added.expect(200)["opened"], 1);
    server.terminate().expect_code(0);
    assert!(!path.exists(), "its folder is the user's");
}

#[test]
fn what_cannot_be_read_is_refused_with_code_message_and_hint() {
    let Some(lab) = Lab::open(&[]) else { return };
    let send = |path: &str, args: &[&str]| lab.api.send(path, args);
    let post = |path: &str, body: &str| send(path, &["-d", body]);
    let orders = ["suspend", "resume", "drain", "retry"];
    for order in orders.map(|order| format!("/api/v1/{order}")) {
        for body in ["", "{", "[]", "null", r#"{"select":1}"#, r#"{"sel":"*"}"#, "\u{1b}[31m"] {
            post(&order, body).expect_error(400, "bad_request");
        }
        post(&order, r#"{"select":"tcp://\u001b[31m:80"}"#).expect_error(400, "bad_selector");
        post(&order, r#"{"select":"group:nobody"}"#).expect_error(404, "nothing_matches");
        send(&order, &["-X", "GET"]).expect_error(405, "method_not_allowed");
    }
    let endpoints = "/api/v1/endpoints";
    post(endpoints, r#"{"spec":"tcp://127.0.0.1:x"}"#).expect_error(400, "bad_spec");
    post(endpoints, r#"{"spec":"!127.0.0.1:1"}"#).expect_error(400, "bad_spec");
    post(endpoints, r#"{"spec":"tcp://if:no-such-interface:1"}"#).expect_error(400, "bad_spec");
    post(endpoints, r#"{"spec":"tcp://127.0.0.1:1","group":"no"}"#)
        .expect_error(404, "unknown_group");
    post(endpoints, r#"{"spec":"tcp://10.0.0.0/8:*"}"#).expect_error(409, "plan_refused");
    post("/api/v1/reload", r#"{"dry":1}"#).expect_error(400, "bad_request");
    for query in [
        "limit=x",
        "limit=-1",
        "state=no",
        "touched_by=1.2.3.4/8",
        "x=1",
        "limit=1&limit=2",
        "untouched=true&touched_by=1.2.3.4",
        "untouched=maybe",
    ] {
        lab.api.get(&format!("{endpoints}?{query}")).expect_error(400, "bad_request");
    }
    lab.api.get(&format!("{endpoints}?select=%1b%5b31m")).expect_error(400, "bad_selector");
    lab.api.get("/api/v1/workers?x=1").expect_error(400, "bad_request");
    for path in ["/", "/api", "/api/v1/", "/api/v1/endpoints/", "/%1b", "//", "/api/v1/nothing"] {
        let body = lab.api.get(path).expect_error(404, "not_found");
        assert!(body["hint"].as_str().expect("text").contains("/readyz"), "{body}");
    }
    let answer = send("/readyz", &["-X", "POST"]);
    answer.expect_error(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("get, head"));
    let resume = "/api/v1/resume";
    send(resume, &["-H", "Content-Type: text/plain", "-d", r#"{"select":"*"}"#])
        .expect_error(415, "unsupported_media");
    send(resume, &["-H", "Content-Type:", "-d", r#"{"select":"*"}"#]).expect(200);
    send(
        resume,
        &["-H", "Content-Type: Application/JSON; charset=utf-8", "-d", r#"{"select":"*"}"#],
    )
    .expect(200);
    let long = format!(r#"{{"select":"{}"}}"#, "*".repeat(64 * 1024));
    post(resume, &long).expect_error(413, "too_large");
    send(resume, &["-H", "Transfer-Encoding: chunked", "-d", &long]).expect_error(413, "too_large");
    let fits = format!(r#"{{"select":"*"{}}}"#, " ".repeat(64 * 1024 - 14));
    post(resume, &fits).expect(200);
    assert_eq!(lab.states("/api/v1/endpoints?state=listening").len(), 4, "nothing changed");
}

#[test]
fn bytes_that_are_no_request_and_clients_that_say_nothing_end_and_disturb_nobody() {
    let Some(lab) = Lab::open(&["--admin", "127.0.0.1:0"]) else { return };
    let path = lab.folder.path().join("lab.sock");
    let admin = lab.api.get("/api/v1/summary").expect(200)["admin"].clone();
    let admin = admin.as_str().expect("an address").parse().expect("an address");
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(300_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for garbage in [b"\0\xff\xfe\x1b[31m\r\n\r\n".as_slice(), head.as_bytes(), many.as_bytes()] {
        let mut client = UnixStream::connect(&path).expect("it listens");
        client.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
        // It may be cut off while it writes.
        let _cut_off = client.write_all(garbage);
        let mut answer = Vec::new();
        let _reset = client.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // More than the admin address has seats for: the control socket does not notice.
    let silent: Vec<_> = (0..40).map(|_| connect(admin)).collect();
    lab.api.get("/healthz").expect(200);
    echo_tcp(&mut connect(lab.block.at(18_000)), b"undisturbed");
    // They are told off and closed, and others get their seats.
    let waited = Api::Address(admin.to_string());
    waited.get("/healthz").expect(200);
    drop(silent);
    assert!(eventually(DEADLINE, || waited.get("/healthz").status == 200));
    let done = lab.server.terminate().expect_code(0);
    assert!(!done.stderr.contains("ERROR"), "nobody fills the log: {}", done.stderr);
}
