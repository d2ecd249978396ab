//! From logits to candidate tokens: forbidden tokens, the k most likely, the
//! cut at a cumulative mass, and drawing from what is left.

use crate::nn::softmax::{exponentials, highest};
use crate::rng::Rng;

/// Which tokens may follow. Both cuts apply; the most likely token always
/// passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Filter {
    /// Most tokens; 0 for all.
    pub k: usize,
    /// The least likely tokens are left out while their mass, summed from the
    /// least likely up, is below this.
    pub cdf: f32,
    /// Divides the logits first.
    pub temperature: f32,
}

/// A token that may follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub token: u16,
    /// Share among the tokens that are not forbidden, before the cuts.
    pub probability: f32,
}

/// The unfiltered distribution, given its `log_sum_exp`.
pub(super) fn probabilities(logits: &[f32], normalizer: f32) -> Vec<f32> {
    let mut shares = logits.to_vec();
    exponentials(&mut shares, normalizer, 1.0);
    shares
}

/// The logits, with forbidden tokens made impossible.
fn masked(logits: &[f32], forbidden: &[u16]) -> Vec<f32> {
    let mut masked = logits.to_vec();
    for token in forbidden {
        if let Some(logit) = masked.get_mut(usize::from(*token)) {
            *logit = f32::NEG_INFINITY;
        }
    }
    masked
}

/// The most likely token that is not forbidden; the first of equals.
pub(super) fn greedy(logits: &[f32], forbidden: &[u16]) -> Option<u16> {
    let masked = masked(logits, forbidden);
    let top = highest(&masked);
    let is_top = |logit: &f32| *logit == top && top > f32::NEG_INFINITY;
    masked.iter().position(is_top).map(|token| token as u16)
}

/// Tokens of positive probability that are not forbidden, in their order.
pub(super) fn allowed<'a>(
    logits: &'a [f32],
    forbidden: &'a [u16],
) -> impl Iterator<Item = (u16, f32)> + 'a {
    let numbered = logits.iter().copied().zip(0_u16..);
    numbered
        .filter(|(logit, token)| *logit > f32::NEG_INFINITY && !forbidden.contains(token))
        .map(|(logit, token)| (token, logit))
}

impl Filter {
    /// Whether every token passes.
    pub fn is_off(&self) -> bool {
        self.k == 0 && self.cdf == 0.0
    }

    /// What passes: the most likely first and equals in the order of tokens,
    /// or all in the order of tokens where nothing is cut. Empty where
    /// everything of positive probability is forbidden.
    pub fn candidates(&self, logits: &[f32], forbidden: &[u16]) -> Vec<Candidate> {
        if self.k == 1 {
            // Sorting a hundred bins to use one would be most of the search.
            let token = greedy(logits, forbidden);
            return token.map(|token| Candidate { token, probability: 1.0 }).into_iter().collect();
        }
        let masked = masked(logits, forbidden);
        let mut weights = masked.clone();
        exponentials(&mut weights, highest(&masked), self.temperature);
        // One integer per token, of which the least is the most likely: bits of
        // a positive float order as the float does, and integers sort twice as
        // fast as pairs.
        let mut sum = 0.0;
        let mut keys: Vec<u64> = allowed(&masked, &[])
            .map(|(token, _)| {
                let weight = weights[usize::from(token)];
                sum += weight;
                (u64::from(!weight.to_bits()) << 16) | u64::from(token)
            })
            .collect();
        if !self.is_off() {
            keys.sort_unstable();
        }
        let mut left: Vec<Candidate> = keys
            .into_iter()
            .map(|key| Candidate {
                token: key as u16,
                probability: f32::from_bits(!((key >> 16) as u32)) / sum,
            })
            .collect();
        let mut mass = 0.0;
        let mut passing = left.len();
        while passing > 1 {
            mass += left[passing - 1].probability;
            if mass >= self.cdf {
                break;
            }
            passing -= 1;
        }
        left.truncate(if self.k == 0 { passing } else { passing.min(self.k) });
        left
    }
}

