//! Datagrams of an embedder's own: what it may send, what guards come before it, and
//! what its panics cost.

use std::net::{SocketAddr, UdpSocket};

use ipcow::config::load_str;
use ipcow::service::{
    Answers, Datagram, DatagramHandler, Service, ServiceBuilder, ServiceHandle, amplifying,
};
use ipcow::supervision::DropReason;

use crate::common::{Block, DEADLINE, echo_udp, eventually, udp_client};

fn builder(keys: &str) -> ServiceBuilder {
    let mut config = load_str("test", &format!("# Keys:\n{keys}")).expect("legal keys").config;
    config.groups.clear();
    Service::builder().config(config)
}

async fn start(keys: &str, handler: impl DatagramHandler) -> (ServiceHandle, SocketAddr) {
    let builder = builder(keys).listen(&format!("udp://{}:0", Block::new().ip(0)));
    let service = builder.expect("a spec").datagrams(handler).build().expect("a plan");
    let handle = service.start().expect("threads");
    let at = handle.wait_ready().await.expect("it runs").bound[0].socket_addr();
    (handle, at)
}

fn dropped(handle: &ServiceHandle, reason: DropReason) -> u64 {
    handle.snapshot().totals.dropped[reason.index()]
}

fn ask(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
    client.send(question).expect("a datagram");
    let mut answer = [0; 65_536];
    let length = client.recv(&mut answer).expect("an answer");
    answer[..length].to_vec()
}

#[tokio::test]
async fn a_handler_answers_and_knows_who_asked_and_where() {
    let tell = |datagram: &Datagram<'_>, answers: &mut Answers<'_>| {
        if datagram.payload().is_empty() {
            return;
        }
        let told = format!("{} {} {}", datagram.source(), datagram.dialled(), datagram.endpoint());
        let mut answer = told.into_bytes();
        answer.truncate(datagram.payload().len());
        assert!(answers.send(&answer));
    };
    let (handle, at) = start("", tell).await;
    let client = udp_client(at);
    client.send(b"").expect("a datagram without an answer");
    let own = client.local_addr().expect("an address");
    let expected = format!("{own} {at} udp://{at}");
    assert_eq!(ask(&client, &[b'?'; 100]), expected.as_bytes());
    assert_eq!(ask(&client, b"????"), &expected.as_bytes()[..4]);
    assert!(eventually(DEADLINE, || handle.snapshot().totals.replied == 2));
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!((totals.received, totals.replied), (3, 2));
    assert_eq!((totals.udp_in, totals.udp_out), (104, expected.len() as u64 + 4));
}

#[tokio::test]
async fn never_more_goes_out_than_came_in_unless_that_is_intended() {
    let more = |datagram: &Datagram<'_>, answers: &mut Answers<'_>| {
        let longer = [datagram.payload(), b"!"].concat();
        answers.send(&longer);
        answers.send(datagram.payload());
        answers.send(datagram.payload());
    };
    let (handle, at) = start("", more).await;
    let client = udp_client(at);
    assert_eq!(ask(&client, b"moo"), b"moo");
    assert!(eventually(DEADLINE, || dropped(&handle, DropReason::Amplified) == 2));
    assert_eq!(handle.shutdown().await.expect("it drains").totals.udp_out, 3);

    let (handle, at) = start("", amplifying(more)).await;
    let client = udp_client(at);
    assert_eq!(ask(&client, b"moo"), b"moo!");
    let mut answer = [0; 8];
    for _ in 0..2 {
        assert_eq!(client.recv(&mut answer).expect("an answer"), 3);
    }
    assert!(eventually(DEADLINE, || handle.snapshot().totals.replied == 3));
    assert_eq!(dropped(&handle, DropReason::Amplified), 0);
    handle.shutdown().await.expect("it drains");
}

#[tokio::test]
async fn even_who_amplifies_has_a_bound_for_each_datagram() {
    let flood = |_datagram: &Datagram<'_>, answers: &mut Answers<'_>| {
        while answers.send(b"x") {}
    };
    let (handle, at) = start("", amplifying(flood)).await;
    let client = udp_client(at);
    client.send(b"go").expect("a datagram");
    assert!(eventually(DEADLINE, || handle.snapshot().totals.replied == 64));
    assert_eq!(dropped(&handle, DropReason::Amplified), 1);
    handle.shutdown().await.expect("it drains");
}

#[tokio::test]
async fn a_panic_costs_one_datagram_its_answer_and_nobody_else() {
    let fragile = |datagram: &Datagram<'_>, answers: &mut Answers<'_>| {
        assert_ne!(datagram.payload(), b"poison", "poisoned datagram");
        answers.send(datagram.payload());
    };
    let (handle, at) = start("", fragile).await;
    let client = udp_client(at);
    for _ in 0..20 {
        client.send(b"poison").expect("a datagram");
        echo_udp(&client, b"undisturbed");
    }
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!((summary.totals.received, summary.totals.replied), (40, 20));
    assert_eq!(summary.totals.dropped[DropReason::Handler.index()], 20);
    assert_eq!(summary.restarts.listeners, 0);
}

#[tokio::test]
async fn the_guards_come_before_the_handler() {
    let never =
        |_datagram: &Datagram<'_>, _answers: &mut Answers<'_>| unreachable!("it was let through");
    let block = Block::new();
    let keys = format!("[listen_defaults]\nallow_from = [\"{}/32\"]", block.ip(1));
    let mut config = load_str("test", &keys).expect("legal keys").config;
    let settings = config.groups[0].settings.clone();
    config.groups.truncate(1);
    config.groups[0].settings = settings;
    let spec = ipcow::spec::Spec::parse(&format!("udp://{}:0", block.ip(0))).expect("a spec");
    config.groups[0].specs = vec![spec];
    let service = Service::builder().config(config).datagrams(never).build().expect("a plan");
    let handle = service.start().expect("threads");
    let at = handle.wait_ready().await.expect("it runs").bound[0].socket_addr();
    // The source is not in `allow_from`.
    let client = UdpSocket::bind((block.ip(2), 0)).expect("a socket");
    client.send_to(b"let me in", at).expect("a datagram");
    assert!(eventually(DEADLINE, || dropped(&handle, DropReason::Source) == 1));
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!(summary.totals.dropped[DropReason::Handler.index()], 0);
}

#[tokio::test]
async fn a_batch_of_questions_gets_its_answers_in_their_order() {
    let echo = |datagram: &Datagram<'_>, answers: &mut Answers<'_>| {
        answers.send(datagram.payload());
    };
    let (handle, at) = start("", echo).await;
    let client = udp_client(at);
    for number in 0..100_u8 {
        client.send(&[number; 10]).expect("a datagram");
    }
    let mut answer = [0; 64];
    for number in 0..100_u8 {
        assert_eq!(client.recv(&mut answer).expect("an answer"), 10);
        assert_eq!(answer[..10], [number; 10]);
    }
    handle.shutdown().await.expect("it drains");
}
