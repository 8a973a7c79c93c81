//! What one tenant has waiting for other meshes: a line for each mesh, in the order in which it came, and those
//! that were laid aside.
//!
//! A delivery is in the file and on the disk before [`Queue::put`] comes back; several that come at once share
//! one sync. Bodies stay in the file. This file knows no sockets and no pauses: who asks says what became of a
//! delivery.

use super::outbox_journal::{self as journal, Event, Id, Journal, Live, Parcel, Place};
use crate::ids::{MeshId, TenantId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

/// The file is written anew when it holds so much more than what counts.
const SLACK: u64 = 4 << 20;

/// One tenant's.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) tenant: TenantId,
    state: Mutex<State>,
    /// The last turn that the disk has; held while it is being asked.
    synced: Mutex<u64>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    deliveries: HashMap<Id, Delivery>,
    /// Numbers rise in the order of coming.
    next: u64,
    lines: HashMap<MeshId, Line>,
    bytes: usize,
    appended: u64,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Id>,
    aside: BTreeMap<u64, Id>,
    bytes: usize,
    wake: Arc<Notify>,
}

#[derive(Debug, Clone)]
struct Delivery {
    mesh: MeshId,
    number: u64,
    since: u64,
    place: Place,
    /// Laid aside, by which status.
    aside: Option<u16>,
}

/// The first of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: Id,
    /// Unix seconds.
    pub(super) since: u64,
}

/// Why nothing was put.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    #[error("too much waits already")]
    Full,
    #[error("the outbox cannot be written")]
    Write(#[from] io::Error),
}

/// Most bytes of one line and of all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) per_mesh: usize,
    pub(super) per_tenant: usize,
}

/// How a line stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) waiting: usize,
    pub(super) aside: usize,
    pub(super) bytes: usize,
    /// Unix seconds at which the oldest that waits came.
    pub(super) oldest: Option<u64>,
}

/// One delivery, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) mesh: MeshId,
    pub(super) id: Id,
    pub(super) since: u64,
    pub(super) bytes: usize,
    pub(super) aside: Option<u16>,
}

/// Which of a line's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    One(Id),
    Aside,
    All,
}

impl Queue {
    /// Opens a tenant's file; the lines stand as they stood.
    pub(super) fn open(path: &Path, tenant: TenantId) -> io::Result<Self> {
        let journal::Read { journal, events, cut } = Journal::open(path)?;
        if cut > 0 {
            tracing::warn!(%tenant, cut, "the outbox had bytes behind its last whole record; they were put into a file beside it");
        }
        let mut state = State {
            journal,
            deliveries: HashMap::new(),
            next: 0,
            lines: HashMap::new(),
            bytes: 0,
            appended: 0,
        };
        for event in events {
            match event {
                Event::Put { id, mesh, since, place } => state.enter(id, mesh, since, place),
                Event::Gone(id) => state.leave(id),
                Event::Aside { id, status } => state.set_aside(id, Some(status), None),
                Event::Again { id, since } => state.set_aside(id, None, Some(since)),
            }
        }
        Ok(Self { tenant, state: Mutex::new(state), synced: Mutex::new(0) })
    }

