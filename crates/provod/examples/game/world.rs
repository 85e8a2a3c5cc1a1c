//! The rules of the game, and its bytes.

use std::collections::BTreeMap;
use std::mem;

use provod::{CloseCode, Message};

/// Ticks in a second.
pub(crate) const RATE: u16 = 20;
/// The side of the square in which everything happens.
const SIZE: u16 = 4000;
/// How far a player comes in a second.
const SPEED: u16 = 1800;
/// How near a player's centre must come to that of a dot: the page draws radii of 100 and 40.
const REACH: f32 = 140.0;
const DOTS: usize = 8;
/// Ticks after which a frame goes out though nothing has happened.
const HEARTBEAT: u32 = 20;

const WELCOME: u8 = 0;
const FRAME: u8 = 1;
const GO: u8 = 2;
const PING: u8 = 3;

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Place {
    x: f32,
    y: f32,
}

impl Place {
    /// A place inside of the world, whatever was asked for.
    fn new(x: f32, y: f32) -> Self {
        let size = f32::from(SIZE);
        Self { x: x.clamp(0.0, size), y: y.clamp(0.0, size) }
    }

    fn distance(self, other: Self) -> f32 {
        (other.x - self.x).hypot(other.y - self.y)
    }

    fn towards(self, goal: Self, step: f32) -> Self {
        let share = step / self.distance(goal).max(step);
        Self::new(self.x + (goal.x - self.x) * share, self.y + (goal.y - self.y) * share)
    }

    fn write(self, out: &mut Vec<u8>) {
        // Between 0 and SIZE, so nothing is cut off but the fraction.
        for value in [self.x, self.y] {
            out.extend((value.round() as u16).to_be_bytes());
        }
    }
}

/// What a client says.
pub(crate) enum Order {
    Go(Place),
    Ping,
}

impl Order {
    /// Reads a message; an error is what the client is closed with.
    pub(crate) fn read(message: &Message) -> Result<Self, (CloseCode, &'static str)> {
        let Message::Binary(bytes) = message else {
            return Err((CloseCode::UNSUPPORTED, "this game speaks binary"));
        };
        match **bytes {
            [GO, a, b, c, d] => {
                let [x, y] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
                Ok(Self::Go(Place::new(x.into(), y.into())))
            }
            [PING, _, _, _, _] => Ok(Self::Ping),
            _ => Err((CloseCode::POLICY, "no message of this game")),
        }
    }
}

struct Player {
    place: Place,
    goal: Place,
    score: u16,
}

/// All that is in the game.
pub(crate) struct World {
    tick: u32,
    players: BTreeMap<u8, Player>,
    dots: Vec<Place>,
    free: FreePlaces,
    next_id: u8,
    changed: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut free = FreePlaces(0);
        let dots = (0..DOTS).map(|_| free.place()).collect();
        Self { tick: 0, players: BTreeMap::new(), dots, free, next_id: 0, changed: false }
    }

    /// Lets a player in. There are fewer than 256.
    pub(crate) fn join(&mut self) -> u8 {
        while self.players.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        // Not the one who just left: the others would see him jump.
        self.next_id = id.wrapping_add(1);
        let place = self.free.place();
        self.players.insert(id, Player { place, goal: place, score: 0 });
        self.changed = true;
        id
    }

    pub(crate) fn leave(&mut self, id: u8) {
        self.players.remove(&id);
        self.changed = true;
    }

    pub(crate) fn go(&mut self, id: u8, goal: Place) {
        if let Some(player) = self.players.get_mut(&id) {
            player.goal = goal;
        }
    }

    /// Moves everything on by a tick; returns the frame that shows it, where there is news.
    pub(crate) fn step(&mut self) -> Option<Vec<u8>> {
        self.tick = self.tick.wrapping_add(1);
        let step = f32::from(SPEED) / f32::from(RATE);
        for player in self.players.values_mut() {
            if player.place == player.goal {
                continue;
            }
            player.place = player.place.towards(player.goal, step);
            self.changed = true;
            for dot in &mut self.dots {
                if player.place.distance(*dot) <= REACH {
                    player.score = player.score.saturating_add(1);
                    *dot = self.free.place();
                }
            }
        }
        let news = mem::take(&mut self.changed) || self.tick.is_multiple_of(HEARTBEAT);
        (news && !self.players.is_empty()).then(|| self.frame())
    }

    pub(crate) fn welcome(&self, id: u8) -> Vec<u8> {
        let mut out = vec![WELCOME, id];
        out.extend(SIZE.to_be_bytes());
        out.extend(SPEED.to_be_bytes());
        out
    }

    fn frame(&self) -> Vec<u8> {
        let mut out = vec![FRAME];
        out.extend(self.tick.to_be_bytes());
        // Neither is more than 255.
        out.push(self.dots.len() as u8);
        self.dots.iter().for_each(|dot| dot.write(&mut out));
        out.push(self.players.len() as u8);
        for (id, player) in &self.players {
            out.push(*id);
            player.place.write(&mut out);
            out.extend(player.score.to_be_bytes());
        }
        out
    }
}

/// Places that look like chance, the same in each run: the generator SplitMix64.
struct FreePlaces(u64);

impl FreePlaces {
    fn place(&mut self) -> Place {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let within = |bits: u64| {
            let share = (bits & 0xffff) as f32 / 65536.0;
            REACH + share * (f32::from(SIZE) - 2.0 * REACH)
        };
        Place::new(within(mixed >> 48), within(mixed >> 32))
    }
}
