//! What a TCP session does with bytes (interface §7; faults 24, 29 and 30).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::SockRef;

use crate::common::{Ipcow, Running, connect, echo_all_tcp, echo_tcp, random_bytes, read_to_fin};

const QUIT: &[u8] = b"!!quit!!";

fn serving(settings: &[&str]) -> (Running, SocketAddr) {
    let command =
        settings.iter().fold(Ipcow::serve(["tcp://127.0.0.1:0"]), |so_far, one| so_far.set(one));
    let mut server = command.start();
    let at = server.ready().tcp();
    (server, at)
}

fn without_termination() -> (Running, SocketAddr) {
    serving(&["listen_defaults.termination=\"\""])
}

/// Sends `parts` so that each is a read of its own (the echo of one is awaited before
/// the next), then reads to FIN. The last part's echo comes with the rest.
fn in_parts(at: SocketAddr, parts: &[&[u8]]) -> Vec<u8> {
    let mut stream = connect(at);
    let (last, first) = parts.split_last().expect("at least one part");
    let mut back = Vec::new();
    for part in first {
        echo_tcp(&mut stream, part);
        back.extend_from_slice(part);
    }
    stream.write_all(last).expect("the session is open");
    back.extend(read_to_fin(&mut stream));
    back
}

#[test]
fn ten_megabytes_come_back_byte_for_byte_then_fin() {
    let (_server, at) = without_termination();
    let sent = random_bytes(10_000_000, 24);
    let back = echo_all_tcp(connect(at), &sent);
    assert_eq!(back.len(), sent.len());
    assert!(back == sent, "the bytes differ");
}

#[test]
fn echo_does_not_wait_for_more() {
    let (_server, at) = serving(&[]);
    let mut stream = connect(at);
    for byte in 0..=255 {
        echo_tcp(&mut stream, &[byte]);
    }
}

/// A read stops before urgent data, and again behind them: neither may make the rest wait.
#[test]
fn urgent_data_come_back_in_their_place_and_so_do_the_bytes_around_them() {
    let (_server, at) = serving(&[]);
    for _ in 0..8 {
        let mut stream = connect(at);
        for _ in 0..8 {
            let sent = SockRef::from(&stream).send_out_of_band(b"before, urgent");
            assert_eq!(sent.expect("the session is open"), 14);
            stream.write_all(b", behind").expect("the session is open");
            let mut back = [0; 22];
            stream.read_exact(&mut back).expect("all of it in time");
            assert_eq!(&back, b"before, urgent, behind");
        }
    }
}

#[test]
fn a_half_close_without_a_byte_is_answered_with_fin() {
    let (_server, at) = serving(&[]);
    assert_eq!(echo_all_tcp(connect(at), b""), b"");
}

#[test]
fn one_client_that_never_reads_disturbs_no_other() {
    let (_server, at) = without_termination();
    let mut stuck = connect(at);
    fill(&mut stuck);
    let mut other = connect(at);
    echo_tcp(&mut other, b"still here");
}

/// Writes until neither kernel takes more.
fn fill(stream: &mut TcpStream) {
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).expect("legal");
    let block = [b'x'; 65_536];
    while stream.write(&block).is_ok() {}
}

#[test]
fn the_terminator_is_found_wherever_reads_split_it() {
    let (_server, at) = serving(&[]);
    for split in 1..QUIT.len() {
        let (head, tail) = QUIT.split_at(split);
        let first = [b"abc", head].concat();
        let last = [tail, b"never echoed"].concat();
        let back = in_parts(at, &[&first, &last]);
        assert_eq!(back, first, "split after {split} bytes");
    }
}

#[test]
fn a_terminator_in_one_read_is_not_echoed_and_what_precedes_it_is() {
    let (_server, at) = serving(&[]);
    assert_eq!(in_parts(at, &[b"abc!!quit!!def"]), b"abc");
    assert_eq!(in_parts(at, &[QUIT]), b"");
    assert_eq!(in_parts(at, &[b"abc", b"def!!quit!!"]), b"abcdef");
}

#[test]
fn a_terminator_in_single_bytes_fires_at_its_last_byte() {
    let (_server, at) = serving(&[]);
    let parts: Vec<&[u8]> = QUIT.chunks(1).collect();
    assert_eq!(in_parts(at, &parts), b"!!quit!");
}

#[test]
fn a_terminator_that_overlaps_itself_is_found() {
    let (_server, at) = serving(&["listen_defaults.termination=aab"]);
    assert_eq!(in_parts(at, &[b"aaab"]), b"a");
    assert_eq!(in_parts(at, &[b"a", b"a", b"a", b"b"]), b"aaa");
    assert_eq!(in_parts(at, &[b"aa", b"ab"]), b"aa");
    assert_eq!(in_parts(at, &[b"xaa", b"xaaa", b"b more"]), b"xaaxaaa");
    let (_server, at) = serving(&[]);
    assert_eq!(in_parts(at, &[b"!", b"!!", b"quit!!"]), b"!!!");
}

#[test]
fn a_near_match_before_the_end_is_echoed_whole() {
    let (_server, at) = serving(&[]);
    for length in 1..QUIT.len() {
        let sent = [b"abc", &QUIT[..length]].concat();
        assert_eq!(echo_all_tcp(connect(at), &sent), sent);
    }
}

#[test]
fn without_a_terminator_its_default_bytes_are_ordinary() {
    let (_server, at) = without_termination();
    assert_eq!(echo_all_tcp(connect(at), b"abc!!quit!!def"), b"abc!!quit!!def");
}

#[test]
fn a_terminator_followed_by_a_megabyte_ends_with_fin_and_all_echo_before_it() {
    let (_server, at) = serving(&[]);
    let before = vec![b'b'; 1_000_000];
    let sent = [&before, QUIT, &vec![b'a'; 1_000_000]].concat();
    let mut stream = connect(at);
    let back = std::thread::scope(|scope| {
        let mut writer = stream.try_clone().expect("a socket can be shared");
        let sent = &sent;
        // The tail may find the session over; what counts is how the reader sees it end.
        scope.spawn(move || writer.write_all(sent));
        read_to_fin(&mut stream)
    });
    assert!(back.starts_with(&before), "{} bytes came back", back.len());
    // Reads may split the sequence: what came in an earlier one was echoed.
    assert!(QUIT.starts_with(&back[before.len()..]), "{} bytes came back", back.len());
}

#[test]
fn a_client_that_says_nothing_more_gets_fin_right_after_the_terminator() {
    let (_server, at) = serving(&[]);
    let mut stream = connect(at);
    stream.write_all(b"bye!!quit!!").expect("the session is open");
    assert_eq!(read_to_fin(&mut stream), b"bye");
}

#[test]
fn discard_reads_everything_and_answers_only_with_fin() {
    let (server, at) = serving(&["listen_defaults.mode=discard"]);
    let mut stream = connect(at);
    stream.write_all(&random_bytes(1_000_000, 9)).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("still connected");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("FIN, not a reset");
    assert!(back.is_empty());
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["bytes"]["tcp_in"], 1_000_000, "{summary}");
    assert_eq!(summary["bytes"]["tcp_out"], 0, "{summary}");
}
