//! A listening socket of the API, and the connections that it lets in: so many, whose
//! requests and answers do not take for ever, and on the control socket of these users.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol, Request};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::{Error, ResponseError};
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::connection::Patient;
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
    let stopping = stop.clone();
    let http = HttpService::build()
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
