//! Stochastic beam search (Kool, van Hoof & Welling 2019, "Stochastic Beams and
//! Where to Find Them", Algorithm 1): a sample of continuations without
//! replacement.
//!
//! Adding independent Gumbel noise to the log-probabilities of all continuations
//! and keeping the k largest sums draws k of them without replacement. The
//! largest sum among the continuations of a beam is itself Gumbel around that
//! beam's log-probability, so the noise can be drawn from the top down: that of
//! the tokens after a beam, given that their largest sum is the beam's own.

use super::filters::Candidate;
use super::likelihood::{Contender, Entry};
use super::search::{Choice, Search};
use crate::rng::Rng;

/// What a continuation drew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lot {
    /// ln of its probability under the filters and the temperature.
    pub log_prob: f64,
    /// That plus its noise: what the contest for the beam goes by.
    pub perturbed: f64,
}

impl Search<'_> {
    /// The tokens over all beams with the largest perturbed log-probabilities.
    pub(super) fn draw_distinct(&mut self, depth: usize) -> Vec<Choice> {
        let filter = self.filter(depth);
        let ended = self.ended.iter().enumerate();
        let mut contenders: Vec<Contender> = ended
            .map(|(index, beam)| Contender {
                key: beam.lot.perturbed,
                from: Entry::Ended(index),
                lot: beam.lot,
            })
            .collect();
        for row in 0..self.live.len() {
            let candidates = filter.candidates(self.row(row), &self.forbidden(depth, row));
            let lots = draw_lots(self.live[row].lot, &candidates, &mut self.rng);
            contenders.extend(candidates.iter().zip(lots).map(|(candidate, lot)| Contender {
                key: lot.perturbed,
                from: Entry::Token { row, token: candidate.token },
                lot,
            }));
        }
        self.contest(contenders)
    }
}

/// The lots of the tokens that may follow a beam, the largest of which is the
/// beam's own (Appendix B.3).
fn draw_lots(parent: Lot, candidates: &[Candidate], rng: &mut Rng) -> Vec<Lot> {
    let mass: f64 = candidates.iter().map(|one| f64::from(one.probability)).sum();
    let mut lots: Vec<Lot> = candidates
        .iter()
        .map(|one| {
            let share = (f64::from(one.probability) / mass).max(f64::MIN_POSITIVE);
            let log_prob = parent.log_prob + share.ln();
            Lot { log_prob, perturbed: log_prob + gumbel(rng) }
        })
        .collect();
    let largest = lots.iter().map(|lot| lot.perturbed).fold(f64::NEG_INFINITY, f64::max);
    for lot in &mut lots {
        // ln(1 - exp(x)) of the largest itself is minus infinity, and its lot
        // becomes the parent's.
        let rest = (-(lot.perturbed - largest).exp()).ln_1p();
        let v = parent.perturbed - lot.perturbed + rest;
        lot.perturbed = parent.perturbed - v.max(0.0) - (-v.abs()).exp().ln_1p();
    }
    lots
}

/// Standard Gumbel noise.
fn gumbel(rng: &mut Rng) -> f64 {
    let uniform = rng.uniform(0.0, 1.0).max(f64::MIN_POSITIVE);
    // One is never drawn, but it may be rounded to.
    -(-uniform.ln()).max(f64::MIN_POSITIVE).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(probabilities: &[f32]) -> Vec<Candidate> {
        let of = |(token, probability): (u16, &f32)| Candidate { token, probability: *probability };
        (0_u16..).zip(probabilities).map(of).collect()
    }

    #[test]
    fn the_largest_lot_is_the_parents_and_falls_on_tokens_by_their_probability() {
        let mut rng = Rng::stream(1, "lots");
        // A cut left two thirds of the mass.
        let candidates = candidates(&[0.1, 0.4, 1.0 / 6.0]);
        let mut wins = [0_usize; 3];
        let n = 20_000_u16;
        for _ in 0..n {
            let parent = Lot { log_prob: -2.0, perturbed: 0.7 };
            let lots = draw_lots(parent, &candidates, &mut rng);
            let best = (0..3).max_by(|a, b| lots[*a].perturbed.total_cmp(&lots[*b].perturbed));
            wins[best.unwrap()] += 1;
            let largest = lots.iter().map(|lot| lot.perturbed).fold(f64::MIN, f64::max);
            assert!((largest - 0.7).abs() < 1e-9, "{lots:?}");
            assert!((lots[1].log_prob - (-2.0 + 0.6_f64.ln())).abs() < 1e-6);
        }
        for (wins, p) in wins.into_iter().zip([0.15, 0.6, 0.25]) {
            let se = (p * (1.0 - p) / f64::from(n)).sqrt();
            assert!((wins as f64 / f64::from(n) - p).abs() < 4.0 * se, "{wins} of {n} against {p}");
        }
    }
}
