//! One room: plain clients and members who speak the room protocol, who hear each other in one
//! order.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use provod::group::{self, Published, SlowPolicy};
use provod::{Group, Message, Prepared, Sender, Utf8Bytes};
use tokio::time::Instant;

use super::past::{At, Kept, Known, Past};
use super::protocol::{Limits, MAX_TEXT, MemberId, Mistake, REPLACED, Speaker, Told, Who, json};
use super::rooms::{Held, Rooms};

/// A member that reads too slowly must not make the server hold all it missed, and must not go on
/// with a gap that nobody sees.
const SLOW: SlowPolicy = SlowPolicy::Close;
/// With more members nobody is told of each one who comes and goes, and with fewer again. The
/// distance keeps a crowd at the border from sending the list for each step over it.
const MOST_LISTED: usize = 200;
const LISTED_AGAIN: usize = 150;
/// How long numbers of members are gathered before they are told.
const GATHER: Duration = Duration::from_millis(250);
const GATHER_CROWD: Duration = Duration::from_secs(1);
/// How long a speaker is held back for members that do not catch up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the others are told that somebody types.
const TYPING: Duration = Duration::from_secs(2);
/// What a room with a past costs beside it.
const ROOM_COST: usize = 2048;

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    name: String,
    /// Differs for each room and each start of the server.
    epoch: String,
    history: usize,
    plain: Group,
    named: Group,
    /// This lock orders what is said: under it a message gets its number and is put into all
    /// queues. Nothing waits under it.
    state: Mutex<State>,
    /// How many members and plain clients are here. These and what follows change under the lock,
    /// and are read without it: who looks at all rooms must not wait for one.
    member_count: AtomicUsize,
    plain_count: AtomicUsize,
    /// Memory of all rooms' pasts, and this one's part in it.
    memory: Arc<AtomicUsize>,
    cost: AtomicUsize,
    /// Where it stands.
    rooms: Weak<Rooms>,
    pub(super) spoken: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    seq: u64,
    past: Past,
    members: BTreeMap<MemberId, Person>,
    /// Members by the secret with which they come back.
    clients: HashMap<String, MemberId>,
    crowd: bool,
    /// The numbers have changed, and will be told in a moment.
    gathering: bool,
}

#[derive(Debug)]
struct Person {
    name: Arc<str>,
    client: Option<String>,
    attempt: u64,
    /// Which of its connections is heard, and how to reach it.
    connection: u64,
    sender: Sender,
    /// When the others were last told that it types.
    typed: Option<Instant>,
}

/// A plain client in a room; dropping it leaves the room.
#[derive(Debug)]
pub(super) struct Plain {
    seat: group::Member,
    held: Held,
    echo: bool,
}

// A crowd has one each.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Plain>() <= 32);

/// A member of a room; dropping it leaves the room, unless it has come back meanwhile.
#[derive(Debug)]
pub(super) struct Named {
    room: Arc<Room>,
    seat: group::Member,
    id: MemberId,
    connection: u64,
    echo: bool,
}

/// Those in a room who have not caught up with what was said.
#[derive(Debug)]
pub(super) struct Behind {
    room: Arc<Room>,
    plain: bool,
    named: bool,
}

impl Behind {
    /// Waits until they have, for a while, so that a burst reaches its sender's TCP window instead of
    /// filling the queues of healthy members.
    pub(super) async fn caught_up(self) {
        if self.plain {
            self.room.plain.drained(PATIENCE).await;
        }
        if self.named {
            self.room.named.drained(PATIENCE).await;
        }
    }
}

/// What a client enters with.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) name: String,
    pub(super) client: Option<String>,
    /// Which of its connections this is, where it counts them.
    pub(super) attempt: u64,
    pub(super) limits: Limits,
    pub(super) echo: bool,
}