    /// Takes deliveries in, all or none; one whose id is here already is here once. They are on the disk when
    /// this comes back. Waits for the disk: not for threads that serve sockets.
    pub(super) fn put(
        &self,
        mut parcels: Vec<Parcel>,
        now_unix: u64,
        bounds: Bounds,
    ) -> Result<(), PutError> {
        let turn = {
            let mut state = self.state.lock();
            parcels.retain(|parcel| !state.deliveries.contains_key(&parcel.id));
            state.room(&parcels, bounds)?;
            if !parcels.is_empty() {
                let places = state.journal.put(&parcels, now_unix)?;
                state.appended += 1;
                for (parcel, place) in parcels.iter().zip(places) {
                    state.enter(parcel.id, parcel.mesh.clone(), now_unix, place);
                }
            }
            state.appended
        };
        self.sync(turn)?;
        let state = self.state.lock();
        for parcel in &parcels {
            if let Some(line) = state.lines.get(&parcel.mesh) {
                line.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Comes back when the disk has all that was appended up to this turn.
    fn sync(&self, turn: u64) -> io::Result<()> {
        let mut synced = self.synced.lock();
        if *synced >= turn {
            return Ok(());
        }
        let (file, upto) = {
            let state = self.state.lock();
            (state.journal.handle()?, state.appended)
        };
        if let Err(error) = file.sync_data() {
            // The system may have dropped what it could not write, and would not say so a second time.
            self.state.lock().journal.give_up();
            return Err(error);
        }
        *synced = upto;
        Ok(())
    }

    /// The delivery of a line that is to go next.
    pub(super) fn head(&self, mesh: &MeshId) -> Option<Head> {
        let state = self.state.lock();
        let id = *state.lines.get(mesh)?.waiting.values().next()?;
        state.deliveries.get(&id).map(|one| Head { id, since: one.since })
    }

    /// Says when a line has changed.
    pub(super) fn wake(&self, mesh: &MeshId) -> Arc<Notify> {
        self.state.lock().lines.entry(mesh.clone()).or_default().wake.clone()
    }

    /// A delivery's body; nothing when it has gone meanwhile. Reads from the disk.
    pub(super) fn body(&self, id: Id) -> io::Result<Option<Vec<u8>>> {
        let found: Option<(File, Place)> = {
            let state = self.state.lock();
            match state.deliveries.get(&id) {
                Some(one) => Some((state.journal.handle()?, one.place)),
                None => None,
            }
        };
        found.map(|(file, place)| journal::read(&file, place)).transpose()
    }

    /// It was taken.
    pub(super) fn gone(&self, id: Id) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.deliveries.contains_key(&id) {
            return Ok(());
        }
        // Whether or not it can be written: it was taken, and must not go again from here.
        let noted = state.journal.note(&Event::Gone(id));
        state.leave(id);
        noted?;
        state.tidy()
    }

    /// It will not be taken.
    pub(super) fn lay_aside(&self, id: Id, status: u16) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.deliveries.contains_key(&id) {
            state.set_aside(id, Some(status), None);
            state.journal.note(&Event::Aside { id, status })?;
        }
        Ok(())
    }

    /// Puts what was laid aside back into its place in the line; how many.
    pub(super) fn again(&self, mesh: &MeshId, which: Which, now_unix: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let ids = state.chosen(mesh, which, |one| one.aside.is_some());
        for id in &ids {
            state.journal.note(&Event::Again { id: *id, since: now_unix })?;
            state.set_aside(*id, None, Some(now_unix));
        }
        if let Some(line) = state.lines.get(mesh) {
            // Also where nothing was aside: whoever asks does not want to wait for a pause's end.
            line.wake.notify_one();
        }
        Ok(ids.len())
    }

    /// Throws deliveries away; how many.
    pub(super) fn drop_out(&self, mesh: &MeshId, which: Which) -> io::Result<usize> {
        let mut state = self.state.lock();
        let ids = state.chosen(mesh, which, |one| which != Which::Aside || one.aside.is_some());
        for id in &ids {
            state.journal.note(&Event::Gone(*id))?;
            state.leave(*id);
        }
        if let Some(line) = state.lines.get(mesh) {
            line.wake.notify_one();
        }
        state.tidy()?;
        Ok(ids.len())
    }

    pub(super) fn depths(&self) -> Vec<(MeshId, Depth)> {
        let state = self.state.lock();
        let depth = |line: &Line| Depth {
            waiting: line.waiting.len(),
            aside: line.aside.len(),
            bytes: line.bytes,
            oldest: line.waiting.values().next().and_then(|id| Some(state.deliveries.get(id)?.since)),
        };
        state.lines.iter().map(|(mesh, line)| (mesh.clone(), depth(line))).collect()
    }

    /// Everything, in order.
    pub(super) fn list(&self) -> Vec<Listed> {
        let state = self.state.lock();
        let mut all: Vec<(u64, Listed)> = state
            .deliveries
            .iter()
            .map(|(id, one)| {
                let (mesh, since, bytes, aside) = (one.mesh.clone(), one.since, one.place.len, one.aside);
                (one.number, Listed { mesh, id: *id, since, bytes, aside })
            })
            .collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, listed)| listed).collect()
    }
}