/// One of the candidates, in proportion to their probabilities; one number of
/// the stream whatever their count. `None` without candidates.
pub(super) fn draw(candidates: &[Candidate], rng: &mut Rng) -> Option<u16> {
    let sum: f64 = candidates.iter().map(|candidate| f64::from(candidate.probability)).sum();
    let mut left = rng.uniform(0.0, sum.max(f64::MIN_POSITIVE));
    for candidate in candidates {
        left -= f64::from(candidate.probability);
        if left < 0.0 {
            return Some(candidate.token);
        }
    }
    candidates.first().map(|candidate| candidate.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Filter = Filter { k: 0, cdf: 0.0, temperature: 1.0 };

    /// Probabilities 0.1, 0.4, 0.2, 0.3.
    fn logits() -> Vec<f32> {
        [0.1_f32, 0.4, 0.2, 0.3].iter().map(|p| p.ln() + 5.0).collect()
    }

    fn tokens(filter: Filter, forbidden: &[u16]) -> Vec<u16> {
        filter.candidates(&logits(), forbidden).iter().map(|candidate| candidate.token).collect()
    }

    #[test]
    fn the_k_most_likely_pass_and_all_without_k() {
        assert_eq!(tokens(OFF, &[]), [0, 1, 2, 3]);
        assert_eq!(tokens(Filter { k: 2, ..OFF }, &[]), [1, 3]);
        assert_eq!(tokens(Filter { k: 1, ..OFF }, &[]), [1]);
        assert_eq!(tokens(Filter { k: 9, ..OFF }, &[]), [1, 3, 2, 0]);
    }

    #[test]
    fn the_least_likely_are_left_out_while_their_mass_is_below_the_cut() {
        // From the least likely up: 0.1, 0.3, 0.6, 1.
        for (cdf, expected) in [(0.05, 4), (0.2, 3), (0.5, 2), (0.7, 1), (0.99999, 1)] {
            assert_eq!(tokens(Filter { cdf, ..OFF }, &[]).len(), expected, "cut {cdf}");
        }
        assert_eq!(tokens(Filter { k: 1, cdf: 0.2, ..OFF }, &[]), [1]);
        assert_eq!(tokens(Filter { k: 3, cdf: 0.5, ..OFF }, &[]), [1, 3]);
    }

    #[test]
    fn forbidden_tokens_hold_no_mass_and_no_place() {
        assert_eq!(tokens(Filter { k: 2, ..OFF }, &[1]), [3, 2]);
        assert_eq!(tokens(Filter { k: 1, ..OFF }, &[1]), [3]);
        // Left are 3: 0.5, 2: 0.333, 0: 0.167.
        assert_eq!(tokens(Filter { cdf: 0.45, ..OFF }, &[1]), [3, 2]);
        assert_eq!(tokens(Filter { cdf: 0.55, ..OFF }, &[1]), [3]);
        assert!(tokens(OFF, &[0, 1, 2, 3]).is_empty());
        assert!(tokens(Filter { k: 1, ..OFF }, &[0, 1, 2, 3]).is_empty());
    }

    #[test]
    fn a_low_temperature_sharpens_and_a_high_one_flattens() {
        let cut = Filter { cdf: 0.45, ..OFF };
        assert_eq!(tokens(cut, &[]), [1, 3]);
        assert_eq!(tokens(Filter { temperature: 0.2, ..cut }, &[]), [1]);
        assert_eq!(tokens(Filter { temperature: 50.0, ..cut }, &[]), [1, 3, 2]);
    }

    #[test]
    fn impossible_tokens_never_pass() {
        let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 1.0];
        let passing = OFF.candidates(&logits, &[]);
        assert_eq!(passing.iter().map(|pick| pick.token).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(greedy(&logits, &[3]), Some(1));
        assert_eq!(greedy(&logits, &[3, 1]), None);
    }

    #[test]
    fn draws_come_in_proportion_to_what_passes() {
        let mut rng = Rng::stream(0, "draws");
        let passing = Filter { k: 2, ..OFF }.candidates(&logits(), &[]);
        let mut counts = [0.0_f32; 4];
        for _ in 0..20_000 {
            counts[usize::from(draw(&passing, &mut rng).unwrap())] += 1.0 / 20_000.0;
        }
        for (share, expected) in counts.iter().zip([0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]) {
            assert!((share - expected).abs() < 0.015, "{counts:?}");
        }
        assert_eq!(draw(&[], &mut rng), None);
    }
}
