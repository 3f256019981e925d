//! What object-safe traits return in the place of `async fn`.

use std::future::Future;
use std::pin::Pin;

/// A future in a box, as the methods of this crate's seams return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