impl State {
    fn room(&self, parcels: &[Parcel], bounds: Bounds) -> Result<(), PutError> {
        let more: usize = parcels.iter().map(|parcel| parcel.body.len()).sum();
        let is_full = |parcel: &Parcel| {
            let line = self.lines.get(&parcel.mesh).map_or(0, |line| line.bytes);
            line + parcel.body.len() > bounds.per_mesh
        };
        if self.bytes + more > bounds.per_tenant || parcels.iter().any(is_full) {
            return Err(PutError::Full);
        }
        Ok(())
    }

    fn enter(&mut self, id: Id, mesh: MeshId, since: u64, place: Place) {
        let number = self.next;
        self.next += 1;
        let line = self.lines.entry(mesh.clone()).or_default();
        line.waiting.insert(number, id);
        line.bytes += place.len;
        self.bytes += place.len;
        self.deliveries.insert(id, Delivery { mesh, number, since, place, aside: None });
    }

    fn leave(&mut self, id: Id) {
        let Some(one) = self.deliveries.remove(&id) else { return };
        self.bytes -= one.place.len;
        if let Some(line) = self.lines.get_mut(&one.mesh) {
            line.bytes -= one.place.len;
            line.waiting.remove(&one.number);
            line.aside.remove(&one.number);
        }
    }

    fn set_aside(&mut self, id: Id, aside: Option<u16>, since: Option<u64>) {
        let Some(one) = self.deliveries.get_mut(&id) else { return };
        one.aside = aside;
        one.since = since.unwrap_or(one.since);
        let Some(line) = self.lines.get_mut(&one.mesh) else { return };
        let (from, to) = match aside {
            Some(_) => (&mut line.waiting, &mut line.aside),
            None => (&mut line.aside, &mut line.waiting),
        };
        from.remove(&one.number);
        to.insert(one.number, id);
    }

    fn chosen(&self, mesh: &MeshId, which: Which, fits: impl Fn(&Delivery) -> bool) -> Vec<Id> {
        let Some(line) = self.lines.get(mesh) else { return Vec::new() };
        let of_line = line.waiting.values().chain(line.aside.values()).copied();
        let is_meant = |id: &Id| match which {
            Which::One(one) => *id == one,
            Which::Aside | Which::All => true,
        };
        of_line.filter(is_meant).filter(|id| self.deliveries.get(id).is_some_and(&fits)).collect()
    }

