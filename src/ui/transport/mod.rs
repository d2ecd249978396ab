//! The clocks: how far the noise has become a plan or a search has grown, how
//! far the ball has followed it, and how far the weights had been trained.

pub mod bar;

/// Seconds the whole denoising chain takes at speed 1.
pub const CHAIN_SECS: f32 = 0.7;
/// Seconds a whole beam search takes to grow at speed 1.
pub const SEARCH_SECS: f32 = 1.2;
/// Slowest and fastest playback.
pub const SPEEDS: [f32; 2] = [0.05, 8.0];
/// Checkpoints a second at speed 1.
const CHECKPOINT_RATE: f32 = 2.0;
/// How far a jump goes along the environment clock, in seconds.
const JUMP_SECS: f32 = 0.5;

/// Which clock the keys and the play button drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Steps of the denoising chain, or tokens of a search.
    Denoising,
    /// Environment time.
    Environment,
    /// Checkpoints of a training run.
    Training,
}

/// What there is to play.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent {
    /// Denoising steps in the whole chain, or tokens of the search.
    pub chain_steps: usize,
    /// The farthest chain position computed so far, at most `chain_steps`.
    pub chain_ready: f32,
    /// Seconds the whole chain takes at speed 1.
    pub chain_secs: f32,
    /// Length of the rollout in seconds.
    pub time_secs: f32,
    /// Seconds between states.
    pub dt_secs: f32,
    /// Whether the rollout is still being computed.
    pub is_growing: bool,
    /// Checkpoints of the run in training; 0 without one.
    pub checkpoints: usize,
}

/// Both clocks and how they run.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// The active clock.
    pub clock: Clock,
    /// Whether it runs.
    pub playing: bool,
    /// Playback speed; 1 is real time.
    pub speed: f32,
    /// Start over at the end.
    pub looping: bool,
    /// Position along the chain: `k` is before step `k`, `chain_steps` is the
    /// finished plan.
    pub chain: f32,
    /// Environment time in seconds.
    pub time_secs: f32,
    /// Place among the checkpoints; their number stands for the newest
    /// weights, whatever is to come.
    pub checkpoint: f32,
    /// The environment clock waits while the start is being dragged.
    pub held: bool,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            clock: Clock::Denoising,
            playing: true,
            speed: 1.0,
            looping: false,
            chain: 0.0,
            time_secs: 0.0,
            checkpoint: f32::INFINITY,
            held: false,
        }
    }
}

impl Transport {
    /// Let real time pass. Returns whether anything moves, so that the window
    /// has to be painted again.
    pub fn advance(&mut self, dt_secs: f32, extent: &Extent) -> bool {
        if !self.playing || self.held {
            return false;
        }
        match self.clock {
            Clock::Denoising => self.advance_chain(dt_secs, extent),
            Clock::Environment => self.advance_time(dt_secs, extent),
            Clock::Training => self.advance_training(dt_secs, extent),
        }
    }

    fn advance_chain(&mut self, dt_secs: f32, extent: &Extent) -> bool {
        let end = extent.chain_steps as f32;
        if extent.chain_steps == 0 {
            return false;
        }
        let rate = end / extent.chain_secs.max(1e-3) * self.speed;
        // The chain may still be growing: wait at its tip.
        self.chain = (self.chain + dt_secs * rate).min(extent.chain_ready);
        if self.chain >= end {
            if self.looping {
                self.chain = 0.0;
            } else {
                // The plan is there: follow it.
                self.clock = Clock::Environment;
            }
        }
        self.chain < extent.chain_ready || self.clock == Clock::Environment
    }

    fn advance_training(&mut self, dt_secs: f32, extent: &Extent) -> bool {
        let end = extent.checkpoints as f32;
        self.checkpoint = (self.checkpoint + dt_secs * self.speed * CHECKPOINT_RATE).min(end);
        if self.checkpoint >= end {
            if self.looping && extent.checkpoints > 0 {
                self.checkpoint = 0.0;
            } else {
                self.checkpoint = f32::INFINITY;
                self.playing = false;
            }
        }
        true
    }

