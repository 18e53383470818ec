//! Clips on their way between the conductor and the audio thread, without locks. The audio thread never frees one: what it is done with
//! goes back and is freed by [`ExchangeSender::collect`].

use rtrb::{Consumer, Producer, RingBuffer};

use super::clip::LoopClip;

/// Deliveries that may wait; a conductor that finds no room tries again later.
const DELIVERIES: usize = 32;
/// Old clips that may wait to be freed; when there is no room, the audio thread keeps the others a little longer.
const RETURNS: usize = 64;

/// A slot's new clip, or none.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) slot: usize,
    pub(super) clip: Option<Box<LoopClip>>,
}

/// The conductor's end.
#[derive(Debug)]
pub struct ExchangeSender {
    deliveries: Producer<Delivery>,
    returns: Consumer<Box<LoopClip>>,
    freed_clips: u64,
}

/// The audio thread's end.
#[derive(Debug)]
pub struct ExchangeReceiver {
    deliveries: Consumer<Delivery>,
    returns: Producer<Box<LoopClip>>,
}

/// A new pair. Either end may go first; what is still on its way is freed with the last of them.
pub fn exchange() -> (ExchangeSender, ExchangeReceiver) {
    let (deliveries_in, deliveries_out) = RingBuffer::new(DELIVERIES);
    let (returns_in, returns_out) = RingBuffer::new(RETURNS);
    let sender = ExchangeSender {
        deliveries: deliveries_in,
        returns: returns_out,
        freed_clips: 0,
    };
    let receiver = ExchangeReceiver {
        deliveries: deliveries_out,
        returns: returns_in,
    };
    (sender, receiver)
}

impl ExchangeSender {
    /// Gives a slot a clip, or none. Where there is no room (the audio thread rests, or its end is gone) the clip comes back.
    pub fn send(
        &mut self,
        slot: usize,
        clip: Option<Box<LoopClip>>,
    ) -> Result<(), Option<Box<LoopClip>>> {
        self.collect();
        if self.is_abandoned() {
            return Err(clip);
        }
        let delivery = Delivery { slot, clip };
        self.deliveries
            .push(delivery)
            .map_err(|rtrb::PushError::Full(delivery)| delivery.clip)
    }

    /// Frees the clips that came back, and says how many. To be called now and then.
    pub fn collect(&mut self) -> usize {
        let mut count = 0;
        while self.returns.pop().is_ok() {
            count += 1;
        }
        self.freed_clips += count as u64;
        count
    }

    /// How many came back and were freed in all.
    pub fn freed_clips(&self) -> u64 {
        self.freed_clips
    }

    /// Whether the audio thread's end is gone.
    pub fn is_abandoned(&self) -> bool {
        self.deliveries.is_abandoned()
    }
}

impl ExchangeReceiver {
    /// The next delivery.
    pub(super) fn take(&mut self) -> Option<Delivery> {
        self.deliveries.pop().ok()
    }

    /// Whether there is room for another clip that is done with.
    pub(super) fn can_return(&self) -> bool {
        !self.returns.is_full()
    }

    /// Gives back a clip, or hands it back where there is no room.
    pub(super) fn give_back(&mut self, clip: Box<LoopClip>) -> Option<Box<LoopClip>> {
        match self.returns.push(clip) {
            Ok(()) => None,
            Err(rtrb::PushError::Full(clip)) => Some(clip),
        }
    }
}
