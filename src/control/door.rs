//! A listening socket of the API, and the connections that it lets in: so many, whose
//! requests and answers do not take for ever, and on the control socket of these users.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol, Request};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::{Error, ResponseError};
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::connection::{Answering, Patient};
use super::refusal::Refusal;
use super::socket::Access;

/// Connections at once of one socket; more wait in the kernel's backlog.
const CONNECTIONS: u32 = 32;
/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection without a request is kept.
const KEPT: Duration = Duration::from_secs(15);
/// How long answers under way may take once the server stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// Pause after an accept(2) that failed: out of descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(200);

/// True once the server stops.
pub(super) type Stop = watch::Receiver<bool>;

/// A listening socket of the API.
pub(super) trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)>;

    /// Whether this client may ask at all.
    fn admits(&self, client: &Self::Stream) -> Result<(), Refusal>;
}

/// The control socket.
pub(super) struct ControlDoor {
    pub(super) listener: UnixListener,
    pub(super) access: Access,
}

impl Door for ControlDoor {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        Ok((self.listener.accept().await?.0, None))
    }

    /// The file's permissions were asked by the kernel when the client connected. A file
    /// that is its owner's alone is that also for who could connect all the same.
    fn admits(&self, client: &UnixStream) -> Result<(), Refusal> {
        const HINT: &str = "ask as the user of the service or as root, or set control.group and \
                            control.mode = \"0660\"";
        let forbidden = |message| Err(Refusal::new(403, "forbidden", message, HINT));
        let Ok(peer) = client.peer_cred() else {
            return forbidden("the kernel does not say who asks".to_owned());
        };
        let for_the_group = self.access.mode & 0o020 != 0;
        if peer.uid() == 0 || peer.uid() == geteuid().as_raw() || for_the_group {
            return Ok(());
        }
        forbidden(format!("the user {} may not use this control socket", peer.uid()))
    }
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        Ok((stream, Some(peer)))
    }

    fn admits(&self, _client: &TcpStream) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Serves `app` to whoever comes, until told to stop.
pub(super) async fn serve<D, F, B>(door: D, app: F, mut stop: Stop)
where
    D: Door,
    F: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    F::Service: 'static,
    F::Future: 'static,
    B: MessageBody + 'static,
{
    let app = map_config(app, |()| AppConfig::default());
    let app = apply_fn_factory(app, |request: Request, app: &F::Service| {
        let turn = request.conn_data::<Answering>().map(Answering::begin);
        let answer = app.call(request);
        async move {
            let answer = answer.await;
            drop(turn);
            answer
        }
    });
    let stopping = stop.clone();
    let http = HttpService::build()
        .on_connect_ext(|stream: &Patient<D::Stream>, known| {
            known.insert(stream.answering());
        })
        .keep_alive(KEPT)
        .client_request_timeout(HEAD)
        .client_disconnect_timeout(HEAD)
        .graceful_shutdown_signal(move || ended(stopping.clone()))
        .finish::<_, B>(app.map_err(|error: Error| error.as_response_error().error_response()));
    let Ok(http) = http.new_service(()).await else {
        tracing::error!("the control API cannot be built");
        return;
    };
    let seats = Arc::new(Semaphore::new(CONNECTIONS as usize));
    loop {
        let (seat, client) = tokio::select! {
            () = ended(stop.clone()) => break,
            next = next(&door, &seats) => next,
        };
        let (stream, peer) = client;
        if let Err(refusal) = door.admits(&stream) {
            actix_rt::spawn(async move {
                turn_away(stream, &refusal).await;
                drop(seat);
            });
            continue;
        }
        // It is always ready: nothing in it makes requests wait.
        let served = http.call((Patient::new(stream), Protocol::Http1, peer));
        actix_rt::spawn(async move {
            // A client that went away, or was too slow.
            let _ended_early = served.await;
            drop(seat);
        });
    }
    let _cut_off = timeout(FAREWELL, seats.acquire_many(CONNECTIONS)).await;
    stop.mark_unchanged();
}

