//! The real binary: started, asked, stopped, killed, started again.

mod restart;
mod server;
mod settings;
mod stop;