    /// Writes the file anew when most of it no longer counts.
    fn tidy(&mut self) -> io::Result<()> {
        if self.journal.len() < 2 * self.bytes as u64 + SLACK {
            return Ok(());
        }
        let mut all: Vec<(Id, Delivery)> =
            self.deliveries.iter().map(|(id, one)| (*id, one.clone())).collect();
        all.sort_unstable_by_key(|(_, one)| one.number);
        let live: Vec<Live> = all
            .iter()
            .map(|(id, one)| Live {
                id: *id,
                mesh: one.mesh.clone(),
                since: one.since,
                place: one.place,
                aside: one.aside,
            })
            .collect();
        let places = self.journal.rewrite(&live)?;
        for ((id, _), place) in all.iter().zip(places) {
            if let Some(one) = self.deliveries.get_mut(id) {
                one.place = place;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const WIDE: Bounds = Bounds { per_mesh: 1 << 20, per_tenant: 1 << 24 };

    fn place(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("outbox-queue-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("acme.log")
    }

    fn open(path: &Path) -> Queue {
        Queue::open(path, TenantId::parse("acme").unwrap()).unwrap()
    }

    fn mesh(name: &str) -> MeshId {
        MeshId::parse(name).unwrap()
    }

    fn parcel(n: u8, to: &str) -> Parcel {
        Parcel { id: Id([n; 16]), mesh: mesh(to), body: vec![n; 10] }
    }

    fn order(queue: &Queue) -> Vec<u8> {
        queue.list().iter().map(|one| one.id.0[0]).collect()
    }

    #[test]
    fn lines_keep_their_order_over_restarts_and_are_apart() {
        let path = place("order");
        let queue = open(&path);
        queue.put(vec![parcel(1, "hq"), parcel(2, "lab")], 5, WIDE).unwrap();
        queue.put(vec![parcel(3, "hq")], 6, WIDE).unwrap();
        // The same delivery once more.
        queue.put(vec![parcel(3, "hq")], 7, WIDE).unwrap();
        queue.gone(Id([1; 16])).unwrap();
        drop(queue);
        let queue = open(&path);
        assert_eq!(order(&queue), [2, 3]);
        assert_eq!(queue.head(&mesh("hq")), Some(Head { id: Id([3; 16]), since: 6 }));
        assert_eq!(queue.body(Id([3; 16])).unwrap(), Some(vec![3; 10]));
        assert_eq!(queue.body(Id([1; 16])).unwrap(), None);
        assert_eq!(queue.head(&mesh("nobody")), None);
    }

    #[test]
    fn what_is_laid_aside_lets_others_pass_and_comes_back_to_its_place() {
        let path = place("aside");
        let queue = open(&path);
        (1..=3).for_each(|n| queue.put(vec![parcel(n, "hq")], 5, WIDE).unwrap());
        queue.lay_aside(Id([1; 16]), 400).unwrap();
        drop(queue);
        let queue = open(&path);
        assert_eq!(queue.head(&mesh("hq")).unwrap().id, Id([2; 16]));
        assert_eq!(queue.list()[0].aside, Some(400));
        assert_eq!(queue.again(&mesh("hq"), Which::Aside, 9).unwrap(), 1);
        assert_eq!(queue.head(&mesh("hq")), Some(Head { id: Id([1; 16]), since: 9 }));
        assert_eq!(queue.drop_out(&mesh("hq"), Which::Aside).unwrap(), 0);
        assert_eq!(queue.drop_out(&mesh("hq"), Which::One(Id([2; 16]))).unwrap(), 1);
        assert_eq!(order(&queue), [1, 3]);
        assert_eq!(queue.drop_out(&mesh("hq"), Which::All).unwrap(), 2);
        assert_eq!(queue.depths(), [(mesh("hq"), Depth::default())]);
    }

    #[test]
    fn a_full_line_takes_nothing_of_what_comes_together() {
        let queue = open(&place("full"));
        let bounds = Bounds { per_mesh: 25, per_tenant: 45 };
        queue.put(vec![parcel(1, "hq"), parcel(2, "lab")], 1, bounds).unwrap();
        queue.put(vec![parcel(3, "hq")], 1, bounds).unwrap();
        let full = |parcels| matches!(queue.put(parcels, 1, bounds), Err(PutError::Full));
        assert!(full(vec![parcel(4, "lab"), parcel(5, "hq")]));
        assert_eq!(order(&queue), [1, 2, 3]);
        queue.put(vec![parcel(4, "lab")], 1, bounds).unwrap();
        assert!(full(vec![parcel(6, "other")]));
    }

    #[test]
    fn the_file_does_not_grow_without_end_and_bodies_are_found_in_the_new_one() {
        let path = place("tidy");
        let queue = open(&path);
        let large = |n: u8| Parcel { body: vec![n; 700_000], ..parcel(n, "hq") };
        queue.put(vec![large(255)], 1, WIDE).unwrap();
        for n in 0..20 {
            let one = Parcel { mesh: mesh("lab"), ..large(n) };
            queue.put(vec![one], 1, WIDE).unwrap();
            queue.gone(Id([n; 16])).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 7_000_000);
        assert_eq!(queue.body(Id([255; 16])).unwrap(), Some(vec![255; 700_000]));
        drop(queue);
        assert_eq!(order(&open(&path)), [255]);
    }

    #[test]
    fn many_at_once_are_all_there() {
        let path = place("many");
        let queue = open(&path);
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let queue = &queue;
                scope.spawn(move || {
                    (0..10).for_each(|n| queue.put(vec![parcel(thread * 10 + n, "hq")], 1, WIDE).unwrap());
                });
            }
        });
        drop(queue);
        let mut all = order(&open(&path));
        all.sort_unstable();
        assert_eq!(all, (0..80).collect::<Vec<u8>>());
    }
}