    fn advance_time(&mut self, dt_secs: f32, extent: &Extent) -> bool {
        if extent.time_secs <= 0.0 {
            return false;
        }
        self.time_secs += dt_secs * self.speed;
        if self.time_secs >= extent.time_secs && extent.is_growing {
            // More is on its way: wait at the tip.
            self.time_secs = extent.time_secs;
            return false;
        }
        if self.time_secs >= extent.time_secs {
            if self.looping {
                self.time_secs = 0.0;
            } else {
                self.time_secs = extent.time_secs;
                self.playing = false;
            }
        }
        true
    }

    /// Play or pause; at the end, play again from the beginning.
    pub fn toggle(&mut self, extent: &Extent) {
        self.playing = !self.playing;
        if self.playing {
            let at_end = match self.clock {
                Clock::Denoising => self.chain >= extent.chain_steps as f32,
                Clock::Environment => {
                    !extent.is_growing && self.time_secs >= extent.time_secs - 1e-4
                }
                Clock::Training => self.checkpoint >= extent.checkpoints as f32,
            };
            if at_end {
                self.to_start();
            }
        }
    }

    /// Move the active clock by `steps`, and stop it there.
    pub fn step(&mut self, steps: i32, extent: &Extent) {
        self.playing = false;
        match self.clock {
            Clock::Denoising => {
                // From between two steps, a step lands on the next whole one.
                let from = if steps > 0 { self.chain.floor() } else { self.chain.ceil() };
                self.chain = (from + steps as f32).clamp(0.0, extent.chain_ready);
            }
            Clock::Environment => {
                let dt = extent.dt_secs.max(1e-6);
                let step = (self.time_secs / dt).round() + steps as f32;
                self.time_secs = (step * dt).clamp(0.0, extent.time_secs);
            }
            Clock::Training => {
                let end = extent.checkpoints as f32;
                let next = (self.checkpoint.min(end).floor() + steps as f32).clamp(0.0, end);
                self.checkpoint = if next >= end { f32::INFINITY } else { next };
            }
        }
    }

    /// Move the active clock far: half a second, or to the chain's ends.
    pub fn jump(&mut self, forward: bool, extent: &Extent) {
        let sign = if forward { 1 } else { -1 };
        match self.clock {
            Clock::Denoising => self.step(sign * extent.chain_steps.max(1) as i32, extent),
            Clock::Training => self.step(4 * sign, extent),
            Clock::Environment => {
                let steps = (JUMP_SECS / extent.dt_secs.max(1e-6)).round() as i32;
                self.step(sign * steps, extent);
            }
        }
    }

    /// The active clock to its beginning.
    pub fn to_start(&mut self) {
        match self.clock {
            Clock::Denoising => self.chain = 0.0,
            Clock::Environment => self.time_secs = 0.0,
            Clock::Training => self.checkpoint = 0.0,
        }
    }

    /// The active clock to its end.
    pub fn to_end(&mut self, extent: &Extent) {
        self.playing = false;
        match self.clock {
            Clock::Denoising => self.chain = extent.chain_ready,
            Clock::Environment => self.time_secs = extent.time_secs,
            Clock::Training => self.checkpoint = f32::INFINITY,
        }
    }

    /// Play faster or slower by `factor`.
    pub fn scale_speed(&mut self, factor: f32) {
        self.speed = (self.speed * factor).clamp(SPEEDS[0], SPEEDS[1]);
    }