fn now() -> u64 {
    // A clock before 1970 is wrong, and no reason to stop.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Room {
    pub(super) fn new(
        name: &str,
        history: usize,
        memory: Arc<AtomicUsize>,
        rooms: Weak<Rooms>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            epoch: format!("{:016x}", RandomState::new().hash_one(name)),
            history,
            plain: Group::new(),
            named: Group::new(),
            state: Mutex::default(),
            member_count: AtomicUsize::new(0),
            plain_count: AtomicUsize::new(0),
            memory,
            cost: AtomicUsize::new(0),
            rooms,
            spoken: AtomicU64::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// All rooms, while there are any.
    pub(super) fn rooms(&self) -> Option<Arc<Rooms>> {
        self.rooms.upgrade()
    }

    /// What all rooms' pasts take, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.memory.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What panics under it leaves at worst a member in the list who has gone.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a member in and tells it who and what is there. `None` where its connection is closing.
    pub(super) fn welcome(self: &Arc<Self>, sender: &Sender, hello: Hello) -> Option<Named> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let connection = NEXT.fetch_add(1, Relaxed);
        let mut state = self.lock();
        let back = hello.client.as_deref().and_then(|client| state.clients.get(client).copied());
        let id = back.unwrap_or(MemberId(connection));
        if state.members.get(&id).is_some_and(|member| member.attempt > hello.attempt) {
            // A `hello` that was long on its way: the client gave this connection up.
            drop(state);
            // The reason is short and the code may be sent: this does not fail.
            let _ = sender.close(REPLACED, "this client is here already on a newer connection");
            return None;
        }
        let person = Person {
            name: hello.name.into(),
            client: hello.client,
            attempt: hello.attempt,
            connection,
            sender: sender.clone(),
            typed: None,
        };
        let name = person.name.clone();
        if let Some(client) = &person.client {
            state.clients.insert(client.clone(), id);
        }
        let before = state.members.insert(id, person);
        self.member_count.store(state.members.len(), Relaxed);
        // The others are told before the newcomer joins them, so that they alone are.
        match &before {
            Some(old) => {
                // The same holds here; one that is closed already stays so.
                let _ = old.sender.close(REPLACED, "this client came back on a newer connection");
                if old.name != name {
                    self.renamed(&state, id, &name, &old.name);
                }
            }
            None => self.came(&mut state, id, &name),
        }
        let welcome = self.welcome_text(&state, id, hello.limits);
        let sent = sender.try_send(welcome).is_ok();
        let seat = self.named.join(sender, SLOW);
        drop(state);
        // Dropped where it cannot be told: so the member leaves as any other.
        let named = Named { room: self.clone(), seat, id, connection, echo: hello.echo };
        sent.then_some(named)
    }

    fn welcome_text(&self, state: &State, you: MemberId, limits: Limits) -> String {
        let history = state.past.messages().map(|kept| self.message(kept)).collect();
        json(&Told::Welcome {
            you,
            room: &self.name,
            epoch: &self.epoch,
            seq: state.seq,
            time: now(),
            members: state.list(),
            count: state.members.len(),
            plain: self.plain(),
            history,
            limits,
        })
    }

    fn message<'a>(&self, kept: &'a Kept) -> Told<'a> {
        Told::Message {
            id: match &kept.id {
                Some(id) => Cow::Borrowed(id),
                // No client can have given it: theirs have no dot.
                None => Cow::Owned(format!("{}.{}", self.epoch, kept.at.seq)),
            },
            seq: kept.at.seq,
            time: kept.at.time,
            speaker: kept.from.as_ref().map(|(from, name)| Speaker { from: *from, name }),
            text: &kept.text,
            cut: kept.cut,
        }
    }

    /// Gives a text its place in the room, keeps it and tells the members. Plain clients are told
    /// by the caller, while the lock is still held.
    fn publish(
        &self,
        state: &mut State,
        id: Option<&str>,
        from: Option<(MemberId, Arc<str>)>,
        text: &Utf8Bytes,
    ) -> Published {
        state.seq += 1;
        let at = At { seq: state.seq, time: now() };
        let (text, cut) = cut(text);
        let kept = Kept { id: id.map(Into::into), at, from, text, cut };
        let published = if state.members.is_empty() {
            Published::default()
        } else {
            self.named.publish(json(&self.message(&kept)))
        };
        if let Some(id) = id {
            state.past.remember(id, &kept.text, at);
        }
        state.past.keep(kept, self.history);
        self.spoken.store(at.time, Relaxed);
        self.account(state);
        published
    }

    /// Who has not caught up with what was said.
    fn behind(self: &Arc<Self>, plain: Published, named: Published) -> Option<Behind> {
        let (plain, named) = (plain.congested > 0, named.congested > 0);
        (plain || named).then(|| Behind { room: self.clone(), plain, named })
    }

    // ---- who is here ----

    fn came(self: &Arc<Self>, state: &mut State, id: MemberId, name: &str) {
        let (count, plain) = (state.members.len(), self.plain());
        if state.crowd {
            self.gather(state);
        } else if count > MOST_LISTED {
            state.crowd = true;
            self.tell(&Told::Members { members: Some(None), count, plain });
        } else {
            self.tell(&Told::Joined { member: Who { id, name }, count, plain });
        }
    }

    fn went(self: &Arc<Self>, state: &mut State, id: MemberId, name: &str) {
        let (count, plain) = (state.members.len(), self.plain());
        if !state.crowd {
            self.tell(&Told::Left { member: Who { id, name }, count, plain });
        } else if count <= LISTED_AGAIN {
            state.crowd = false;
            self.tell(&Told::Members { members: Some(state.list()), count, plain });
        } else {
            self.gather(state);
        }
    }

    /// What is returned is for the member itself, where nobody else is told.
    fn renamed(&self, state: &State, id: MemberId, name: &str, was: &str) -> Option<String> {
        let told = Told::Renamed { member: Who { id, name }, was };
        if state.crowd {
            return Some(json(&told));
        }
        self.tell(&told);
        None
    }

    /// Tells the members something that is no message of the room.
    fn tell(&self, told: &Told<'_>) {
        self.named.publish(json(told));
    }

    /// The numbers of members and plain clients are told in a moment, once for all changes.
    fn gather(self: &Arc<Self>, state: &mut State) {
        // Without a runtime the server is at its end.
        if state.gathering || state.members.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        state.gathering = true;
        let pause = if state.crowd { GATHER_CROWD } else { GATHER };
        let room = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            let mut state = room.lock();
            state.gathering = false;
            let (count, plain) = (state.members.len(), room.plain());
            room.tell(&Told::Members { members: None, count, plain });
        });
    }

    // ---- memory ----

    /// Counts what the past takes among that of all rooms.
    fn account(&self, state: &State) {
        let cost = match state.past.cost() {
            0 => 0,
            past => past + ROOM_COST + self.name.len(),
        };
        let before = self.cost.swap(cost, Relaxed);
        if cost >= before {
            self.memory.fetch_add(cost - before, Relaxed);
        } else {
            self.memory.fetch_sub(before - cost, Relaxed);
        }
    }

    /// When somebody last said something here; 0 for never.
    pub(super) fn spoken(&self) -> u64 {
        self.spoken.load(Relaxed)
    }

    pub(super) fn has_past(&self) -> bool {
        self.cost.load(Relaxed) > 0
    }

    /// Gives up what was said.
    pub(super) fn forget_messages(&self) {
        let mut state = self.lock();
        state.past.forget_messages();
        self.account(&state);
    }

    /// Gives up also what keeps it from being said twice.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.past.forget_messages();
        state.past.forget_ids();
        self.account(&state);
    }

    fn plain(&self) -> usize {
        self.plain_count.load(Relaxed)
    }

    /// How many members and plain clients are here.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.member_count.load(Relaxed), self.plain())
    }
}

