use std::io;

use spellcoven_discord_gateway::{self as gateway, GatewayStream};
use spellcoven_hub::client::{self as hub, DialError, IoStream};

use super::MemoryHost;

fn name(url: &http::Uri) -> io::Result<String> {
    let authority = url
        .authority()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(authority.to_string())
}

impl gateway::Connector for MemoryHost {
    fn dial(&self, url: &http::Uri) -> gateway::BoxFuture<'_, io::Result<Box<dyn GatewayStream>>> {
        let stream = name(url).and_then(|name| self.connect(&name));
        Box::pin(std::future::ready(
            stream.map(|stream| Box::new(stream) as Box<dyn GatewayStream>),
        ))
    }
}

impl hub::Connector for MemoryHost {
    fn dial<'a>(
        &'a self,
        url: &'a http::Uri,
    ) -> hub::BoxFuture<'a, Result<Box<dyn IoStream>, DialError>> {
        let stream = name(url)
            .and_then(|name| self.connect(&name))
            .map_err(DialError::Connect);
        Box::pin(std::future::ready(
            stream.map(|stream| Box::new(stream) as Box<dyn IoStream>),
        ))
    }
}
