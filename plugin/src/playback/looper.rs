//! The loop: at the clip's own tempo its samples as they are; at another tempo its quarters, each from the host's beat on.

use super::clip::LoopClip;
use super::drift::Drift;
use super::fade::{Fade, Residue};
use super::reader::Reader;
use super::shelf::{Place, Places, Shelf};
use super::slices::{Approach, Beat, Slice};
use super::transport::Moment;
use super::voice::{Leaving, Voice};

/// Fade when the transport starts and stops.
const START_SECS: f64 = 0.003;
/// From one slice into the next; it ends on the beat.
const SLICE_SECS: f64 = 0.003;
/// Crossfade when the position jumps.
const JUMP_SECS: f64 = 0.005;
/// Crossfade to the same clip at another tempo.
const SAME_CLIP_SECS: f64 = 0.010;
/// Crossfade to another clip.
const OTHER_CLIP_SECS: f64 = 0.020;
/// A start so soon after a beat is one on the beat: a fade-in would blunt its attack.
const ON_BEAT_SECS: f64 = 0.005;
/// Tempos nearer than this are the same: they part by less than a sample in a second.
const SAME_TEMPO: f64 = 2e-5;
/// Positions nearer than this, in quarters, may be the host's rounding (1920 ticks to a quarter are common, and 960, and 480).
const ROUNDING_QUARTERS: f64 = 1.0 / 480.0;
/// The same in frames, for very short quarters.
const ROUNDING_FRAMES: f64 = 1.5;
/// Within a slice the position may be off by this much, in quarters, because the next beat puts it right: in a tempo ramp a block's position
/// does not follow from the tempo of the one before.
const SLICE_QUARTERS: f64 = 1.0 / 16.0;

/// How a voice comes in.
#[derive(Debug, Clone, Copy)]
enum Entrance {
    /// After a start or a jump; on a beat with its whole attack.
    Sharp(f64),
    /// Anywhere alike.
    Smooth(f64),
}

/// Plays one clip, and fades others out.
#[derive(Debug)]
pub(super) struct Looper {
    lead: Option<Voice>,
    leaving: Leaving<4>,
    residue: Residue,
    /// Where the next sample is, counted on from the host's position when the voice came in.
    quarters: f64,
    /// While slices are played.
    beat: Option<Beat>,
    is_own_tempo: bool,
    drift: Drift,
    sample_rate_hz: f64,
}

