//! What comes in at the input, on its way to the conductor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

/// A frame of two channels.
type Frame = [f32; 2];

#[derive(Debug, Default)]
struct Shared {
    /// How often it was armed, while it is; otherwise 0.
    armed: AtomicU64,
    lost_frames: AtomicU64,
}

/// The audio thread's end.
#[derive(Debug)]
pub struct CaptureSender {
    frames: Producer<Frame>,
    /// The arming that has begun to be served.
    begun: u64,
    shared: Arc<Shared>,
}

/// The conductor's end. Whoever listens reads often enough, or frames are lost and counted.
#[derive(Debug)]
pub struct CaptureReceiver {
    frames: Consumer<Frame>,
    times_armed: u64,
    shared: Arc<Shared>,
}

/// A new pair that holds so many frames at most.
pub fn capture(most_frames: usize) -> (CaptureSender, CaptureReceiver) {
    let (frames_in, frames_out) = RingBuffer::new(most_frames.max(1));
    let shared = Arc::<Shared>::default();
    let sender = CaptureSender {
        frames: frames_in,
        begun: 0,
        shared: Arc::clone(&shared),
    };
    let receiver = CaptureReceiver {
        frames: frames_out,
        times_armed: 0,
        shared,
    };
    (sender, receiver)
}

impl CaptureSender {
    /// Takes a block while the other end listens, from the first bar on where one is to begin so many frames after the block's first; one
    /// channel twice for a mono input.
    pub fn push(&mut self, left: &[f32], right: &[f32], frames_to_bar: Option<usize>) {
        let armed = self.shared.armed.load(Ordering::Acquire);
        if armed == 0 {
            return;
        }
        let (mut left, mut right) = (left, right);
        if self.begun != armed {
            let waiting = frames_to_bar.unwrap_or(0);
            if waiting >= left.len().min(right.len()) {
                return;
            }
            (left, right) = (&left[waiting..], &right[waiting..]);
            self.begun = armed;
        }
        let wanted = left.len().min(right.len());
        let count = wanted.min(self.frames.slots());
        let frames = left.iter().zip(right).map(|(left, right)| [*left, *right]);
        let written = match self.frames.write_chunk_uninit(count) {
            Ok(chunk) => chunk.fill_from_iter(frames),
            Err(_) => 0,
        };
        let lost = (wanted - written) as u64;
        if lost > 0 {
            self.shared.lost_frames.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

impl CaptureReceiver {
    /// Begins to listen; what is left of an earlier time is thrown away.
    pub fn arm(&mut self) {
        self.disarm();
        while self.frames.pop().is_ok() {}
        self.shared.lost_frames.store(0, Ordering::Relaxed);
        self.times_armed += 1;
        self.shared.armed.store(self.times_armed, Ordering::Release);
    }

    /// Listens no longer; what came in can still be read.
    pub fn disarm(&self) {
        self.shared.armed.store(0, Ordering::Release);
    }

    /// Appends what came in to two channels.
    pub fn read(&mut self, channels: &mut [Vec<f32>; 2]) {
        while let Ok([left, right]) = self.frames.pop() {
            channels[0].push(left);
            channels[1].push(right);
        }
    }

    /// Frames for which there was no room since it was armed.
    pub fn lost_frames(&self) -> u64 {
        self.shared.lost_frames.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_while_armed_and_never_more_than_fits() {
        let (mut sender, mut receiver) = capture(4);
        let mut heard = [vec![], vec![]];
        sender.push(&[9.0], &[9.0], None);
        receiver.arm();
        sender.push(&[0.1, 0.2, 0.3], &[-0.1, -0.2, -0.3], None);
        sender.push(&[0.4, 0.5], &[-0.4, -0.5], None);
        receiver.disarm();
        sender.push(&[9.0], &[9.0], None);
        receiver.read(&mut heard);
        assert_eq!(heard, [[0.1, 0.2, 0.3, 0.4], [-0.1, -0.2, -0.3, -0.4]]);
        assert_eq!(receiver.lost_frames(), 1);
        receiver.arm();
        assert_eq!(receiver.lost_frames(), 0);
        drop(receiver);
        sender.push(&[0.1; 9], &[0.1; 9], None);
    }

    #[test]
    fn it_begins_with_a_bar() {
        let (mut sender, mut receiver) = capture(64);
        for _ in 0..2 {
            receiver.arm();
            let mut heard = [vec![], vec![]];
            sender.push(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], Some(5));
            sender.push(&[4.0, 5.0, 6.0], &[4.0, 5.0, 6.0], Some(2));
            sender.push(&[7.0, 8.0], &[7.0, 8.0], Some(9));
            receiver.read(&mut heard);
            assert_eq!(heard[0], [6.0, 7.0, 8.0]);
        }
    }
}