    /// Show the noise condensing, then the ball.
    pub fn replay(&mut self) {
        self.clock = Clock::Denoising;
        self.chain = 0.0;
        self.time_secs = 0.0;
        self.playing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent {
        chain_steps: 5,
        chain_ready: 5.0,
        chain_secs: CHAIN_SECS,
        time_secs: 2.0,
        dt_secs: 0.01,
        is_growing: false,
        checkpoints: 4,
    };

    #[test]
    fn the_chain_plays_in_its_time_and_hands_over_to_the_ball() {
        let mut transport = Transport::default();
        assert!(transport.advance(CHAIN_SECS / 2.0, &EXTENT));
        assert!((transport.chain - 2.5).abs() < 1e-4);
        transport.advance(CHAIN_SECS, &EXTENT);
        assert_eq!(transport.clock, Clock::Environment);
        transport.advance(0.5, &EXTENT);
        assert!((transport.time_secs - 0.5).abs() < 1e-6);
        transport.advance(9.0, &EXTENT);
        assert!(!transport.playing && transport.time_secs == 2.0);
        transport.toggle(&EXTENT);
        assert!(transport.playing && transport.time_secs == 0.0);
    }

    #[test]
    fn a_growing_chain_is_waited_for() {
        let mut transport = Transport::default();
        let growing = Extent { chain_ready: 1.0, ..EXTENT };
        assert!(!transport.advance(10.0, &growing));
        assert_eq!((transport.chain, transport.clock), (1.0, Clock::Denoising));
    }

    #[test]
    fn a_growing_rollout_is_waited_for_at_its_tip() {
        let mut transport = Transport { clock: Clock::Environment, ..Transport::default() };
        let growing = Extent { is_growing: true, ..EXTENT };
        assert!(!transport.advance(10.0, &growing));
        assert!(transport.playing && transport.time_secs == 2.0);
        transport.toggle(&growing);
        transport.toggle(&growing);
        assert_eq!(transport.time_secs, 2.0, "going on is not starting over");
        let longer = Extent { time_secs: 3.0, ..growing };
        assert!(transport.advance(0.5, &longer) && transport.time_secs == 2.5);
    }

    #[test]
    fn steps_land_on_whole_steps_both_ways_and_stay_inside() {
        let mut transport = Transport { chain: 2.5, ..Transport::default() };
        transport.step(1, &EXTENT);
        assert_eq!(transport.chain, 3.0);
        transport.chain = 2.5;
        transport.step(-1, &EXTENT);
        assert_eq!(transport.chain, 2.0);
        transport.jump(false, &EXTENT);
        assert_eq!(transport.chain, 0.0);
        transport.to_end(&EXTENT);
        assert_eq!(transport.chain, 5.0);
        transport.clock = Clock::Environment;
        transport.step(3, &EXTENT);
        assert!((transport.time_secs - 0.03).abs() < 1e-6 && !transport.playing);
        transport.jump(true, &EXTENT);
        assert!((transport.time_secs - 0.53).abs() < 1e-6);
        transport.step(-1000, &EXTENT);
        assert_eq!(transport.time_secs, 0.0);
    }

    #[test]
    fn the_training_clock_walks_the_checkpoints_and_ends_at_the_newest() {
        let mut transport = Transport { clock: Clock::Training, ..Transport::default() };
        transport.step(-1, &EXTENT);
        assert_eq!(transport.checkpoint, 3.0);
        transport.jump(false, &EXTENT);
        assert_eq!(transport.checkpoint, 0.0);
        transport.toggle(&EXTENT);
        assert!(transport.advance(0.6, &EXTENT));
        assert_eq!(transport.checkpoint.floor(), 1.0);
        transport.advance(9.0, &EXTENT);
        assert!(transport.checkpoint.is_infinite() && !transport.playing);
    }

    #[test]
    fn loops_start_over_and_speed_stays_in_range() {
        let mut transport =
            Transport { looping: true, clock: Clock::Environment, ..Transport::default() };
        transport.advance(2.5, &EXTENT);
        assert!(transport.playing && transport.time_secs == 0.0);
        for _ in 0..20 {
            transport.scale_speed(2.0);
        }
        assert_eq!(transport.speed, SPEEDS[1]);
    }
}