/// What the members are given of a text of a plain client: no more than they may say themselves.
fn cut(text: &Utf8Bytes) -> (Utf8Bytes, bool) {
    if text.len() > MAX_TEXT
        && let Some((end, _)) = text.char_indices().nth(MAX_TEXT)
    {
        return (text[..end].into(), true);
    }
    (text.clone(), false)
}

impl State {
    /// Who is here, where that is told.
    fn list(&self) -> Option<Vec<Who<'_>>> {
        let members = self.members.iter();
        (!self.crowd).then(|| members.map(|(id, p)| Who { id: *id, name: &p.name }).collect())
    }
}

impl Plain {
    /// Lets a plain client in.
    pub(super) fn enter(held: Held, sender: &Sender, echo: bool) -> Self {
        let room = held.room();
        let seat = room.plain.join(sender, SLOW);
        let mut state = room.lock();
        room.plain_count.fetch_add(1, Relaxed);
        room.gather(&mut state);
        drop(state);
        Self { seat, held, echo }
    }

    /// Says something to all in the room.
    pub(super) fn say(&self, message: Message) -> Option<Behind> {
        let room = self.held.room();
        let text = match &message {
            Message::Text(text) => Some(text.clone()),
            _ => None,
        };
        let message = Prepared::from(message);
        // It may be long, and others wait for the lock.
        room.plain.prepare(&message);
        let (plain, named) = {
            let mut state = room.lock();
            let named = match text {
                Some(text) => room.publish(&mut state, None, None, &text),
                None if state.members.is_empty() => Published::default(),
                None => room.named.publish(message.clone()),
            };
            let plain =
                if self.echo { room.plain.publish(message) } else { self.seat.publish(message) };
            (plain, named)
        };
        self.held.said();
        room.behind(plain, named)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let room = self.held.room();
        let mut state = room.lock();
        room.plain_count.fetch_sub(1, Relaxed);
        room.gather(&mut state);
    }
}

