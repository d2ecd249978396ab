//! A beam search at any moment of its growth and of the episode that follows,
//! as a drawing.

use std::sync::Arc;

use super::field::{WALL_RADIUS, axis};
use super::maze::{shown_bounds, walls};
use super::shot::BODY_RADIUS;
use super::{AFTER_ARRIVAL_SECS, FRAME_MS, MAX_ROLL_SECS, MOVIE_SIDE, PLAN_MS, REST_MS, Span};
use crate::env::{EnvironmentSpec, FourRooms, MazeLayout};
use crate::lab::beam::Bins;
use crate::lab::branches::{Branches, life, lines, pieces, reach};
use crate::lab::{Scene, SceneError};
use crate::picture::{self, Capsule, Drawing, Mode, PictureError, Polyline, Strengths, Twig};
use crate::plan::beam::NONE;
use crate::plan::beam::drive::{Drive, SearchRecord};

/// Height over width of a map whose coordinates have different units.
const FREE_ASPECT: f32 = 0.86;
/// The tree steps back behind the agent once that walks.
const RECEDED: f32 = 0.7;
/// Radius of the ball in rooms in meters.
const ROOMS_BODY_RADIUS: f32 = 0.05;
/// Frames of a film in which a search grows, at most.
const GROWTH_FRAMES: usize = 36;

/// A moment of an episode by beam search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TreeMoment {
    /// Position along the growth of the search that is under way, in tokens.
    pub tokens: f32,
    /// Seconds since the start of the episode.
    pub time_secs: f32,
}

/// How states lie on the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// The first coordinate down, the second to the right: a maze's meters.
    Rows,
    /// The first to the right, the second up, so much of it for one of the
    /// first.
    Upright(f32),
}

/// An episode by beam search, ready to be drawn at any moment.
pub struct TreeShot<'a> {
    drive: &'a Drive,
    bins: &'a Bins,
    spec: EnvironmentSpec,
    lie: Lie,
    /// What is the same at every moment.
    base: Drawing,
    /// What is said of the whole episode.
    words: Vec<String>,
}

