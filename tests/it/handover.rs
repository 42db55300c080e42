//! A new instance takes over what a running one serves, and no client notices.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ipcow::handover::{ConversationError, Giver, Taker};
use ipcow::service::{OperationError, Service, ServiceBuilder, ServiceHandle, SuspendOptions};
use ipcow::spec::{Selector, Spec};

use crate::common::{
    Block, DEADLINE, Dialling, connect, echo_tcp, eventually_async, read_to_fin, refused,
};

/// Long enough for a service to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn serve(specs: &[String]) -> Arc<ServiceHandle> {
    let add = |builder: ServiceBuilder, spec: &String| builder.listen(spec).expect("a good spec");
    let builder = specs.iter().fold(Service::builder(), add);
    Arc::new(builder.build().expect("a plan").start().expect("it starts"))
}

/// A service that has taken over what `giver` serves, for a plan of these specs.
async fn take_over(giver: &Arc<Giver>, specs: &[String]) -> Arc<ServiceHandle> {
    let specs = specs.to_vec();
    let add = |builder: ServiceBuilder, spec: &String| builder.listen(spec).expect("a good spec");
    begin(giver, move |builder| specs.iter().fold(builder, add)).await
}

/// A service that has taken over what `giver` serves.
async fn begin(
    giver: &Arc<Giver>,
    describe: impl FnOnce(ServiceBuilder) -> ServiceBuilder + Send + 'static,
) -> Arc<ServiceHandle> {
    let name = giver.invite().expect("an invitation");
    let taken = tokio::task::spawn_blocking(move || {
        let mut taker = Taker::receive(&name, PATIENCE).expect("an offer");
        let builder = describe(taker.hand_to(Service::builder()));
        let service = builder.build().expect("a plan");
        let taken = service.taken().to_vec();
        (taker, taken, Arc::new(service.start().expect("it starts")))
    });
    let (mut taker, taken, handle) = taken.await.expect("no panic");
    let ready = handle.wait_ready().await.expect("it lives");
    assert!(ready.is_complete(), "{:?}", ready.failures);
    let second = Arc::clone(&handle);
    let over = tokio::task::spawn_blocking(move || {
        taker.ready(&taken, &[])?;
        second.open_gate();
        taker.serving()
    });
    over.await.expect("no panic").expect("handed over");
    handle
}

#[tokio::test]
async fn a_session_and_a_dialling_client_live_through_three_take_overs() {
    let block = Block::new();
    let specs = [format!("both://{}:8000-8019", block.ip(0)), format!("both://{}:0", block.ip(1))];
    let mut present = serve(&specs);
    let ready = present.wait_ready().await.expect("it lives");
    let chosen = ready.bound.clone();
    let addresses: Vec<_> = (8000..8020).map(|port| block.at(port)).collect();
    let clients = Dialling::start(addresses.clone(), addresses);
    let mut session = connect(block.at(8000));
    let mut old = Vec::new();
    for round in 0..3_u8 {
        echo_tcp(&mut session, &[round; 1000]);
        clients.served(50);
        let giver = Arc::new(Giver::new(Arc::clone(&present), "lab", None));
        let next = take_over(&giver, &specs).await;
        present.handed_over().await;
        old.push(std::mem::replace(&mut present, next));
        clients.served(50);
        echo_tcp(&mut session, &[round; 1000]);
        let ready = present.wait_ready().await.expect("it lives");
        assert_eq!(ready.bound, chosen, "the kernel's numbers stay");
    }
    let (connected, answered) = clients.stop();
    session.shutdown(std::net::Shutdown::Write).expect("still connected");
    assert_eq!(read_to_fin(&mut session), b"");
    let mut summaries = Vec::new();
    for handle in old {
        // Each has ended by itself, with its last session.
        summaries.push(handle.ended().await.expect("no panic"));
    }
    summaries.push(present.shutdown().await.expect("no panic"));
    let sum = |of: fn(&ipcow::supervision::Totals) -> u64| -> u64 {
        summaries.iter().map(|summary| of(&summary.totals)).sum()
    };
    assert_eq!(sum(|it| it.accepted), connected + 1);
    assert_eq!(sum(|it| it.closed), connected + 1);
    assert_eq!((sum(|it| it.received), sum(|it| it.replied)), (answered, answered));
    assert!(refused(block.at(8000)));
}