impl Looper {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            lead: None,
            leaving: Leaving::default(),
            residue: Residue::default(),
            quarters: 0.0,
            beat: None,
            is_own_tempo: true,
            drift: Drift::new(sample_rate_hz),
            sample_rate_hz,
        }
    }

    /// Brings what sounds to where the host is. `place` is nothing where the slot is empty or notes are played.
    pub(super) fn begin_block(
        &mut self,
        shelf: &Shelf,
        place: Option<Place>,
        moment: Option<Moment>,
        samples: usize,
    ) {
        let wanted = place.zip(moment);
        let clip = place.and_then(|place| shelf.clip(place));
        let (Some((place, moment)), Some(clip)) = (wanted, clip) else {
            let is_stop = moment.is_none();
            self.leave(shelf, if is_stop { START_SECS } else { OTHER_CLIP_SECS });
            return;
        };
        let ratio = moment.tempo_bpm / clip.tempo_bpm;
        self.is_own_tempo = (ratio - 1.0).abs() < SAME_TEMPO;
        match self.lead.map(|lead| lead.place) {
            Some(before) if before == place => self.follow(shelf, clip, moment, samples),
            Some(before) => {
                let number = shelf.clip(before).map(|clip| clip.number);
                let is_same = number == Some(clip.number);
                let secs = if is_same {
                    SAME_CLIP_SECS
                } else {
                    OTHER_CLIP_SECS
                };
                self.leave(shelf, secs);
                self.enter(clip, place, moment, Entrance::Smooth(secs));
            }
            None if moment.is_start => {
                self.enter(clip, place, moment, Entrance::Sharp(START_SECS));
            }
            None => self.enter(clip, place, moment, Entrance::Smooth(OTHER_CLIP_SECS)),
        }
    }

    /// Writes the next samples of the block.
    pub(super) fn write(&mut self, shelf: &Shelf, moment: Option<Moment>, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        let mut done = 0;
        while done < left.len() {
            let most = left.len() - done;
            let count = match (self.lead_clip(shelf), moment) {
                (Some(clip), Some(moment)) => self.approach_beat(shelf, clip, moment, most),
                _ => most,
            };
            let range = done..done + count;
            self.write_run(shelf, [&mut left[range.clone()], &mut right[range]]);
            if let Some(moment) = moment {
                self.quarters += count as f64 * moment.quarters_per_sample;
            }
            done += count;
        }
    }

    /// Share of the loop that is behind, while it plays.
    pub(super) fn share(&self, shelf: &Shelf) -> Option<f32> {
        let frames = self.lead_clip(shelf)?.frames();
        let frame = self.lead?.reader.frame(frames);
        Some((frame / frames as f64) as f32)
    }

    /// Adds the places that are read from.
    pub(super) fn insert_places(&self, places: &mut Places) {
        self.lead
            .iter()
            .for_each(|voice| places.insert(voice.place));
        self.leaving.insert_places(places);
    }

    fn lead_clip<'shelf>(&self, shelf: &'shelf Shelf) -> Option<&'shelf LoopClip> {
        shelf.clip(self.lead?.place)
    }

    fn samples(&self, secs: f64) -> usize {
        (secs * self.sample_rate_hz).round() as usize
    }

    fn write_run(&mut self, shelf: &Shelf, output: [&mut [f32]; 2]) {
        let [left, right] = output;
        match (self.lead_clip(shelf), &mut self.lead) {
            (Some(clip), Some(lead)) => lead.write_to(clip, [&mut *left, &mut *right]),
            _ => {
                left.fill(0.0);
                right.fill(0.0);
            }
        }
        self.leaving.add_to(shelf, [&mut *left, &mut *right]);
        self.residue.apply([left, right]);
    }

    /// Lets go of the voice that leads.
    fn leave(&mut self, shelf: &Shelf, secs: f64) {
        let samples = self.samples(secs);
        if let Some(lead) = self.lead.take() {
            self.leaving.push(lead, samples, shelf, &mut self.residue);
        }
        self.beat = None;
    }

    /// A new voice at the host's position.
    fn enter(&mut self, clip: &LoopClip, place: Place, moment: Moment, entrance: Entrance) {
        let (slice, over) = Slice::at(clip, moment.quarters, moment.quarters_per_sample);
        let samples_over = over / moment.quarters_per_sample;
        let step = clip.step(self.sample_rate_hz);
        self.quarters = moment.quarters;
        self.drift.restart();
        let reader = if self.is_own_tempo {
            self.beat = None;
            let frame = moment.quarters.rem_euclid(clip.quarters) * clip.frames_per_quarter();
            Reader::around(frame, step)
        } else {
            self.await_beat(clip, slice, over);
            let samples = samples_over.round().max(0.0);
            Reader::slice(slice.origin, slice.length, samples, step)
        };
        let fade = self.entrance_fade(clip, &reader, entrance, samples_over);
        self.lead = Some(Voice {
            place,
            reader,
            fade,
        });
    }

    fn entrance_fade(
        &mut self,
        clip: &LoopClip,
        reader: &Reader,
        entrance: Entrance,
        samples_over: f64,
    ) -> Fade {
        match entrance {
            Entrance::Sharp(secs) if samples_over < ON_BEAT_SECS * self.sample_rate_hz => {
                let jump = reader.previous(clip).map(|sample| -sample);
                self.residue.add(jump, self.samples(secs));
                Fade::steady(1.0)
            }
            Entrance::Sharp(secs) | Entrance::Smooth(secs) => Fade::rising(self.samples(secs)),
        }
    }

    /// The beat after a slice of which so many quarters are over.
    fn await_beat(&mut self, clip: &LoopClip, slice: Slice, over: f64) {
        self.beat = Some(Beat {
            at_quarters: self.quarters + slice.quarters - over,
            slice: slice.next(clip),
            approach: Approach::Far,
        });
    }

    /// Keeps counting, or goes to where the host is.
    fn follow(&mut self, shelf: &Shelf, clip: &LoopClip, moment: Moment, samples: usize) {
        let is_there = !moment.is_start
            && match self.beat {
                None => self.follow_samples(shelf, clip, moment, samples),
                Some(_) => self.follow_slices(clip, moment),
            };
        if !is_there {
            let place = self.lead.map(|lead| lead.place);
            self.leave(shelf, JUMP_SECS);
            if let Some(place) = place {
                self.enter(clip, place, moment, Entrance::Sharp(JUMP_SECS));
            }
        }
    }

    /// While the clip's samples are played as they are. Says whether that is where the host is.
    fn follow_samples(
        &mut self,
        shelf: &Shelf,
        clip: &LoopClip,
        moment: Moment,
        samples: usize,
    ) -> bool {
        let Some(lead) = self.lead else {
            return false;
        };
        let frames = clip.frames() as f64;
        let target = moment.quarters.rem_euclid(clip.quarters) * clip.frames_per_quarter();
        let difference = nearest(target - lead.reader.frame(clip.frames()), frames);
        let rounding = if moment.is_exact {
            ROUNDING_FRAMES
        } else {
            ROUNDING_QUARTERS * clip.frames_per_quarter() + ROUNDING_FRAMES
        };
        if difference.abs() > rounding {
            return false;
        }
        self.quarters = moment.quarters;
        if !self.is_own_tempo {
            let (slice, over) = Slice::at(clip, moment.quarters, moment.quarters_per_sample);
            if let Some(lead) = &mut self.lead {
                lead.reader
                    .enter_slice(slice.origin, slice.length, clip.frames());
            }
            self.await_beat(clip, slice, over);
        } else if let Some(shift) = self.drift.observe(difference, samples) {
            let reader = Reader::around(
                lead.reader.frame(clip.frames()) + shift,
                clip.step(self.sample_rate_hz),
            );
            self.leave(shelf, JUMP_SECS);
            self.lead = Some(Voice {
                reader,
                fade: Fade::rising(self.samples(JUMP_SECS)),
                ..lead
            });
        }
        true
    }

    /// While slices are played. Says whether that is where the host is.
    fn follow_slices(&mut self, clip: &LoopClip, moment: Moment) -> bool {
        let difference = nearest(moment.quarters - self.quarters, clip.quarters);
        if difference.abs() > SLICE_QUARTERS {
            return false;
        }
        self.quarters += difference;
        self.keep_approach(clip, moment);
        true
    }

    /// The tempo may have changed since the next slice began to come in.
    fn keep_approach(&mut self, clip: &LoopClip, moment: Moment) {
        let (Some(beat), Some(lead)) = (&mut self.beat, &mut self.lead) else {
            return;
        };
        let until = beat.samples_from(self.quarters, moment.quarters_per_sample);
        match beat.approach {
            Approach::Far => {}
            Approach::Joins if lead.reader.ends_in(until) => {}
            Approach::Joins => beat.approach = Approach::Far,
            Approach::Sounds if (lead.reader.samples() + until as f64).abs() < 0.5 => {}
            Approach::Sounds => {
                let before = lead.previous(clip);
                lead.reader = coming_slice(clip, beat.slice, until, self.sample_rate_hz);
                let after = lead.previous(clip);
                let jump = [before[0] - after[0], before[1] - after[1]];
                let length = (SLICE_SECS * self.sample_rate_hz) as usize;
                self.residue.add(jump, length);
            }
        }
    }

    /// Does what is due before the next beat, and says for how many samples nothing else is.
    fn approach_beat(
        &mut self,
        shelf: &Shelf,
        clip: &LoopClip,
        moment: Moment,
        most: usize,
    ) -> usize {
        let fade = self.samples(SLICE_SECS);
        loop {
            let Some(beat) = self.beat else {
                return most;
            };
            let until = beat.samples_from(self.quarters, moment.quarters_per_sample);
            match beat.approach {
                _ if until == 0 => self.arrive(shelf, clip),
                Approach::Far if until > fade => return most.min(until - fade),
                Approach::Far => self.prepare(shelf, clip, beat, until),
                Approach::Joins | Approach::Sounds => return most.min(until),
            }
        }
    }

    /// Lets the next slice come in so that it is there on the beat.
    fn prepare(&mut self, shelf: &Shelf, clip: &LoopClip, beat: Beat, until: usize) {
        let Some(lead) = self.lead else {
            return;
        };
        let joins = lead.reader.ends_in(until);
        if !joins {
            self.leaving.push(lead, until, shelf, &mut self.residue);
            self.lead = Some(Voice {
                reader: coming_slice(clip, beat.slice, until, self.sample_rate_hz),
                fade: Fade::rising(until),
                ..lead
            });
        }
        let approach = if joins {
            Approach::Joins
        } else {
            Approach::Sounds
        };
        self.beat = Some(Beat { approach, ..beat });
    }

    /// The beat is now.
    fn arrive(&mut self, shelf: &Shelf, clip: &LoopClip) {
        let (Some(beat), Some(lead)) = (self.beat, self.lead) else {
            return;
        };
        let mut reader = coming_slice(clip, beat.slice, 0, self.sample_rate_hz);
        let mut fade = lead.fade;
        if beat.approach == Approach::Far {
            let length = self.samples(SLICE_SECS);
            self.leaving.push(lead, length, shelf, &mut self.residue);
            let jump = reader.previous(clip).map(|sample| -sample);
            self.residue.add(jump, length);
            fade = Fade::steady(1.0);
        }
        if self.is_own_tempo {
            reader.leave_slice(clip.frames());
            self.drift.restart();
            self.beat = None;
        } else {
            self.beat = Some(Beat {
                at_quarters: beat.at_quarters + beat.slice.quarters,
                slice: beat.slice.next(clip),
                approach: Approach::Far,
            });
        }
        self.lead = Some(Voice {
            reader,
            fade,
            ..lead
        });
    }
}

/// A slice that begins in so many samples.
fn coming_slice(clip: &LoopClip, slice: Slice, until: usize, sample_rate_hz: f64) -> Reader {
    Reader::slice(
        slice.origin,
        slice.length,
        -(until as f64),
        clip.step(sample_rate_hz),
    )
}

/// A difference on a circle of this length, by the shorter way.
fn nearest(difference: f64, length: f64) -> f64 {
    difference - (difference / length).round() * length
}
