//! The geometry of four rooms: capsule walls with doors, where the ball fits,
//! and the shortest way for its center.

use super::EnvError;
use super::Workspace;

/// Half the side of the square, in m.
pub(super) const HALF_SIDE: f32 = 0.6;
/// Radius of the walls' capsules, in m.
pub(super) const WALL_RADIUS: f32 = 0.03;
/// Radius of the ball, in m.
pub(super) const BALL_RADIUS: f32 = 0.05;
/// Closest the ball's center comes to a wall's center line, in m.
pub(super) const REACH: f32 = WALL_RADIUS + BALL_RADIUS;
/// The middle of every door is this far from the center of the square, in m.
const DOOR: f32 = 0.3;
/// Doors narrower than this cannot be passed reliably, in m ...
const MIN_DOOR: f32 = 2.0 * REACH + 0.01;
/// ... and wider ones leave no wall, in m.
const MAX_DOOR: f32 = 0.5;
/// Way points lie this far before and behind a door's middle, in m: inside of
/// the rooms, where the ball is clear of the wall's ends.
const APPROACH: f32 = 0.1;
/// A body counts as seeing a place when it would brush walls by less than this
/// on the way, in m: contacts rest within the solver's slop of a wall.
const BRUSH: f32 = 0.003;
/// What a turn costs, in m: of equally long ways the straighter one counts.
const TURN: f32 = 1e-3;

type Segment = [[f32; 2]; 2];

/// Four rooms joined by four doors.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomsSpace {
    door_width: f32,
    /// Center lines of the walls between rooms, then of the outer ones.
    walls: Vec<Segment>,
    inner: usize,
    /// Before and behind every door.
    waypoints: [[f32; 2]; 8],
    /// Length of the shortest way between two of them.
    ways: [[f32; 8]; 8],
}

impl RoomsSpace {
    /// Rooms with doors of that width in m, between the walls' center lines'
    /// ends.
    ///
    /// # Errors
    /// Doors the ball does not fit through, or that leave no wall.
    pub fn new(door_width: f32) -> Result<Self, EnvError> {
        if !(MIN_DOOR..=MAX_DOOR).contains(&door_width) {
            let why = match door_width > MAX_DOOR {
                true => "leaves no wall beside it",
                false => "is too narrow for the ball, which needs 0.16 m and a little room",
            };
            return Err(EnvError::State(format!(
                "a door of {door_width} m {why}; choose door_width from {MIN_DOOR:.2} to \
                 {MAX_DOOR:.2}, 0.3 by default and 0.2 as published"
            )));
        }
        let (near, far) = (DOOR - door_width / 2.0, DOOR + door_width / 2.0);
        let stretches = [[-HALF_SIDE, -far], [-near, near], [far, HALF_SIDE]];
        let mut walls: Vec<Segment> = Vec::with_capacity(10);
        for [from, to] in stretches {
            walls.extend([[[0.0, from], [0.0, to]], [[from, 0.0], [to, 0.0]]]);
        }
        let inner = walls.len();
        let side = HALF_SIDE;
        for end in [-side, side] {
            walls.extend([[[end, -side], [end, side]], [[-side, end], [side, end]]]);
        }
        let (a, d) = (APPROACH, DOOR);
        let waypoints = [[-a, d], [a, d], [-a, -d], [a, -d], [d, -a], [d, a], [-d, -a], [-d, a]];
        let mut space = Self { door_width, walls, inner, waypoints, ways: [[0.0; 8]; 8] };
        space.ways = space.shortest_ways();
        Ok(space)
    }

    /// Width of the doors, in m.
    pub fn door_width(&self) -> f32 {
        self.door_width
    }

    /// Center lines of all walls, capsules of radius 0.03 m.
    pub fn walls(&self) -> &[[[f32; 2]; 2]] {
        &self.walls
    }