impl Named {
    /// Says something to all in the room. What was said already goes to nobody a second time; the
    /// text that is returned then tells the speaker so.
    pub(super) fn say(
        &self,
        id: Option<&str>,
        text: String,
        behind: &mut Option<Behind>,
    ) -> Result<Option<String>, Mistake> {
        let (room, text) = (&self.room, Utf8Bytes::from(text));
        let (plain, named) = {
            let mut state = room.lock();
            let Some(person) = self.person(&mut state) else { return Ok(None) };
            let name = person.name.clone();
            if let Some(id) = id
                && let Some(known) = state.past.find(id, &text)
            {
                let Known::Said(at) = known else {
                    let why = "something else was said with this id";
                    return Err(Mistake::new("bad_field", why).of(Some(id)));
                };
                let from = Some((self.id, name));
                let kept = Kept { id: Some(id.into()), at, from, text, cut: false };
                return Ok(Some(json(&room.message(&kept))));
            }
            let named = room.publish(&mut state, id, Some((self.id, name)), &text);
            let plain = match room.plain() {
                0 => Published::default(),
                _ => room.plain.publish(text),
            };
            (plain, named)
        };
        *behind = room.behind(plain, named);
        Ok(None)
    }

    /// Passes bytes on to all in the room.
    pub(super) fn pass(&self, bytes: Bytes) -> Option<Behind> {
        let room = &self.room;
        let (plain, named) = {
            let mut state = room.lock();
            self.person(&mut state)?;
            let message = Prepared::from(bytes);
            let plain = room.plain.publish(message.clone());
            let named =
                if self.echo { room.named.publish(message) } else { self.seat.publish(message) };
            (plain, named)
        };
        room.behind(plain, named)
    }

    /// Takes another name. What is returned is for the member alone, where nobody else is told.
    pub(super) fn rename(&self, name: String) -> Option<String> {
        let mut state = self.room.lock();
        let person = self.person(&mut state)?;
        let name: Arc<str> = name.into();
        let was = std::mem::replace(&mut person.name, name.clone());
        self.room.renamed(&state, self.id, &name, &was)
    }

    /// Tells the others that it types.
    pub(super) fn types(&self, now: Instant) {
        let mut state = self.room.lock();
        let crowd = state.crowd;
        let Some(person) = self.person(&mut state) else { return };
        if crowd || person.typed.is_some_and(|at| now < at + TYPING) {
            return;
        }
        person.typed = Some(now);
        let speaker = Speaker { from: self.id, name: &person.name };
        self.seat.publish(json(&Told::Typing { speaker }));
    }

    /// The member, as long as this is the connection on which it is heard.
    fn person<'a>(&self, state: &'a mut State) -> Option<&'a mut Person> {
        state.members.get_mut(&self.id).filter(|person| person.connection == self.connection)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let room = self.room.clone();
        let mut state = room.lock();
        if self.person(&mut state).is_none() {
            return;
        }
        let Some(person) = state.members.remove(&self.id) else { return };
        room.member_count.store(state.members.len(), Relaxed);
        if let Some(client) = &person.client {
            state.clients.remove(client);
        }
        room.went(&mut state, self.id, &person.name);
    }
}

/// The text of a pong.
pub(super) fn pong(id: Option<&str>) -> String {
    json(&Told::Pong { id, time: now() })
}
