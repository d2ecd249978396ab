//! `foresight bench --frontier`: how good plans are and how long they take.

use std::ops::ControlFlow;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::Bench;
use crate::eval::Estimate;
use crate::lab::frontier::{
    self, DragPoint, Frontier, MeasureOptions, Parts, Point, fewest, on_frontier,
};
use crate::lab::{SHIPPED, Scene, device};

/// A part of the trade-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Every sampler at several numbers of steps.
    Samplers,
    /// Planning again all the time, from noise and from the last plan.
    Replanning,
    /// Dragging the goal.
    Drags,
}

impl Bench {
    /// Measure, print and keep.
    pub(super) fn measure_frontier(&self) -> anyhow::Result<()> {
        if !(1..=1_000_000).contains(&self.episodes) {
            bail!("{} episodes; use 1 to 1000000", self.episodes);
        }
        let name = self.scene.as_deref().unwrap_or(SHIPPED[0].name);
        let device = self.device.choose()?;
        let (scene, mut opened) = super::super::open_scene(name, &self.settings, &device)?;
        let target = match self.record {
            true => Some(
                frontier::recorded_path(&scene, Scene::folder(name).as_deref())
                    .context("--record needs a scene file with a weights file beside it")?,
            ),
            false => None,
        };
        let options = MeasureOptions {
            name: super::super::scene_name(name),
            machine: format!("{}; {}", device.name, device::machine()),
            episodes: self.episodes,
            seed: self.seed,
            at_once: match device.is_gpu() {
                // It has one queue.
                true => 1,
                false => rayon::current_num_threads(),
            },
            parts: match self.part {
                None => Parts::ALL,
                Some(part) => Parts {
                    samplers: part == Part::Samplers,
                    replanning: part == Part::Replanning,
                    drags: part == Part::Drags,
                },
            },
        };
        let bar = super::super::progress_bar(1000, "measuring", self.json);
        let found = frontier::measure(&scene, &mut opened, &options, &mut |part, _| {
            bar.set_position((1000.0 * part) as u64);
            ControlFlow::Continue(())
        })
        .with_context(|| format!("{name} cannot be measured"))?;
        bar.finish_and_clear();
        for path in target.iter().chain(&self.out) {
            frontier::write(path, &found)?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            show(&found);
        }
        Ok(())
    }
}

fn show(found: &Frontier) {
    let Frontier { scene, episodes, seed, machine, weights, .. } = found;
    println!("{scene} (n {episodes}, seed {seed}, weights {weights}, {machine})");
    for (title, replans) in [
        ("Samplers, followed as the scene says".to_owned(), false),
        (format!("Planned again every {} steps", found.replan_every), true),
    ] {
        let table = found.table(replans);
        if !table.is_empty() {
            println!("{title}");
            points(found, table);
        }
    }
    if !found.drags.is_empty() {
        println!("Dragging the goal");
        drags(&found.drags);
    }
}

fn points(found: &Frontier, table: &[Point]) {
    let (best, few) = (on_frontier(table), fewest(table));
    println!(
        "  {:<14}{:>6}{:>6}  {:>16}  {:>15}  {:>9}",
        "",
        "steps",
        "warm",
        found.measure.title(),
        "to the best",
        "plan"
    );
    for (index, point) in table.iter().enumerate() {
        let mut marks = Vec::new();
        if best.get(index) == Some(&true) {
            marks.push("frontier");
        }
        if few == Some(index) {
            marks.push("fewest within 2 % of the best");
        }
        println!(
            "  {:<14}{:>6}{:>6}  {:>9.1} ± {:<4.1}  {:>15}  {:>6.1} ms  {}",
            point.sampler.row().title,
            point.steps,
            if point.warm_steps > 0 { point.warm_steps.to_string() } else { "-".into() },
            point.score.mean,
            point.score.se,
            point.behind.map_or("-".into(), |b| format!("{:.1} ± {:.1}", b.mean, b.se)),
            point.plan_ms,
            marks.join(", "),
        );
    }
}

fn drags(points: &[DragPoint]) {
    println!(
        "  {:>4}  {:>14}  {:>17}  {:>15}  {:>8}",
        "warm", "feasible", "duration / full", "jump", "plan"
    );
    for DragPoint { warm_steps, drag } in points {
        let of = |estimate: Option<Estimate>, factor: f64, digits: usize| {
            estimate.map_or_else(
                || "-".to_owned(),
                |e| format!("{:.digits$} ± {:.digits$}", factor * e.mean, factor * e.se),
            )
        };
        println!(
            "  {:>4}  {:>12} %  {:>17}  {:>15}  {:>5.1} ms",
            if *warm_steps > 0 { warm_steps.to_string() } else { "-".into() },
            of(drag.feasible, 100.0, 1),
            of(drag.duration_ratio, 1.0, 3),
            of(drag.jump, 1.0, 3),
            drag.plan_ms.p50,
        );
    }
}