    /// Distance from a ball at `position` to the nearest wall, in m; negative
    /// when they overlap or outside of the square, NaN for NaN.
    pub fn clearance(&self, position: [f32; 2]) -> f32 {
        let [x, y] = position;
        let outside = x.abs().max(y.abs()) - HALF_SIDE;
        if outside > 0.0 {
            return -REACH - outside;
        }
        let squares = self.walls.iter().map(|wall| point_to_segment(position, wall));
        let clearance = squares.fold(f32::INFINITY, f32::min).sqrt() - REACH;
        if x.is_nan() || y.is_nan() { f32::NAN } else { clearance }
    }

    /// Whether a ball that moves straight from one place to the other overlaps
    /// walls by less than `depth` m all the way. Both must lie in the square.
    pub(super) fn sweeps_clear(&self, from: [f32; 2], to: [f32; 2], depth: f32) -> bool {
        let box_of = |p: [f32; 2]| p.map(|v| v.abs() >= REACH && v.abs() <= HALF_SIDE - REACH);
        let side = |p: [f32; 2]| p.map(|v| v > 0.0);
        // Rooms are convex.
        if box_of(from) == [true; 2] && box_of(to) == [true; 2] && side(from) == side(to) {
            return true;
        }
        let limit = (REACH - depth).powi(2);
        self.walls.iter().all(|wall| segment_to_segment(&[from, to], wall) >= limit)
    }

    /// The next place to head for in a straight line on a shortest way from
    /// `from` to `goal`, and whether that is the goal itself.
    pub(super) fn heading(&self, from: [f32; 2], goal: [f32; 2]) -> ([f32; 2], bool) {
        if self.sweeps_clear(from, goal, BRUSH) {
            return (goal, true);
        }
        let rest = self.lengths_to(goal);
        let mut best = (f32::INFINITY, goal);
        for visible in [true, false] {
            for (&waypoint, &rest) in self.waypoints.iter().zip(&rest) {
                let length = distance(from, waypoint) + rest;
                if length < best.0 && (!visible || self.sweeps_clear(from, waypoint, BRUSH)) {
                    best = (length, waypoint);
                }
            }
            // Where a ball is jammed it may see nothing; then the rough way.
            if best.0.is_finite() {
                break;
            }
        }
        (best.1, false)
    }

    /// Length of the shortest way to `goal` from every waypoint.
    fn lengths_to(&self, goal: [f32; 2]) -> [f32; 8] {
        let mut last =
            self.waypoints.map(|waypoint| match self.sweeps_clear(waypoint, goal, BRUSH) {
                true => distance(waypoint, goal) + TURN,
                false => f32::INFINITY,
            });
        let direct = last;
        for (length, ways) in last.iter_mut().zip(&self.ways) {
            let through = ways.iter().zip(&direct).map(|(way, last)| way + last);
            *length = through.fold(*length, f32::min);
        }
        last
    }

    /// Floyd and Warshall's algorithm over the waypoints.
    fn shortest_ways(&self) -> [[f32; 8]; 8] {
        let mut ways = self.waypoints.map(|from| {
            self.waypoints.map(|to| match self.sweeps_clear(from, to, BRUSH) {
                _ if from == to => 0.0,
                true => distance(from, to) + TURN,
                false => f32::INFINITY,
            })
        });
        for middle in 0..8 {
            for from in 0..8 {
                for to in 0..8 {
                    let through = ways[from][middle] + ways[middle][to];
                    ways[from][to] = ways[from][to].min(through);
                }
            }
        }
        ways
    }

    /// Boxes `[x_min, y_min, x_max, y_max]` that are free: the rooms and the
    /// passages between them. They leave out the round corners of doors.
    fn free_boxes(&self) -> impl Iterator<Item = [f32; 4]> + '_ {
        // A hair inside, so that rounding cannot put the ball into a wall.
        let (near, far) = (REACH + 1e-5, HALF_SIDE - REACH - 1e-5);
        let half = self.door_width / 2.0 - REACH - 1e-5;
        let spans = [[-far, -near], [near, far]];
        let rooms = spans.into_iter().flat_map(move |x| spans.map(|y| [x[0], y[0], x[1], y[1]]));
        let doors = [-DOOR, DOOR]
            .into_iter()
            .flat_map(move |d| [[-far, d - half, far, d + half], [d - half, -far, d + half, far]]);
        rooms.chain(doors)
    }
}