impl<'a> TreeShot<'a> {
    /// An episode in `scene`.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub fn new(scene: &Scene, drive: &'a Drive, bins: &'a Bins) -> Result<Self, SceneError> {
        let spec = scene.make_environment()?.spec().clone();
        let lie = lie(&spec);
        let mut base = ground(scene, &spec, lie)?;
        base.start = Some(lie.place(scene.stage.start));
        base.goal = (!spec.goal_dims.is_empty()).then(|| lie.place(scene.stage.goal));
        base.goal_radius = if base.goal.is_some() { spec.goal_radius } else { 0.0 };
        base.title.clone_from(&scene.title);
        let words = vec![
            format!("seed {}", scene.stage.seed),
            scene.model.preset().name().to_owned(),
            scene.beam.describe(),
        ];
        Ok(Self { drive, bins, spec, lie, base, words })
    }

    /// The search under way at a time.
    fn search_at(&self, time_secs: f32) -> Option<&'a Arc<SearchRecord>> {
        let step = (time_secs / self.drive.dt_secs.max(1e-6) + 1e-3) as usize;
        let searches = &self.drive.searches;
        searches.iter().rev().find(|search| search.at_step <= step).or(searches.first())
    }

    /// The drawing of one moment.
    pub fn frame(&self, moment: TreeMoment) -> Drawing {
        let Some(search) = self.search_at(moment.time_secs) else { return self.base.clone() };
        let tokens = search.tree.levels.len();
        let (visible, reveal) = reach(moment.tokens, tokens);
        let walks = moment.time_secs > 0.0;
        let secs = self.bins.stride as f32 * self.drive.dt_secs;
        let ahead = search.tree.transition(tokens.saturating_sub(1)) as f32;
        Drawing {
            twigs: self.twigs(search, visible, if walks { RECEDED } else { 1.0 }),
            chosen: Polyline { points: self.line(&search.plan.states), feasible: true },
            strengths: Strengths { chosen: reveal, ..Strengths::default() },
            trail: self.trail(moment.time_secs),
            agent: self.state_at(moment.time_secs).and_then(|state| self.point(&state)),
            caption: self.caption(search),
            status: match (walks, visible < tokens) {
                (false, true) => format!("token {visible} of {tokens}"),
                _ => format!("{:.2} s", moment.time_secs.min(self.last_secs())),
            },
            plan_secs: Some(ahead * secs),
            ..self.base.clone()
        }
    }

    /// The end of the first search's growth.
    pub fn first(&self) -> TreeMoment {
        TreeMoment { tokens: f32::INFINITY, time_secs: 0.0 }
    }

    /// The moments of a film and for how many milliseconds each is shown;
    /// `from_secs` is when the search that grows was made.
    fn moments(&self, span: Span, from_secs: f32) -> Vec<(TreeMoment, u32)> {
        let mut moments = Vec::new();
        let tokens = self.search_at(from_secs).map_or(0, |search| search.tree.levels.len());
        if span != Span::Environment && tokens > 0 {
            let frames = tokens.min(GROWTH_FRAMES);
            moments.extend((1..=frames).map(|frame| {
                let tokens = (tokens as f32 * frame as f32 / frames as f32).round();
                let ms = if frame == frames { PLAN_MS } else { FRAME_MS };
                (TreeMoment { tokens, time_secs: from_secs }, ms)
            }));
        }
        if span != Span::Denoising && self.last_secs() > 0.0 {
            let frames = (self.shown_secs() * 1000.0 / FRAME_MS as f32).ceil() as u32;
            moments.extend((0..=frames).map(|frame| {
                let time_secs = (frame * FRAME_MS) as f32 / 1000.0;
                (TreeMoment { tokens: f32::INFINITY, time_secs }, FRAME_MS)
            }));
        }
        if let Some((_, ms)) = moments.last_mut() {
            *ms = REST_MS;
        }
        moments
    }

    fn last_secs(&self) -> f32 {
        self.drive.states.len().saturating_sub(1) as f32 * self.drive.dt_secs
    }

    /// How much of the episode a film shows.
    fn shown_secs(&self) -> f32 {
        match self.drive.arrival_step {
            Some(step) => {
                (step as f32 * self.drive.dt_secs + AFTER_ARRIVAL_SECS).min(self.last_secs())
            }
            None => self.last_secs().min(MAX_ROLL_SECS),
        }
    }

    fn twigs(&self, search: &Arc<SearchRecord>, visible: usize, opacity: f32) -> Vec<Twig> {
        let branches = Branches::new(search, self.bins, &self.spec);
        let per_transition = search.tree.layout.per_transition();
        let last = branches.all.iter().map(|branch| branch.transition).max().unwrap_or(1).max(1);
        let known = branches.all.iter();
        let mut shown: Vec<_> = known
            .filter_map(|branch| Some((life(branch, visible, per_transition)?, branch)))
            .collect();
        // The likeliest on top.
        shown.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.share.total_cmp(&y.share)));
        let twigs = shown.into_iter().flat_map(|(life, branch)| {
            let look = branch.look(life);
            let parts = pieces(branch.from, branch.to, &self.spec);
            parts.into_iter().map(move |ends| Twig {
                ends: self.cut(ends).map(|end| self.lie.place(end)),
                time: (branch.transition as f32 - 0.5) / last as f32,
                alpha: look.alpha * opacity,
                width: 0.8 * look.width,
                gray: look.gray,
            })
        });
        twigs.collect()
    }

    /// States as a line, with gaps where it goes around.
    fn line(&self, states: &[Vec<f32>]) -> Vec<[f32; 2]> {
        let places: Vec<[f32; 2]> = states.iter().filter_map(|state| plane(state)).collect();
        let mut line = Vec::with_capacity(places.len());
        for part in lines(&places, &self.spec) {
            if !line.is_empty() {
                line.push([f32::NAN; 2]);
            }
            let n = part.len();
            line.extend(part.iter().enumerate().map(|(index, point)| {
                let other = if index == 0 { part.get(1) } else { part.get(index - 1) };
                let is_end = index == 0 || index + 1 == n;
                let other = other.filter(|_| is_end).copied().unwrap_or(*point);
                self.lie.place(self.cut([other, *point])[1])
            }));
        }
        line
    }

    /// A step that goes beyond where a coordinate starts over, up to there.
    fn cut(&self, ends: [[f32; 2]; 2]) -> [[f32; 2]; 2] {
        let mut cut = ends;
        for (axis, known) in self.spec.state.iter().enumerate().take(2) {
            let [from, to] = [ends[0][axis], ends[1][axis]];
            if !known.periodic || (to - from).abs() < 1e-9 {
                continue;
            }
            for (end, value) in [(0, from), (1, to)] {
                let inside = value.clamp(known.low, known.high);
                let share = (inside - from) / (to - from);
                if inside != value {
                    cut[end] = [0, 1].map(|i| ends[0][i] + share * (ends[1][i] - ends[0][i]));
                }
            }
        }
        cut
    }

    fn point(&self, state: &[f32]) -> Option<[f32; 2]> {
        plane(state).map(|place| self.lie.place(place))
    }

    fn state_at(&self, secs: f32) -> Option<Vec<f32>> {
        let at = (secs / self.drive.dt_secs.max(1e-6)).max(0.0);
        let states = &self.drive.states;
        let index = (at as usize).min(states.len().checked_sub(1)?);
        let (now, next) = (states.get(index)?, states.get(index + 1).or(states.last())?);
        Some(self.spec.between(now, next, at.fract()))
    }

    fn trail(&self, secs: f32) -> Vec<[f32; 2]> {
        if secs <= 0.0 {
            return Vec::new();
        }
        let so_far = ((secs / self.drive.dt_secs.max(1e-6)) as usize).saturating_add(1);
        let mut states: Vec<Vec<f32>> = self.drive.states.iter().take(so_far).cloned().collect();
        states.extend(self.state_at(secs));
        self.line(&states)
    }

    fn caption(&self, search: &SearchRecord) -> String {
        let mut parts = self.words.clone();
        parts.push(format!("ln p {:.1}", search.plan.log_prob));
        parts.extend(search.plan.value.map(|value| format!("value {value:.1}")));
        parts.push(format!("searched in {:.0} ms", search.wall_ms));
        match self.drive.arrival_step {
            Some(step) => {
                parts.push(format!("arrives after {:.2} s", step as f32 * self.drive.dt_secs));
            }
            None if self.drive.finished && self.base.goal.is_some() => {
                parts.push("does not arrive".to_owned());
            }
            None if self.drive.finished => {
                let total: f32 = self.drive.rewards.iter().sum();
                parts.push(format!("return {total:.1} in {} steps", self.drive.rewards.len()));
            }
            None => {}
        }
        parts.join(" · ")
    }
}

