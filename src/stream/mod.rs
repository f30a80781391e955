//! Live streams: the rules of the protocol ([`session`], pure), the actor that carries them out, and the pipe to its socket.

pub mod actor;
pub mod lane;
pub mod pipe;
pub mod results;
pub mod session;