/// Takes over by a service of this configuration.
async fn configured(giver: &Arc<Giver>, toml: &str) -> Arc<ServiceHandle> {
    let config = ipcow::config::load_str("new", toml).expect("legal").config;
    begin(giver, move |builder| builder.config(config)).await
}

#[tokio::test]
async fn endpoints_with_a_socket_for_each_worker_take_all_of_them_along() {
    let block = Block::new();
    let toml = |reuse: bool| {
        format!(
            "[[listen]]\nname = \"hot\"\nspec = \"both://{}:8000-8003\"\nreuse_port = {reuse}\n\
             [threads]\nworkers = 3\n",
            block.ip(0)
        )
    };
    let config = ipcow::config::load_str("old", &toml(true)).expect("legal").config;
    let service = Service::builder().config(config).build().expect("a plan");
    let first = Arc::new(service.start().expect("it starts"));
    first.wait_ready().await.expect("it lives");
    let addresses: Vec<_> = (8000..8004).map(|port| block.at(port)).collect();
    let clients = Dialling::start(addresses.clone(), addresses);
    clients.served(50);
    let mut all = vec![first];
    // The same, then one socket an endpoint is wanted, then several again.
    for reuse in [true, false, true] {
        let present = all.last().expect("there is one");
        let giver = Arc::new(Giver::new(Arc::clone(present), "lab", None));
        all.push(configured(&giver, &toml(reuse)).await);
        clients.served(100);
    }
    let (connected, answered) = clients.stop();
    let last = all.pop().expect("there is one").shutdown().await.expect("no panic");
    let mut sums = [last.totals.accepted, last.totals.received];
    for handle in all {
        let totals = handle.ended().await.expect("no panic").totals;
        sums = [sums[0] + totals.accepted, sums[1] + totals.received];
    }
    assert_eq!(sums, [connected, answered]);
}

#[tokio::test]
async fn what_the_new_plan_leaves_out_is_drained_and_what_it_adds_is_bound() {
    let block = Block::new();
    let first = serve(&[format!("tcp://{}:8000-8003", block.ip(0))]);
    first.wait_ready().await.expect("it lives");
    let mut stays = connect(block.at(8002));
    let mut goes = connect(block.at(8000));
    echo_tcp(&mut stays, b"here");
    echo_tcp(&mut goes, b"here");
    let giver = Arc::new(Giver::new(Arc::clone(&first), "lab", None));
    let second = take_over(&giver, &[format!("tcp://{}:8002-8005", block.ip(0))]).await;
    for port in 8002..8006 {
        echo_tcp(&mut connect(block.at(port)), b"served");
    }
    for port in 8000..8002 {
        let gone = || async { refused(block.at(port)) };
        assert!(eventually_async(DEADLINE, gone).await, "{port}");
    }
    // As after a reload: what was quiet on an endpoint that is gone is closed with FIN.
    assert_eq!(read_to_fin(&mut goes), b"");
    echo_tcp(&mut stays, b"still here");
    drop(stays);
    // Whoever looked whether it is refused yet may have been accepted.
    let [old, new] = [first.ended().await, second.shutdown().await];
    let [old, new] = [old, new].map(|summary| summary.expect("no panic").totals);
    assert!(old.accepted >= 2 && old.accepted + new.accepted >= 6, "{old:?} {new:?}");
    assert_eq!([old.closed, new.closed], [old.accepted, new.accepted]);
}

#[tokio::test]
async fn sessions_have_the_time_that_a_hand_over_gives_them() {
    let block = Block::new();
    let specs = [format!("tcp://{}:8000", block.ip(0))];
    let first = serve(&specs);
    first.wait_ready().await.expect("it lives");
    let mut session = connect(block.at(8000));
    echo_tcp(&mut session, b"here");
    let giver = Giver::new(Arc::clone(&first), "lab", Some(Duration::from_millis(300)));
    let second = take_over(&Arc::new(giver), &specs).await;
    assert_eq!(read_to_fin(&mut session), b"");
    let totals = first.ended().await.expect("no panic").totals;
    assert_eq!((totals.closed, totals.forced), (1, 0));
    drop(second);
}

