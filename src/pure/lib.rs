//! The part of Hark that decides without clock, threads or actors: who steps next, who is let in.
//!
//! A package of its own, so that the simulation in `hark-loadtest` runs the very code that the server runs and yet does not know the
//! server. The files stay where the server's modules are, under the same module paths; the server re-exports them from there.

#[path = "../terms.rs"]
pub mod terms;
#[path = "../units.rs"]
pub mod units;

/// The contract between scheduling and compute, and what steps cost.
#[path = "../engine"]
pub mod engine {
    pub mod batch;
    pub mod cost;
}

/// The scheduler without its shell.
#[path = "../scheduler"]
pub mod scheduler {
    pub mod admission;
    pub mod answers;
    pub mod arrivals;
    pub mod core;
    pub mod fair;
    pub mod forecast;
    pub mod order;
    pub mod placement;
    pub mod policy;
}
