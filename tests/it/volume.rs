//! Much at once: one session that moves a gigabyte, and as many sessions as the
//! descriptors of one client allow.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::common::{
    Ipcow, Need, alone, connect, needs, raise_own_descriptor_limit, random_bytes, resident_kib,
};

#[test]
fn a_gigabyte_comes_back_through_one_session_and_memory_stays_flat() {
    const GIGABYTE: usize = 1_000_000_000;
    // Their number is prime, so that no read and no buffer ends twice at the same place.
    let block = random_bytes(1_048_573, 24);
    let serve = Ipcow::serve(["tcp://127.0.0.1:0"]).set("listen_defaults.termination=\"\"");
    let mut server = serve.start();
    let mut client = connect(server.ready().tcp());
    let mut writer = client.try_clone().expect("a socket can be shared");
    let grown = std::thread::scope(|scope| {
        let block = &block;
        scope.spawn(move || {
            let mut left = GIGABYTE;
            while left > 0 {
                let piece = left.min(block.len());
                writer.write_all(&block[..piece]).expect("the server reads");
                left -= piece;
            }
            writer.shutdown(Shutdown::Write).expect("still connected");
        });
        let (mut back, mut warm) = (vec![0; block.len()], 0);
        let mut left = GIGABYTE;
        while left > 0 {
            let piece = left.min(block.len());
            client.read_exact(&mut back[..piece]).expect("every byte comes back");
            assert!(back[..piece] == block[..piece], "{left} bytes before the end");
            left -= piece;
            // After the first sixteen all that a session ever needs is there.
            if GIGABYTE - left <= 16 * block.len() {
                warm = resident_kib(server.pid());
            }
        }
        assert_eq!(client.read(&mut back).expect("FIN, not RST"), 0, "more than was sent");
        resident_kib(server.pid()).saturating_sub(warm)
    });
    assert!(grown < 1_024, "{grown} KiB more");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["bytes"]["tcp_in"], GIGABYTE);
    assert_eq!(summary["bytes"]["tcp_out"], GIGABYTE);
}

#[test]
fn nine_thousand_sessions_at_once_are_each_byte_exact() {
    alone("volume::nine_thousand_sessions_at_once_are_each_byte_exact", || {
        const SESSIONS: usize = 9_000;
        if !needs(&[Need::Descriptors(10_000)]) {
            return;
        }
        raise_own_descriptor_limit();
        let mut server = Ipcow::serve(["tcp://127.0.0.1:0x9"]).start();
        let ports: Vec<_> = server.ready().bound();
        let at = |number: usize| ports[number % ports.len()].at;
        let mut clients: Vec<_> = (0..SESSIONS).map(|number| connect(at(number))).collect();
        for round in 0..2 {
            let bytes = |number: usize| random_bytes(512, (round * SESSIONS + number) as u64 + 1);
            // Everybody's bytes are on their way before anybody takes any back.
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&bytes(number)).expect("a socket buffer");
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let mut back = [0; 512];
                client.read_exact(&mut back).expect("every byte comes back");
                assert!(back[..] == bytes(number)[..], "session {number} of round {round}");
            }
        }
        for client in &mut clients {
            client.shutdown(Shutdown::Write).expect("still connected");
            assert_eq!(client.read(&mut [0]).expect("FIN, not RST"), 0);
        }
        let summary = server.terminate().expect_code(0).summary();
        let sessions = &summary["sessions"];
        assert_eq!(
            (&sessions["accepted"], &sessions["closed"]),
            (&SESSIONS.into(), &SESSIONS.into())
        );
        assert_eq!((&sessions["peak"], &sessions["failed"]), (&SESSIONS.into(), &0.into()));
        assert_eq!(summary["bytes"]["tcp_out"], SESSIONS * 2 * 512);
    });
}