/// A search growing, the episode, or one after the other, as a GIF in real
/// time; `from_secs` is when the search that grows was made.
///
/// # Errors
/// When there is nothing to show in the span.
pub fn tree_movie(
    shot: &TreeShot<'_>,
    span: Span,
    from_secs: f32,
    mode: Mode,
) -> Result<Vec<u8>, PictureError> {
    let size = shot.frame(shot.first()).fitting_size(MOVIE_SIDE);
    let moments = shot.moments(span, from_secs).into_iter();
    picture::gif(moments.map(|(moment, ms)| (shot.frame(moment), ms)), size, mode)
}

/// Every node of a search, one a row, in the order it made them.
pub fn tree_csv(search: &SearchRecord, bins: &Bins) -> String {
    let tree = &search.tree;
    let chosen = tree.chosen();
    let mut text = String::from(
        "node,parent,depth,transition,number,token,value,ln_p,ln_p_of_path,return,kept,chosen\n",
    );
    let finite = |value: f32| if value.is_finite() { value.to_string() } else { String::new() };
    for (index, node) in tree.nodes.iter().enumerate() {
        let depth = node.depth as usize;
        let dim = tree.dim(depth);
        let is_end = node.token == tree.layout.stop();
        let name = bins.names.get(dim).map_or("", String::as_str);
        let row = [
            index.to_string(),
            if node.parent == NONE { String::new() } else { node.parent.to_string() },
            depth.to_string(),
            tree.transition(depth).to_string(),
            if is_end { "end".to_owned() } else { name.to_owned() },
            node.token.to_string(),
            if is_end { String::new() } else { bins.center(dim, node.token).to_string() },
            finite(node.log_prob),
            finite(node.total),
            finite(node.value),
            u8::from(node.kept).to_string(),
            u8::from(chosen.get(index).copied().unwrap_or(false)).to_string(),
        ];
        text += &(row.join(",") + "\n");
    }
    text
}

