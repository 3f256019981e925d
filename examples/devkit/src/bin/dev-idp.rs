//! The development identity provider as a process: `dev-idp ADDRESS AUDIENCE`, for instance
//! `dev-idp 127.0.0.1:9000 spell-coven-web`. It believes any name: keep it on loopback.

use std::{net::SocketAddr, process::ExitCode};

use spellcoven_devkit::{idp::IdentityProvider, signals};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev-idp: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(audience)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dev-idp ADDRESS AUDIENCE".into());
    };
    let address: SocketAddr = address.parse()?;
    if !address.ip().is_loopback() {
        return Err("it believes any name, so it listens on loopback only".into());
    }
    let listener = tokio::net::TcpListener::bind(address).await?;
    let issuer = format!("http://{}", listener.local_addr()?);
    println!("identity provider at {issuer}");
    let provider = IdentityProvider::new(issuer, audience)?;
    tokio::select! {
        biased;
        stopped = signals::stopped() => stopped?,
        () = provider.serve(listener) => {}
    }
    Ok(())
}