type Seat = tokio::sync::OwnedSemaphorePermit;

/// The next client, once there is room for it.
async fn next<D: Door>(
    door: &D,
    seats: &Arc<Semaphore>,
) -> (Option<Seat>, (D::Stream, Option<SocketAddr>)) {
    // Nobody closes the semaphore.
    let seat = Arc::clone(seats).acquire_owned().await.ok();
    loop {
        match door.accept().await {
            Ok(client) => return (seat, client),
            Err(error) => {
                tracing::debug!(%error, "the control API cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn ended(mut stop: Stop) {
    // A sender that is gone wants the end, too.
    let _gone = stop.wait_for(|stop| *stop).await;
}

/// Says why, whatever the client asks for.
async fn turn_away(mut client: impl AsyncRead + AsyncWrite + Unpin, refusal: &Refusal) {
    let body = serde_json::to_string(refusal).unwrap_or_default();
    let status = refusal.status_code();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let _gone_already = timeout(HEAD, async {
        // Some take a connection that is closed before they have asked for none at all.
        let _ignored = client.read(&mut [0; 4096]).await?;
        client.write_all(answer.as_bytes()).await?;
        client.shutdown().await
    })
    .await;
}

#[cfg(test)]
mod tests {
    use actix_service::IntoServiceFactory;
    use actix_web::{App, web};
    use tokio::io::{DuplexStream, duplex};
    use tokio::sync::{Mutex, mpsc};
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Lets in who is sent.
    struct Lobby(Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

    impl Door for Lobby {
        type Stream = DuplexStream;

        async fn accept(&self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
            let next = self.0.lock().await.recv().await;
            Ok((next.ok_or(io::ErrorKind::BrokenPipe)?, None))
        }

        fn admits(&self, _client: &DuplexStream) -> Result<(), Refusal> {
            Ok(())
        }
    }

    /// All that a client is told which asks this and says `more` every second after that.
    async fn told(mut client: DuplexStream, request: &str, more: &[u8]) -> String {
        client.write_all(request.as_bytes()).await.expect("there is room");
        let (mut hears, mut says) = tokio::io::split(client);
        let drips = async {
            while says.write_all(more).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
            std::future::pending().await
        };
        let mut answer = String::new();
        let heard = tokio::select! {
            heard = hears.read_to_string(&mut answer) => heard,
            () = drips => unreachable!("it waits for the end of the answer"),
        };
        heard.expect("it ends with FIN");
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_end_keeps_its_seat_for_a_while_only() {
        const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        const LATER: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n";
        const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let serves = async {
            let slow = web::to(|| async {
                sleep(Duration::from_secs(100)).await;
                "at last"
            });
            let app = App::new().route("/slow", slow).default_service(web::to(|| async { "soon" }));
            let (come, coming) = mpsc::unbounded_channel();
            let (_stop, stopped) = watch::channel(false);
            spawn_local(serve(Lobby(Mutex::new(coming)), app.into_factory(), stopped));
            let all = (0..=CONNECTIONS).map(|at| {
                let (ours, theirs) = duplex(1024);
                come.send(theirs).expect("it is open");
                match at {
                    0 => spawn_local(told(ours, SLOW, b"")),
                    CONNECTIONS => spawn_local(told(ours, "GET / HTTP/1.0\r\n\r\n", b"")),
                    _ if at % 3 == 0 => spawn_local(told(ours, CHUNKS, b"")),
                    _ if at % 3 == 1 => spawn_local(told(ours, CHUNKS, b"1\r\nx\r\n")),
                    _ => spawn_local(told(ours, LATER, b"x: y\r\n")),
                }
            });
            for client in all.collect::<Vec<_>>() {
                let answer = client.await.expect("no panic");
                let is_answered = answer.ends_with("soon") || answer.ends_with("at last");
                assert!(answer.starts_with("HTTP/1.") && is_answered, "{answer}");
            }
        };
        timeout(Duration::from_secs(200), LocalSet::new().run_until(serves))
            .await
            .expect("in time");
    }
}
