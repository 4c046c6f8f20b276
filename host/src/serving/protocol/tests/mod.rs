//! The protocol over real sockets, in front of a service that adds one.