fn plane(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

impl Lie {
    fn place(self, [x, y]: [f32; 2]) -> [f32; 2] {
        match self {
            Self::Rows => [x, y],
            Self::Upright(scale) => [-scale * y, x],
        }
    }
}

fn lie(spec: &EnvironmentSpec) -> Lie {
    match spec.state.as_slice() {
        _ if spec.id == "maze2d" => Lie::Rows,
        [x, y, ..] if x.unit != y.unit => {
            Lie::Upright(FREE_ASPECT * (x.high - x.low) / (y.high - y.low))
        }
        _ => Lie::Upright(1.0),
    }
}

/// Bounds, axes and walls.
fn ground(scene: &Scene, spec: &EnvironmentSpec, lie: Lie) -> Result<Drawing, SceneError> {
    let config = &scene.environment;
    if lie == Lie::Rows {
        let layout = MazeLayout::parse(&config.maze)?;
        return Ok(Drawing {
            bounds: shown_bounds(&layout),
            walls: walls(&layout),
            body_radius: BODY_RADIUS,
            ..Drawing::default()
        });
    }
    let axes = [0, 1].map(|index| spec.state.get(index).map(axis).unwrap_or_default());
    let [across, up] = &axes;
    let low_right = lie.place([across.high, up.low]);
    let up_left = lie.place([across.low, up.high]);
    let mut capsules = Vec::new();
    if config.id == "four-rooms" {
        let space = FourRooms::new(config)?;
        capsules.extend(
            space
                .space()
                .walls()
                .iter()
                .map(|ends| Capsule { ends: ends.map(|end| lie.place(end)), radius: WALL_RADIUS }),
        );
    }
    let body_radius = if config.id == "four-rooms" { ROOMS_BODY_RADIUS } else { 0.0 };
    Ok(Drawing {
        bounds: [up_left[0], up_left[1], low_right[0], low_right[1]],
        axes: Some(axes),
        capsules,
        body_radius,
        ..Drawing::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::branches::tests::{bins, record};
    use crate::lab::shipped;

    fn scene(name: &str) -> Scene {
        Scene::parse(shipped::find(name).unwrap().text).unwrap()
    }

    /// Two searches a step apart, and three states.
    fn drive() -> Drive {
        let mut first = SearchRecord::clone(&record());
        let plan = Arc::make_mut(&mut first.plan);
        plan.states = vec![vec![0.1, 0.2], vec![0.4, 0.6]];
        let second = SearchRecord { at_step: 1, ..first.clone() };
        Drive {
            searches: vec![Arc::new(first), Arc::new(second)],
            states: vec![vec![0.1, 0.2], vec![0.3, 0.2], vec![0.3, 0.5]],
            actions: vec![vec![0.0, 0.0]; 2],
            rewards: vec![0.0, 1.0],
            arrival_step: Some(2),
            dt_secs: 0.05,
            finished: true,
        }
    }

    #[test]
    fn a_search_grows_with_its_tokens_and_the_plan_comes_last() {
        let (scene, drive, bins) = (scene("four-rooms-transformer"), drive(), bins());
        let shot = TreeShot::new(&scene, &drive, &bins).unwrap();
        let frame = |tokens| shot.frame(TreeMoment { tokens, time_secs: 0.0 });
        assert!(frame(2.0).twigs.is_empty() && frame(2.0).strengths.chosen == 0.0);
        let whole = frame(4.0);
        assert_eq!((whole.twigs.len(), whole.strengths.chosen), (2, 1.0));
        // The rejected one lies under the kept one, gray.
        assert!(whole.twigs[0].gray > 0.0 && whole.twigs[1].gray == 0.0);
        // The second coordinate runs up.
        assert_eq!(whole.twigs[1].ends, [[-0.2, 0.1], [-0.6, 0.4]]);
        assert_eq!(whole.chosen.points, [[-0.2, 0.1], [-0.6, 0.4]]);
        assert_eq!(frame(1.0).status, "token 1 of 4");
        assert!(whole.caption.contains("likelihood, beam 32") && whole.goal.is_some());
        assert!(whole.trail.is_empty() && whole.axes.is_some() && !whole.capsules.is_empty());
    }

    #[test]
    fn the_agent_walks_between_states_under_the_search_of_the_time() {
        let (scene, drive, bins) = (scene("four-rooms-transformer"), drive(), bins());
        let shot = TreeShot::new(&scene, &drive, &bins).unwrap();
        let frame = shot.frame(TreeMoment { tokens: f32::INFINITY, time_secs: 0.075 });
        let [down, right] = frame.agent.unwrap();
        assert!((down + 0.35).abs() < 1e-5 && (right - 0.3).abs() < 1e-5);
        assert_eq!(frame.trail.len(), 3);
        assert!(Arc::ptr_eq(shot.search_at(0.075).unwrap(), &drive.searches[1]));
        assert!(Arc::ptr_eq(shot.search_at(0.049).unwrap(), &drive.searches[0]));
        let end = shot.frame(TreeMoment { tokens: f32::INFINITY, time_secs: 99.0 });
        assert_eq!(end.agent, Some([-0.5, 0.3]));
    }

    #[test]
    fn lines_that_go_around_an_angle_end_at_the_edge_of_the_map() {
        let (scene, drive, bins) = (scene("pendulum-transformer"), drive(), bins());
        let shot = TreeShot::new(&scene, &drive, &bins).unwrap();
        let line = shot.line(&[vec![3.0, 1.0], vec![-3.0, 2.0], vec![-2.0, 2.0]]);
        assert_eq!(line.len(), 6, "{line:?}");
        assert!(line[2][0].is_nan());
        let [_, left, _, right] = shot.base.bounds;
        assert!((line[1][1] - right).abs() < 1e-5 && (line[3][1] - left).abs() < 1e-5);
        // Half of the way around is half of the way up.
        assert!((line[1][0] - line[3][0]).abs() < 1e-5);
        assert!(line[0][0] > line[1][0] && line[1][0] > line[4][0]);
    }

    #[test]
    fn films_grow_then_walk_in_real_time_and_nothing_to_show_is_an_error() {
        let (scene, drive, bins) = (scene("four-rooms-transformer"), drive(), bins());
        let shot = TreeShot::new(&scene, &drive, &bins).unwrap();
        let moments = shot.moments(Span::Both, 0.0);
        let tokens: Vec<f32> = moments[..4].iter().map(|(moment, _)| moment.tokens).collect();
        assert_eq!(tokens, [1.0, 2.0, 3.0, 4.0]);
        let times: Vec<f32> = moments[4..].iter().map(|(moment, _)| moment.time_secs).collect();
        assert_eq!(times, [0.0, 0.05, 0.1]);
        for span in [Span::Both, Span::Denoising, Span::Environment] {
            assert_eq!(&tree_movie(&shot, span, 0.0, Mode::Light).unwrap()[..3], b"GIF");
        }
        let drawing = shot.frame(shot.first());
        assert_eq!(&super::super::png(&drawing, Mode::Dark).unwrap()[1..4], b"PNG");
        let nothing = Drive::default();
        let shot = TreeShot::new(&scene, &nothing, &bins).unwrap();
        let refused = tree_movie(&shot, Span::Both, 0.0, Mode::Dark);
        assert!(matches!(refused, Err(PictureError::NoFrames)));
    }

    #[test]
    fn a_table_has_a_row_for_every_node_and_names_its_number() {
        let text = tree_csv(&record(), &bins());
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 1 + record().tree.nodes.len());
        let columns = rows[0].split(',').count();
        assert!(rows.iter().all(|row| row.split(',').count() == columns), "{text}");
        assert_eq!(rows[1], "0,,0,0,a,1,0.1,-1,-0,,1,0");
        assert_eq!(rows[6], "5,3,2,1,y,6,0.6,-1,-2,,1,1");
    }
}
