//! Likelihood search: keep the most likely continuations of all beams. Those
//! that have ended are compared with longer ones by their mean per token.

use std::cmp::Ordering;

use super::filters::allowed;
use super::search::{Choice, Search};
use super::stochastic::Lot;

/// A token after a live beam, or a beam that has ended, in the contest for the
/// next beam.
pub(super) struct Contender {
    /// What the contest goes by, the most wins.
    pub key: f64,
    pub from: Entry,
    /// As the choice's that it becomes.
    pub lot: Lot,
}

/// The order of equals: ended beams first, then by row and token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Ended(usize),
    Token { row: usize, token: u16 },
}

/// The best first.
fn order(a: &Contender, b: &Contender) -> Ordering {
    b.key.total_cmp(&a.key).then(a.from.cmp(&b.from))
}

impl Search<'_> {
    /// The most likely tokens over all beams.
    pub(super) fn rank(&mut self, depth: usize) -> Vec<Choice> {
        let contenders = self.contenders(depth);
        self.contest(contenders)
    }

    /// The best `beam` tokens over all beams, the best first, then the best
    /// `beam` of the others, which are not kept. Beams that have ended hold
    /// their place as long as they are among the best.
    pub(super) fn contest(&mut self, mut contenders: Vec<Contender>) -> Vec<Choice> {
        let beam = self.request.settings.beam;
        // At most `beam` of them have ended, which are recorded already.
        let interesting = 3 * beam;
        if contenders.len() > interesting {
            contenders.select_nth_unstable_by(interesting, order);
            contenders.truncate(interesting);
        }
        contenders.sort_unstable_by(order);
        let mut ended = Vec::new();
        let mut choices = Vec::with_capacity(2 * beam);
        let mut rejected = 0;
        for (place, contender) in contenders.iter().enumerate() {
            let is_kept = place < beam;
            match contender.from {
                Entry::Ended(index) if is_kept => ended.push(self.ended[index]),
                Entry::Ended(_) => {}
                Entry::Token { row, token } => {
                    rejected += usize::from(!is_kept);
                    if rejected <= beam {
                        let lot = contender.lot;
                        choices.push(Choice { is_kept, lot, ..self.choice(row, token, 1) });
                    }
                }
            }
        }
        self.ended = ended;
        choices
    }

    fn contenders(&self, depth: usize) -> Vec<Contender> {
        let filter = self.filter(depth);
        let lot = Lot::default();
        let ended = self.ended.iter().enumerate();
        let mut contenders: Vec<Contender> = ended
            .map(|(index, beam)| Contender {
                key: f64::from(self.mean(beam)),
                from: Entry::Ended(index),
                lot,
            })
            .collect();
        for (row, beam) in self.live.iter().enumerate() {
            let forbidden = self.forbidden(depth, row);
            let logits = self.row(row);
            let mut enter = |token: u16| {
                let log_prob = logits[usize::from(token)] - self.normalizers[row];
                let from = Entry::Token { row, token };
                let mean = (beam.total + log_prob) / (depth + 1) as f32;
                contenders.push(Contender { key: f64::from(mean), from, lot });
            };
            if filter.is_off() {
                allowed(logits, &forbidden).for_each(|(token, _)| enter(token));
            } else {
                filter.candidates(logits, &forbidden).iter().for_each(|pick| enter(pick.token));
            }
        }
        contenders
    }
}
