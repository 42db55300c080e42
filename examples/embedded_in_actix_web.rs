//! One process: a web application that shows and steers its own listeners.
//!
//! ```text
//! cargo run --example embedded_in_actix_web --features http
//! ```
//!
//! `GET /listeners` lists them, `POST /suspend` and `POST /resume` take a selector as the
//! body. (IPCow's own HTTP API does more; this shows that none of it is needed.)

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer, Responder};
use ipcow::service::{ListOptions, OperationError, Service, ServiceHandle, SuspendOptions};
use ipcow::spec::Selector;

async fn listeners(handle: Data<ServiceHandle>) -> Result<impl Responder, Refused> {
    let all = Selector::parse("*").map_err(OperationError::from)?;
    let listing = handle.list(&all, ListOptions::default()).await?;
    Ok(web::Json(listing.endpoints))
}

async fn suspend(handle: Data<ServiceHandle>, selector: String) -> Result<impl Responder, Refused> {
    let selector = Selector::parse(&selector).map_err(OperationError::from)?;
    Ok(web::Json(handle.suspend(&selector, SuspendOptions::default()).await?))
}

async fn resume(handle: Data<ServiceHandle>, selector: String) -> Result<impl Responder, Refused> {
    let selector = Selector::parse(&selector).map_err(OperationError::from)?;
    Ok(web::Json(handle.resume(&selector).await?))
}

/// What IPCow refuses is the caller's fault, and its message says how to mend it.
#[derive(Debug)]
struct Refused(OperationError);

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl From<OperationError> for Refused {
    fn from(error: OperationError) -> Self {
        Self(error)
    }
}

impl actix_web::ResponseError for Refused {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::BadRequest().body(self.to_string())
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A service has threads and a System of its own: it runs beside actix-web's.
    let service = Service::builder().listen("tcp://127.0.0.1:0x2")?.build()?;
    let handle = Data::new(service.start()?);
    let ready = handle.wait_ready().await?;
    let shared = Data::clone(&handle);
    let web = HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&shared))
            .route("/listeners", web::get().to(listeners))
            .route("/suspend", web::post().to(suspend))
            .route("/resume", web::post().to(resume))
    });
    let web = web.workers(1).disable_signals().bind("127.0.0.1:0")?;
    let at = web.addrs()[0];
    let running = web.run();
    let steer = running.handle();
    let client = std::thread::spawn(move || visit(at, ready.bound[0].socket_addr()));
    let stopped = async {
        while !client.is_finished() {
            actix_web::rt::time::sleep(Duration::from_millis(5)).await;
        }
        steer.stop(true).await;
    };
    let (ran, ()) = tokio::join!(running, stopped);
    ran?;
    let summary = handle.shutdown().await?;
    println!("sessions: {}", summary.totals.accepted);
    Ok(())
}

/// A client's part: asks the web application, and tries a listener in between.
fn visit(web: SocketAddr, listener: SocketAddr) {
    let states = |answer: String| answer.matches("\"state\":\"listening\"").count();
    println!("listening: {}", states(request(web, "GET /listeners", "")));
    println!("dials: {}", TcpStream::connect(listener).is_ok());
    println!("suspend: {}", request(web, "POST /suspend", &format!("tcp://{listener}")));
    println!("dials: {}", TcpStream::connect(listener).is_ok());
    println!("nobody: {}", request(web, "POST /suspend", "tcp://192.0.2.1:1"));
    println!("resume: {}", request(web, "POST /resume", "*"));
}

/// One HTTP request; the body of the answer.
fn request(web: SocketAddr, line: &str, body: &str) -> String {
    let text = format!(
        "{line} HTTP/1.1\r\nhost: {web}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = TcpStream::connect(web).and_then(|mut client| {
        client.write_all(text.as_bytes())?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = asked.unwrap_or_else(|error| error.to_string());
    answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned())
}
