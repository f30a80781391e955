//! Decides what the engines step next, and who is let in.
//!
//! One scheduler for each device. [`core`] and what it is made of is pure and stands in the package `hark-pure`; [`actor`] is the thin
//! shell. Everyone else holds a [`Handle`], which offers only sends that can be refused, and for each stream a [`StreamGuard`], which gives
//! the slot back when dropped.

pub mod actor;
pub mod messages;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use actix::Addr;
pub use hark_pure::scheduler::{admission, arrivals, core, fair, forecast, order, placement, policy};
use tokio::sync::mpsc::UnboundedSender;

use self::actor::SchedulerActor;
use self::admission::{Overload, Refusal};
use self::core::{Class, Piece};
use self::messages::{Push, Register, Sink};
use self::placement::Seat;
use crate::units::{KeyId, StreamId};

/// The way to one device's scheduler.
#[derive(Clone)]
pub struct Device {
    address: Addr<SchedulerActor>,
    releases: UnboundedSender<StreamId>,
    gauges: Arc<Gauges>,
}

/// The way to the schedulers of all devices.
#[derive(Clone)]
pub struct Handle {
    devices: Arc<[Device]>,
}

/// Figures about a scheduler that anyone may read at any time.
#[derive(Debug, Default)]
struct Gauges {
    live: AtomicUsize,
    files: AtomicUsize,
    capacity: AtomicUsize,
    overload: AtomicU8,
    /// False once the engine is gone.
    running: AtomicBool,
}

/// The scheduler could not take a message; the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler takes no more work for this stream")]
pub struct PushRefused;

impl Handle {
    /// Over at least one device.
    pub fn new(devices: Vec<Device>) -> Self {
        Self { devices: devices.into() }
    }

    /// Asks for a slot on the device with the most room, then on the others; the answer is immediate in all but an overloaded scheduler.
    pub async fn register(&self, class: Class, context: usize, key: KeyId, sink: Sink) -> Result<StreamGuard, Refusal> {
        let seats: Vec<Seat> = self.devices.iter().map(Device::seat).collect();
        let order = match class {
            Class::Live => placement::for_live(&seats),
            Class::File => placement::for_file(&seats),
        };
        let mut refusal = Refusal::EngineDown;
        for device in order.into_iter().filter_map(|index| self.devices.get(index)) {
            let sink = Arc::clone(&sink);
            let answer = device.address.send(Register { class, context, key, sink }).await;
            match answer.unwrap_or(Err(Refusal::EngineDown)) {
                Ok(id) => {
                    return Ok(StreamGuard {
                        id,
                        device: device.clone(),
                    });
                }
                // Of several reasons the one that will pass is told.
                Err(Refusal::EngineDown) => {}
                Err(reason) => refusal = reason,
            }
        }
        Err(refusal)
    }

    /// Live streams that the engines are thought to hold at their default context.
    pub fn capacity(&self) -> usize {
        self.devices.iter().map(|device| device.seat().capacity).sum()
    }

    /// What gives way at the device that a new stream would come to.
    pub fn overload(&self) -> Overload {
        let all = self.devices.iter().map(|device| device.gauges.overload.load(Ordering::Relaxed));
        all.min().map(Overload::from_rank).unwrap_or_default()
    }

    /// True while the schedulers and their engines are all there.
    pub fn is_running(&self) -> bool {
        self.devices
            .iter()
            .all(|device| device.address.connected() && device.gauges.running.load(Ordering::Relaxed))
    }
}

impl Device {
    fn seat(&self) -> Seat {
        Seat {
            live: self.gauges.live.load(Ordering::Relaxed),
            capacity: self.gauges.capacity.load(Ordering::Relaxed),
            files: self.gauges.files.load(Ordering::Relaxed),
        }
    }
}

/// A slot taken by one stream; dropping it gives the slot back, whatever the way out.
pub struct StreamGuard {
    id: StreamId,
    device: Device,
}

impl StreamGuard {
    /// The stream's name in its device's scheduler.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// What gives way at the stream's device.
    pub fn overload(&self) -> Overload {
        Overload::from_rank(self.device.gauges.overload.load(Ordering::Relaxed))
    }

    /// Queues the stream's next audio. A refusal later on reaches the sink as a failed chunk.
    pub fn push(&self, piece: Piece) -> Result<(), PushRefused> {
        self.device
            .address
            .try_send(Push { stream: self.id, piece })
            .map_err(|_| PushRefused)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // Fails only when the scheduler is gone, and its slots with it.
        self.device.releases.send(self.id).ok();
    }
}
