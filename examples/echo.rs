//! A supervised echo server in ten lines: one TCP and one UDP endpoint on a
//! port that the kernel chooses, asked once, then drained.

use std::io::{Read, Write};

use ipcow::service::Service;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = Service::builder().listen("both://127.0.0.1:0")?.build()?;
    let handle = service.start()?;
    let ready = handle.wait_ready().await?;
    println!("{} endpoints listen: {}", ready.endpoints.listening, ready.bound[0]);

    // What follows is a client's part.
    let mut client = std::net::TcpStream::connect(ready.bound[0].socket_addr())?;
    client.write_all(b"hello, herd")?;
    client.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    println!("it answers: {answer}");

    let summary = handle.shutdown().await?;
    println!("connections processed: {}", summary.totals.accepted);
    Ok(())
}
