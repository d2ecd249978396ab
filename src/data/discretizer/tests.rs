//! What is encoded can be decoded, whatever the data.

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

fn layout(bins: usize) -> TokenLayout {
    TokenLayout { states: 1, actions: 0, rewards: false, goals: 0, bins }
}

fn fit(column: &[f32], bins: usize, binning: Binning) -> Discretizer {
    Discretizer::fit(layout(bins), &[column.to_vec()], &[binning]).unwrap()
}

#[test]
fn uniform_bins_are_equally_wide_and_know_their_oracle() {
    let discretizer = fit(&[-1.0, 3.0, 0.3], 4, Binning::Uniform);
    assert_eq!(discretizer.edges[0], [-1.0, 0.0, 1.0, 2.0, 3.0]);
    assert_eq!(discretizer.centers[0], [-0.5, 0.5, 1.5, 2.5]);
    let tokens = [-9.0, -1.0, 0.0, 2.99, 3.0, 9.0, f32::NAN, f32::INFINITY]
        .map(|value| discretizer.encode(0, value));
    assert_eq!(tokens, [0, 0, 1, 3, 3, 3, 0, 3]);
    assert_eq!(discretizer.center(0, 4), 2.5);
    let wide = fit(&[0.0, 20.0], 4, Binning::Uniform);
    assert!((wide.oracle(0, 7.0) - (4.0_f64 / 20.0).ln()).abs() < 1e-9);
    assert!((wide.oracle_log_likelihood() - wide.oracle(0, 1.0)).abs() < 1e-9);
}

#[test]
fn quantile_bins_hold_equally_many_rows_however_many_there_are() {
    let mut rng = Rng::stream(0, "quantiles");
    // Of 600 000 rows every third is sampled; their period of 3 must not show.
    for n in [1000, 600_000] {
        let column: Vec<f32> = (0..n).map(|i| (rng.normal() + (i % 3) as f32).exp()).collect();
        let discretizer = fit(&column, 50, Binning::Quantile);
        let mut counts = [0; 50];
        for &value in &column {
            counts[usize::from(discretizer.encode(0, value))] += 1;
        }
        for count in counts {
            assert!((count as f32 / (n as f32 / 50.0) - 1.0).abs() < 0.1, "{counts:?}");
        }
    }
}

#[test]
fn what_repeats_gets_a_bin_and_a_decoded_value_of_its_own() {
    let mut rng = Rng::stream(1, "repeats");
    // Clipped actions: a third at either bound.
    let clipped: Vec<f32> =
        (0..3000).map(|_| rng.uniform(-3.0, 3.0).clamp(-1.0, 1.0) as f32).collect();
    let sparse: Vec<f32> = (0..3000).map(|i| f32::from(i % 40 == 0) * 0.7).collect();
    let zero: Vec<f32> = (0..3000).map(|i| if i % 9 == 0 { rng.normal() } else { 0.0 }).collect();
    let few = [3.0, 1.0, 1.0, 2.0, 2.0];
    for (column, repeated) in [
        (&clipped[..], &[-1.0, 1.0][..]),
        (&sparse, &[0.0, 0.7]),
        (&zero, &[0.0]),
        (&few, &[1.0, 2.0]),
        (&[-4.5e6; 7], &[-4.5e6]),
    ] {
        let discretizer = fit(column, 100, Binning::Quantile);
        discretizer.validate().unwrap();
        for &value in repeated {
            assert_eq!(discretizer.center(0, discretizer.encode(0, value)), value);
        }
    }
    let constant = fit(&[0.25; 10], 10, Binning::Uniform);
    assert_eq!((constant.edges[0][0], constant.edges[0][10]), (-0.25, 0.75));
    assert_eq!(constant.center(0, constant.encode(0, 0.25)), 0.25);
}

#[test]
fn an_expectation_counts_the_stop_token_as_nothing() {
    let discretizer = fit(&[0.0, 4.0], 4, Binning::Uniform);
    assert_eq!(discretizer.expectation(0, &[0.0, 0.5, 0.0, 0.5]), 2.5);
    assert_eq!(discretizer.expectation(0, &[0.0, 0.5, 0.0, 0.25, 0.25]), 1.625);
}

#[test]
fn a_goal_is_the_bins_of_the_coordinates_it_fixes() {
    let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 1, bins: 10 };
    let columns = [vec![0.0, 1.0], vec![0.0, 10.0], vec![-1.0, 1.0]];
    let discretizer = Discretizer::fit(layout, &columns, &[Binning::Uniform; 3]).unwrap();
    assert_eq!(discretizer.goal(&[1, 0], &[7.5, 0.25]), [7, 2]);
}

#[test]
fn bad_data_and_bad_files_are_refused() {
    let refused = |columns: &[Vec<f32>], bins| {
        Discretizer::fit(layout(bins), columns, &vec![Binning::Quantile; columns.len()])
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[vec![0.0, f32::NAN]], 4).contains("row 1"));
    assert!(refused(&[vec![f32::INFINITY]], 4).contains("inf"));
    assert!(refused(&[vec![]], 4).contains("no data"));
    assert!(refused(&[vec![0.0]], 1).contains("bins"));
    assert!(refused(&[vec![0.0], vec![0.0]], 4).contains("columns"));
    let good = fit(&[0.1, 0.7, 0.3], 4, Binning::Quantile);
    let text = serde_json::to_string(&good).unwrap();
    assert_eq!(serde_json::from_str::<Discretizer>(&text).unwrap(), good);
    for change in [
        |bad: &mut Discretizer| bad.edges[0][2] = bad.edges[0][1],
        |bad: &mut Discretizer| bad.edges[0][4] = 1e39_f64 as f32,
        |bad: &mut Discretizer| bad.centers[0][2] = 0.0,
        |bad: &mut Discretizer| bad.centers[0].truncate(3),
        |bad: &mut Discretizer| bad.layout.states = usize::MAX,
        |bad: &mut Discretizer| bad.layout.goals = 2,
        |bad: &mut Discretizer| bad.layout.bins = 0,
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(bad.validate().is_err(), "{bad:?}");
        let text = serde_json::to_string(&bad).unwrap();
        assert!(serde_json::from_str::<Discretizer>(&text).is_err());
    }
}

proptest! {
    #[test]
    fn tokens_decode_into_their_own_bin_whatever_the_data(
        mut column in prop::collection::vec(-1e4_f32..1e4, 1..200),
        copies in 1_usize..40,
        scale in prop::sample::select(vec![1.0_f32, 1e-20, 1e-42, 1e20]),
        offset in prop::sample::select(vec![0.0_f32, 1e7]),
        bins in 2_usize..120,
        quantile: bool,
    ) {
        for value in &mut column {
            *value = (*value + offset) * scale;
        }
        column.extend(vec![column[0]; copies]);
        let binning = if quantile { Binning::Quantile } else { Binning::Uniform };
        let discretizer = fit(&column, bins, binning);
        prop_assert!(discretizer.validate().is_ok(), "{discretizer:?}");
        let text = serde_json::to_string(&discretizer).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Discretizer>(&text).unwrap(), &discretizer);
        for &value in &column {
            let token = discretizer.encode(0, value);
            let bin = usize::from(token);
            let width = discretizer.edges[0][bin + 1] - discretizer.edges[0][bin];
            prop_assert!((discretizer.center(0, token) - value).abs() <= width);
            prop_assert!(discretizer.oracle(0, value).is_finite());
        }
    }
}
