//! Dialling WebSockets and opening UDP sockets.
