//! Tokens, weights and heads in words.

use crate::data::TokenKind;
use crate::lab::beam::{Bins, SequenceToken};
use crate::ui::stage::field::symbol;

use super::answer::{Answer, Head};

/// A row's words name so many of what it attends to most.
const MOST: usize = 3;

/// A head, or the mean over all.
pub fn head(head: Option<Head>) -> String {
    match head {
        Some(Head { layer, head }) => format!("Layer {}, head {}", layer + 1, head + 1),
        None => "Mean over all heads".to_owned(),
    }
}

/// What a token is: `x`, `a_x`, `r`.
pub fn name(bins: &Bins, token: &SequenceToken) -> String {
    bins.names.get(token.dim).map_or("?".into(), |name| symbol(name).to_owned())
}

/// A transition, counted from the present one.
pub fn transition(number: i32) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:+}") }
}

/// A token with its transition and value.
pub fn token(bins: &Bins, token: &SequenceToken) -> String {
    let name = name(bins, token);
    match (token.kind, token.value) {
        (None, Some(value)) => format!("goal {name} ({value:.2})"),
        (None, None) => format!("goal {name}"),
        (Some(_), Some(value)) => {
            format!("{name} of transition {} ({value:.2})", transition(token.transition))
        }
        (Some(_), None) => format!("the stop at transition {}", transition(token.transition)),
    }
}

/// A share.
pub fn percent(share: f32) -> String {
    let percent = 100.0 * share;
    if percent >= 0.05 || percent == 0.0 { format!("{percent:.1} %") } else { "< 0.1 %".into() }
}

/// How much one token attends to another.
fn attends(answer: &Answer, of: Option<Head>, [row, column]: [usize; 2]) -> Option<String> {
    let bins = &answer.beam.bins;
    let (from, to) = (answer.tokens.get(row)?, answer.tokens.get(column)?);
    let weight = answer.row(of, row).get(column)?;
    let (from, to_words) = (token(bins, from), token(bins, to));
    Some(if column > row {
        format!("{from} cannot see {to_words}, which comes later")
    } else if to.kind == Some(TokenKind::Return) {
        format!("{from}: nobody attends to a reward-to-go")
    } else if column == row {
        format!("{from} attends {} to itself", percent(*weight))
    } else {
        format!("{from} attends {} to {to_words}", percent(*weight))
    })
}

/// What one token attends to most.
fn most(answer: &Answer, of: Option<Head>, row: usize) -> Option<String> {
    let bins = &answer.beam.bins;
    let from = token(bins, answer.tokens.get(row)?);
    let mut weights: Vec<(usize, f32)> =
        answer.row(of, row).iter().copied().take(row + 1).enumerate().collect();
    weights.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named: Vec<String> = weights
        .into_iter()
        .take(MOST)
        .filter(|(_, weight)| *weight > 0.0)
        .filter_map(|(column, weight)| {
            let to = answer.tokens.get(column)?;
            let words = if column == row { "itself".to_owned() } else { token(bins, to) };
            Some(format!("{words} {}", percent(weight)))
        })
        .collect();
    Some(format!("{from} attends most to {}", named.join(", ")))
}

/// The line under a map: the cell under the pointer, else the marked row, else
/// what to do.
pub fn spoken(
    answer: &Answer,
    of: Option<Head>,
    cell: Option<[usize; 2]>,
    row: Option<usize>,
) -> String {
    let cell = cell.and_then(|cell| attends(answer, of, cell));
    cell.or_else(|| row.and_then(|row| most(answer, of, row)))
        .unwrap_or_else(|| "Click a row to light up on the stage what its token looks at.".into())
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    const FIRST: Option<Head> = Some(Head { layer: 0, head: 0 });

    #[test]
    fn a_cell_says_which_token_attends_how_much_to_which() {
        let answer = answer();
        let said = |cell| spoken(&answer, FIRST, Some(cell), None);
        assert_eq!(
            said([3, 2]),
            "x of transition 0 (0.30) attends 30.0 % to a_x of transition -1 (0.20)"
        );
        assert_eq!(said([3, 0]), "x of transition 0 (0.30) attends 10.0 % to goal x (0.90)");
        assert_eq!(said([3, 3]), "x of transition 0 (0.30) attends 40.0 % to itself");
        assert!(said([1, 3]).contains("comes later"));
    }

    #[test]
    fn a_row_says_what_it_attends_to_most_and_nothing_marked_says_what_to_do() {
        let answer = answer();
        assert_eq!(
            spoken(&answer, FIRST, None, Some(3)),
            "x of transition 0 (0.30) attends most to itself 40.0 %, a_x of transition -1 (0.20) \
             30.0 %, x of transition -1 (0.10) 20.0 %"
        );
        assert!(spoken(&answer, FIRST, None, Some(99)).contains("Click"));
        assert_eq!([head(FIRST), head(None)], ["Layer 1, head 1", "Mean over all heads"]);
        assert_eq!([-2, 0, 3].map(transition), ["-2", "0", "+3"]);
        assert_eq!([0.0, 0.0001, 0.5].map(percent), ["0.0 %", "< 0.1 %", "50.0 %"]);
    }
}
