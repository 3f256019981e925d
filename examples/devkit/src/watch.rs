//! Prints what the hub tells a client.

use spellcoven_hub::client::{HubClient, Update};

/// Reads a token from the first line of standard input, connects to `url` and prints each update until the client
/// ends. The token comes that way because arguments are visible to everybody on the machine.
///
/// # Errors
/// No token on standard input, or the client cannot start.
///
/// # Cancel safety
/// Dropping the future disconnects.
pub async fn run(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut token = String::new();
    std::io::stdin().read_line(&mut token)?;
    if token.trim().is_empty() {
        return Err("a token is expected on the first line of standard input".into());
    }
    let mut client = HubClient::builder(url, token.trim().to_owned()).start()?;
    while let Some(update) = client.next().await {
        println!("{update:?}");
        if let Update::GaveUp { .. } | Update::Unauthorized { .. } = update {
            return Err("the connection is gone for good".into());
        }
    }
    Ok(())
}