#[tokio::test]
async fn a_taker_that_gives_up_or_dies_leaves_the_giver_as_it_was() {
    let block = Block::new();
    let spec = format!("both://{}:8000-8009", block.ip(0));
    let first = serve(std::slice::from_ref(&spec));
    first.wait_ready().await.expect("it lives");
    let addresses: Vec<_> = (8000..8010).map(|port| block.at(port)).collect();
    let clients = Dialling::start(addresses.clone(), addresses);
    let giver = Arc::new(Giver::new(Arc::clone(&first), "lab", None));
    for round in 0..4 {
        let name = giver.invite().expect("one at a time, and the last is over");
        assert!(giver.invite().is_err(), "two at once");
        let taker = move || Taker::receive(&name, PATIENCE).expect("an offer");
        let mut taker = tokio::task::spawn_blocking(taker).await.expect("no panic");
        clients.served(20);
        match round {
            0 => drop(taker),
            1 => taker.give_up("a test"),
            2 => {
                // It says that it is ready, hears `go`, and dies.
                let done = tokio::task::spawn_blocking(move || taker.ready(&[], &[]));
                done.await.expect("no panic").expect("go");
            }
            _ => {
                let mut second = Service::builder().listen(&spec).expect("a good spec");
                second = taker.hand_to(second);
                let second = second.build().expect("a plan").start().expect("it starts");
                second.wait_ready().await.expect("it lives");
                clients.served(20);
                let totals = second.stop().await.expect("no panic").totals;
                assert_eq!((totals.accepted, totals.received), (0, 0), "behind its gate");
                drop(taker);
            }
        }
        let over = || async { first.offer().await.is_ok() };
        assert!(eventually_async(DEADLINE, over).await, "it is not locked");
        clients.served(20);
    }
    let (connected, answered) = clients.stop();
    let totals = first.shutdown().await.expect("no panic").totals;
    assert_eq!((totals.accepted, totals.received), (connected, answered));
}

#[tokio::test]
async fn while_it_is_offered_a_service_takes_no_orders_and_says_so() {
    let block = Block::new();
    let first = serve(&[format!("tcp://{}:8000-8001", block.ip(0))]);
    first.wait_ready().await.expect("it lives");
    let offer = first.offer().await.expect("it serves");
    assert_eq!(offer.sockets().len(), 2);
    let (all, spec) = (Selector::all(), Spec::parse("tcp://127.0.0.1:9").expect("a good spec"));
    let (before, idle) = (first.settings(), [("session.idle_timeout_secs", "30")]);
    for (order, refusal) in [
        ("suspend", first.suspend(&all, SuspendOptions::default()).await.err()),
        ("resume", first.resume(&all).await.err()),
        ("drain", first.drain(&all).await.err()),
        ("retry", first.retry(&all).await.err()),
        ("add", first.add(&spec, None).await.err()),
        ("remove", first.remove(&all).await.err()),
        ("reload", first.reload(&first.config(), false).await.err()),
        ("set", first.set(&idle).await.err()),
    ] {
        assert!(matches!(refusal, Some(OperationError::HandingOver)), "{order}: {refusal:?}");
    }
    assert_eq!(first.settings(), before);
    assert!(first.offer().await.is_err());
    drop(offer);
    let free = || async { first.set(&idle).await.is_ok() };
    assert!(eventually_async(DEADLINE, free).await);
    assert_ne!(first.settings(), before);
    first.shutdown().await.expect("no panic");
}

#[tokio::test]
async fn a_version_that_is_not_spoken_is_named_and_nothing_is_lost() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let block = Block::new();
    let first = serve(&[format!("tcp://{}:8000", block.ip(0))]);
    first.wait_ready().await.expect("it lives");
    let giver = Arc::new(Giver::new(Arc::clone(&first), "lab", None));
    let name = SocketAddr::from_abstract_name(giver.invite().expect("an invitation"));
    let mut taker = UnixStream::connect_addr(&name.expect("a name")).expect("it waits");
    let body = br#"{"say":"take","versions":[99],"patience_ms":1000}"#;
    let length = u32::try_from(body.len()).expect("short").to_le_bytes();
    taker.write_all(&[&length[..], body].concat()).expect("it reads");
    let mut answer = String::new();
    taker.read_to_string(&mut answer).expect("it ends");
    assert!(answer.contains("abort") && answer.contains("version 1"), "{answer}");
    echo_tcp(&mut connect(block.at(8000)), b"still here");
    assert!(matches!(
        Taker::receive("ipcow-nobody-is-here", PATIENCE),
        Err(ConversationError::Io(_))
    ));
    first.shutdown().await.expect("no panic");
}
