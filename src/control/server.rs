//! The server: one thread, one actix system, the doors that it was given.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::admin::Admin;
use super::door::{self, ControlDoor, Stop};
use super::guard::Guard;
use super::reload::Reloader;
use super::routes::{self, Context};
use super::socket::{Access, Socket};
use super::story::Story;
use crate::handover::{Giver, Own};
use crate::service::ServiceHandle;

/// What a client's order to end is told to.
type OnShutdown = Box<dyn Fn() + Send + Sync>;

/// What a [`Server`] serves, and where.
#[non_exhaustive]
pub struct Options {
    /// The name in every answer that has one. Default `default`.
    pub instance: String,
    /// Where everything may be asked for.
    pub socket: Option<Socket>,
    /// Where may be read.
    pub admin: Option<Admin>,
    /// Reads the configuration again; without it a client's order to reload is refused.
    pub reloader: Option<Arc<Reloader>>,
    hand_over: Option<Option<Duration>>,
    on_shutdown: Option<OnShutdown>,
}

impl Options {
    /// Nowhere yet, for the instance of this name.
    #[must_use]
    pub fn new(instance: impl Into<String>) -> Self {
        let instance = instance.into();
        Self {
            instance,
            socket: None,
            admin: None,
            reloader: None,
            hand_over: None,
            on_shutdown: None,
        }
    }

    /// Serves the whole API on a Unix socket.
    #[must_use]
    pub fn socket(mut self, socket: Socket) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Serves what only reads on a TCP address.
    #[must_use]
    pub fn admin(mut self, admin: Admin) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Lets clients have the configuration read again.
    #[must_use]
    pub fn reloader(mut self, reloader: Arc<Reloader>) -> Self {
        self.reloader = Some(reloader);
        self
    }

    /// Lets another instance take the service over, with both sockets of this API;
    /// sessions then have `timeout` (`None` = until they end).
    #[must_use]
    pub const fn hand_over(mut self, timeout: Option<Duration>) -> Self {
        self.hand_over = Some(timeout);
        self
    }

    /// Calls `told` when a client orders the service to end, on the server's thread.
    /// Without it the service drains and stops.
    #[must_use]
    pub fn on_shutdown(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_shutdown = Some(Box::new(told));
        self
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { instance, socket, admin, reloader, .. } = self;
        let mut shown = out.debug_struct("Options");
        shown.field("instance", instance).field("socket", socket).field("admin", admin);
        shown.field("reloader", reloader).finish_non_exhaustive()
    }
}

/// A running control API. Dropping it stops it, joins its thread and removes its socket.
#[derive(Debug)]
pub struct Server {
    socket: Option<Socket>,
    admin: Option<SocketAddr>,
    stop: Arc<watch::Sender<bool>>,
    /// Another instance has the control socket now.
    left: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the API of a running service, on a thread of its own, until it is dropped.
    ///
    /// # Errors
    /// When the system gives no thread or no descriptor.
    pub fn start(handle: Arc<ServiceHandle>, options: Options) -> io::Result<Self> {
        let Options { instance, mut socket, admin, reloader, hand_over, on_shutdown } = options;
        let (stop, stopped) = watch::channel(false);
        let (stop, left) = (Arc::new(stop), Arc::default());
        let giver = match hand_over {
            Some(timeout) => {
                let doors = (socket.as_ref(), admin.as_ref());
                Some(giver(&handle, &instance, timeout, doors, (&stop, &left))?)
            }
            None => None,
        };
        let control = match &socket {
            Some(socket) => Some((socket.listener()?, socket.access())),
            None => None,
        };
        let listener = admin.as_ref().map(Admin::listener).transpose()?;
        let address = admin.as_ref().map(Admin::address);
        let reloader =
            reloader.unwrap_or_else(|| Arc::new(Reloader::without_source(Arc::clone(&handle))));
        // From now on nothing is missed.
        let (events, story) = (handle.events(), Arc::new(Story::new(&instance)));
        let context = Arc::new(Context {
            handle,
            story: Arc::clone(&story),
            reloader,
            instance,
            control: socket.as_ref().map(|socket| socket.path().display().to_string()),
            admin: address.map(|address| address.to_string()),
            giver,
            on_shutdown,
        });
        // Made here, so that a shortage is an error and not a thread that ends.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread =
            std::thread::Builder::new().name("ipcow-control".to_owned()).spawn(move || {
                let system = actix_rt::System::with_tokio_rt(|| runtime);
                system.block_on(async {
                    actix_rt::spawn(async move { story.keep(events).await });
                    let control = serve_control(control, &context, stopped.clone());
                    let admin = serve_admin(listener, &context, stopped.clone());
                    let (control, admin) = tokio::join!(control, admin);
                    if let Err(error) = control.and(admin) {
                        tracing::error!(%error, "the control API cannot be served");
                    }
                });
            })?;
        if let Some(socket) = &mut socket {
            socket.claim();
        }
        Ok(Self { socket, admin: address, stop, left, thread: Some(thread) })
    }

    /// The path of the control socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.socket.as_ref().map(Socket::path)
    }

    /// The admin address, with the port that it got.
    #[must_use]
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Lets answers under way end, stops, joins the thread and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}

async fn serve_control(
    socket: Option<(std::os::unix::net::UnixListener, Access)>,
    context: &Arc<Context>,
    stopped: Stop,
) -> io::Result<()> {
    let Some((listener, access)) = socket else { return Ok(()) };
    let door = ControlDoor { listener: UnixListener::from_std(listener)?, access };
    door::serve(door, routes::app(context, None), stopped).await;
    Ok(())
}

/// Hands the service over, and these sockets with it.
fn giver(
    handle: &Arc<ServiceHandle>,
    instance: &str,
    timeout: Option<Duration>,
    (socket, admin): (Option<&Socket>, Option<&Admin>),
    (stop, left): (&Arc<watch::Sender<bool>>, &Arc<AtomicBool>),
) -> io::Result<Arc<Giver>> {
    let mut giver = Giver::new(Arc::clone(handle), instance, timeout);
    if let Some(socket) = socket {
        giver = giver.control(socket.path().into(), socket.listener()?.into());
    }
    if let Some(admin) = admin {
        giver = giver.admin(admin.listener()?.into());
    }
    let (stop, left) = (Arc::clone(stop), Arc::clone(left));
    Ok(Arc::new(giver.on_given(move |own| {
        left.store(own.contains(&Own::Control), Ordering::Release);
        stop.send_replace(true);
    })))
}

async fn serve_admin(
    listener: Option<std::net::TcpListener>,
    context: &Arc<Context>,
    stopped: Stop,
) -> io::Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    let app = routes::app(context, Some(Guard::new()));
    door::serve(TcpListener::from_std(listener)?, app, stopped).await;
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        if let Some(socket) = self.socket.take().filter(|_| self.left.load(Ordering::Acquire)) {
            socket.leave();
        }
    }
}