impl Workspace for RoomsSpace {
    fn is_free(&self, position: [f32; 2]) -> bool {
        self.clearance(position) >= 0.0
    }

    fn nearest_free(&self, position: [f32; 2]) -> Option<[f32; 2]> {
        if self.is_free(position) {
            return Some(position);
        }
        if !position.iter().all(|value| value.is_finite()) {
            return None;
        }
        let [x, y] = position;
        let clamped = self
            .free_boxes()
            .map(|[x_min, y_min, x_max, y_max]| [x.clamp(x_min, x_max), y.clamp(y_min, y_max)]);
        let pushed = self.walls[..self.inner].iter().map(|wall| pushed_out(position, wall));
        clamped
            .chain(pushed)
            .filter(|&candidate| self.is_free(candidate))
            .min_by(|&a, &b| distance(a, position).total_cmp(&distance(b, position)))
    }

    fn touches_wall(&self, position: [f32; 2]) -> bool {
        // Contacts rest within the solver's slop of a wall.
        self.clearance(position) < 0.002 || position.iter().any(|value| value.is_nan())
    }

    fn bounds(&self) -> [f32; 4] {
        [-HALF_SIDE, -HALF_SIDE, HALF_SIDE, HALF_SIDE]
    }

    fn connected(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        // Doors always let the ball through, so no room is cut off.
        self.is_free(from) && self.is_free(to)
    }
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn closest_on([ax, ay]: [f32; 2], &[[px, py], [qx, qy]]: &Segment) -> [f32; 2] {
    let (dx, dy) = (qx - px, qy - py);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((ax - px) * dx + (ay - py) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    [px + along * dx, py + along * dy]
}

/// Squared distance.
fn point_to_segment(point: [f32; 2], segment: &Segment) -> f32 {
    let [x, y] = closest_on(point, segment);
    (x - point[0]).powi(2) + (y - point[1]).powi(2)
}

/// Squared distance; 0 when they cross.
fn segment_to_segment(a: &Segment, b: &Segment) -> f32 {
    let side = |[[px, py], [qx, qy]]: &Segment, [x, y]: [f32; 2]| {
        (qx - px) * (y - py) - (qy - py) * (x - px)
    };
    let crosses = side(a, b[0]) * side(a, b[1]) < 0.0 && side(b, a[0]) * side(b, a[1]) < 0.0;
    if crosses {
        return 0.0;
    }
    let ends = [
        point_to_segment(a[0], b),
        point_to_segment(a[1], b),
        point_to_segment(b[0], a),
        point_to_segment(b[1], a),
    ];
    ends.into_iter().fold(f32::INFINITY, f32::min)
}

/// The nearest place where a ball just leaves a wall.
fn pushed_out(position: [f32; 2], wall: &Segment) -> [f32; 2] {
    let [x, y] = closest_on(position, wall);
    let (dx, dy) = (position[0] - x, position[1] - y);
    let length = dx.hypot(dy);
    // On the center line any direction is as good.
    let (dx, dy) = if length > 0.0 { (dx / length, dy / length) } else { (1.0, 0.0) };
    [x + dx * (REACH + 1e-5), y + dy * (REACH + 1e-5)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    fn rooms() -> RoomsSpace {
        RoomsSpace::new(0.3).unwrap()
    }

    #[test]
    fn clearance_is_the_gap_between_ball_and_capsules() {
        let rooms = rooms();
        for (position, gap) in [
            // The middle of a room, of a door, and beside a wall's middle.
            ([0.3, 0.3], 0.3 - 0.08),
            ([0.0, 0.3], 0.15 - 0.08),
            ([0.1, 0.0], -0.08),
            ([0.1, 0.12], 0.1 - 0.08),
            // Beside the round end at (0, 0.15).
            ([0.06, 0.23], 0.1 - 0.08),
            ([0.5, 0.3], 0.02),
            ([-0.7, 0.0], -0.08 - 0.1),
        ] {
            let found = rooms.clearance(position);
            assert!((found - gap).abs() < 1e-6, "{position:?}: {found}, not {gap}");
        }
        assert!(!rooms.is_free([f32::NAN, 0.3]) && rooms.touches_wall([f32::NAN, 0.3]));
        assert!(rooms.touches_wall([0.081, 0.081]) && !rooms.touches_wall([0.09, 0.09]));
    }

    #[test]
    fn doors_without_room_or_without_walls_are_refused_with_advice() {
        for (width, part) in
            [(0.16, "too narrow"), (-1.0, "too narrow"), (f32::NAN, "too narrow"), (0.6, "no wall")]
        {
            let message = RoomsSpace::new(width).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("from 0.17 to 0.50"), "{message}");
        }
        // The published door leaves the ball 4 cm.
        let narrow = RoomsSpace::new(0.2).unwrap();
        assert!((narrow.clearance([0.0, 0.3]) - 0.02).abs() < 1e-6);
    }

    #[test]
    fn the_way_leads_through_the_doors_of_the_shorter_side() {
        let rooms = rooms();
        // The neighbor on the right, through the door at (0, 0.3).
        assert_eq!(rooms.heading([-0.3, 0.35], [0.3, 0.25]), ([0.3, 0.25], true));
        let (next, last) = rooms.heading([-0.3, 0.5], [0.4, 0.5]);
        assert!(!last && next == [0.1, 0.3], "{next:?}");
        // Across: nearer to the upper right than to the lower left way round.
        assert_eq!(rooms.heading([-0.3, 0.3], [0.5, -0.3]).0[1], 0.3);
        assert_eq!(rooms.heading([-0.3, 0.3], [0.3, -0.5]).0[0], -0.3);
        // In a doorway off its axis it goes on.
        let (next, last) = rooms.heading([0.0, 0.36], [0.1, 0.5]);
        assert!(!last && next == [0.1, 0.3], "{next:?}");
    }

    #[test]
    fn following_the_headings_reaches_every_goal_without_touching_walls() {
        for width in [0.2, 0.3, 0.5] {
            let rooms = RoomsSpace::new(width).unwrap();
            let mut rng = Rng::stream(0, "headings");
            let mut free = || loop {
                let place = [rng.uniform(-0.6, 0.6) as f32, rng.uniform(-0.6, 0.6) as f32];
                if rooms.is_free(place) {
                    return place;
                }
            };
            for _ in 0..2000 {
                let (start, goal) = (free(), free());
                let (mut at, mut turns, mut length) = (start, 0, 0.0);
                while at != goal {
                    let (next, _) = rooms.heading(at, goal);
                    assert!(rooms.sweeps_clear(at, next, BRUSH), "{at:?} to {next:?}");
                    length += distance(at, next);
                    at = next;
                    turns += 1;
                    assert!(turns < 8, "{start:?} to {goal:?} goes round and round");
                }
                assert!(length < 2.5, "{start:?} to {goal:?} takes {length} m");
            }
        }
    }

    proptest! {
        #[test]
        fn the_nearest_free_place_is_free_and_hardly_farther_than_any_other(
            x in -1.0_f32..1.0,
            y in -1.0_f32..1.0,
            width in 0.17_f32..0.5,
            seed: u64,
        ) {
            let rooms = RoomsSpace::new(width).unwrap();
            let found = rooms.nearest_free([x, y]).unwrap();
            prop_assert!(rooms.is_free(found));
            prop_assert!(rooms.connected(found, [0.3, 0.3]));
            let reach = distance(found, [x, y]);
            let mut rng = Rng::stream(seed, "nearest");
            for _ in 0..300 {
                let other = [rng.uniform(-0.6, 0.6) as f32, rng.uniform(-0.6, 0.6) as f32];
                if rooms.is_free(other) {
                    prop_assert!(reach <= distance(other, [x, y]) + 0.02, "{other:?} is nearer");
                }
            }
        }
    }
}
