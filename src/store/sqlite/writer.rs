//! The one thread that writes. Whatever waits when it looks is one transaction and one wait for the disk.
//!
//! Knows nothing of rows: it is handed work, and tells each caller only after the commit.

use crate::store::clock::Clock;
use crate::store::error::{OpenError, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Most writes in one transaction.
const MOST_AT_ONCE: usize = 256;

/// What becomes of a piece of work that did not fail.
pub(crate) enum Verdict<T> {
    /// It is committed.
    Keep(T),
    /// It is undone; its caller is told so.
    Undo(T),
}

/// One write, to be done within a transaction, and once more when that transaction is given up.
trait Order: Send {
    /// Does the work at this Unix second; says whether it is to be kept.
    fn run(&mut self, conn: &Connection, now: i64) -> rusqlite::Result<bool>;

    /// Tells the caller that its write is on the disk. An order dropped untold reads as a failure at
    /// the other end, so every way out of here but a commit is a failure.
    fn announce(self: Box<Self>);
}

struct Job<W, T> {
    work: W,
    outcome: Option<T>,
    answer: oneshot::Sender<T>,
}

impl<T: Send, W: FnMut(&Connection, i64) -> rusqlite::Result<Verdict<T>> + Send> Order for Job<W, T> {
    fn run(&mut self, conn: &Connection, now: i64) -> rusqlite::Result<bool> {
        self.outcome = None;
        let (outcome, keep) = match (self.work)(conn, now)? {
            Verdict::Keep(outcome) => (outcome, true),
            Verdict::Undo(outcome) => (outcome, false),
        };
        self.outcome = Some(outcome);
        Ok(keep)
    }

    fn announce(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // A caller that went away has its write all the same.
            let _ = self.answer.send(outcome);
        }
    }
}

/// The way to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: Option<mpsc::Sender<Box<dyn Order>>>,
    commits: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; at most `waiting` writes are kept waiting.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub(crate) fn start(conn: Connection, waiting: usize, clock: Clock) -> Result<Self, OpenError> {
        let (orders, queue) = mpsc::channel(waiting);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(conn, queue, &counter, &clock))
            .map_err(OpenError::Thread)?;
        Ok(Self { orders: Some(orders), commits, thread: Some(thread) })
    }

    /// Does the work and answers when it is on the disk. The work is done again where others of its
    /// transaction had to be undone, and must then do the same.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too much waits, [`StoreError::Failed`] when nothing was written.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection, i64) -> rusqlite::Result<Verdict<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, done) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or(StoreError::Failed)?;
        orders.try_send(Box::new(Job { work, outcome: None, answer })).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Failed,
        })?;
        done.await.map_err(|_| StoreError::Failed)
    }

    /// Whether the thread is there.
    pub(crate) fn is_alive(&self) -> bool {
        self.orders.as_ref().is_some_and(|orders| !orders.is_closed())
    }

    /// Transactions committed so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    /// Waits until everything that was taken is written and the log is folded into the file.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut conn: Connection, mut queue: mpsc::Receiver<Box<dyn Order>>, commits: &AtomicU64, clock: &Clock) {
    let mut orders = Vec::with_capacity(MOST_AT_ONCE);
    while queue.blocking_recv_many(&mut orders, MOST_AT_ONCE) > 0 {
        match commit(&mut conn, &mut orders, clock.seconds()) {
            Ok(()) => {
                commits.fetch_add(1, Ordering::Relaxed);
                orders.drain(..).for_each(Order::announce);
            }
            Err(error) => {
                tracing::error!(%error, writes = orders.len(), "nothing was written: the transaction failed");
                orders.clear();
            }
        }
    }
}

/// Leaves the orders that are to be announced.
fn commit(conn: &mut Connection, orders: &mut Vec<Box<dyn Order>>, now: i64) -> rusqlite::Result<()> {
    let done = together(conn, orders, now)?;
    if done { Ok(()) } else { apart(conn, orders, now) }
}

/// All orders without a savepoint, at each of which the search index would be written out. Says whether
/// that went well: where one failed, or is undone after it wrote, nothing was done.
fn together(conn: &mut Connection, orders: &mut [Box<dyn Order>], now: i64) -> rusqlite::Result<bool> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for order in orders {
        let before = tx.total_changes();
        match order.run(&tx, now) {
            Ok(true) => {}
            Ok(false) if tx.total_changes() == before => {}
            Ok(false) | Err(_) => return Ok(false),
        }
    }
    tx.commit()?;
    Ok(true)
}

/// Each order in a savepoint of its own: one that fails takes nothing of the others with it.
fn apart(conn: &mut Connection, orders: &mut Vec<Box<dyn Order>>, now: i64) -> rusqlite::Result<()> {
    let mut tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut failed = Ok(());
    orders.retain_mut(|order| {
        failed.is_ok()
            && within(&mut tx, order.as_mut(), now).unwrap_or_else(|error| {
                // A full disk or a broken one ends the whole transaction; to go on would open a new one
                // without the writes before.
                if tx.is_autocommit() {
                    failed = Err(error);
                } else {
                    tracing::error!(%error, "a write failed");
                }
                false
            })
    });
    failed?;
    tx.commit()
}

/// Says that the order is to be announced.
fn within(tx: &mut Transaction<'_>, order: &mut dyn Order, now: i64) -> rusqlite::Result<bool> {
    // Dropped, it is rolled back.
    let savepoint = tx.savepoint()?;
    if order.run(&savepoint, now)? {
        savepoint.commit()?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::Verdict::Keep;
    use super::*;
    use crate::store::testing::{Folder, is_waiting};
    use rusqlite::params;

    fn table(folder: &Folder) -> Connection {
        let conn = Connection::open(folder.path("w.db")).unwrap();
        conn.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY)").unwrap();
        conn
    }

    fn insert(
        number: i64,
    ) -> impl FnMut(&Connection, i64) -> rusqlite::Result<Verdict<i64>> + Send + 'static {
        move |conn, _| {
            conn.execute("INSERT INTO t VALUES (?1)", params![number])?;
            Ok(Keep(number))
        }
    }

    /// Holds the writer up until released, so that what comes after it waits together.
    fn hold() -> (
        std::sync::mpsc::Sender<()>,
        impl FnMut(&Connection, i64) -> rusqlite::Result<Verdict<()>> + Send + 'static,
    ) {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let mut held = Some(held);
        (release, move |_: &Connection, _| {
            let _ = held.take().map(|held| held.recv());
            Ok(Keep(()))
        })
    }

    #[tokio::test]
    async fn what_waits_together_is_committed_together() {
        let folder = Folder::new();
        let writer = Arc::new(Writer::start(table(&folder), 1024, Clock::System).unwrap());
        let (release, held) = hold();
        let first = writer.write(held);
        tokio::pin!(first);
        assert!(is_waiting(&mut first).await);
        let mut rest: Vec<_> = (0..200).map(|n| Box::pin(writer.write(insert(n)))).collect();
        for write in &mut rest {
            assert!(is_waiting(write).await);
        }
        release.send(()).unwrap();
        first.await.unwrap();
        for write in rest {
            write.await.unwrap();
        }
        assert!(writer.commits() <= 3, "{}", writer.commits());
    }

    #[tokio::test]
    async fn one_bad_write_does_not_take_the_others_with_it() {
        let folder = Folder::new();
        let writer = Writer::start(table(&folder), 16, Clock::System).unwrap();
        let (release, held) = hold();
        let half_done = |conn: &Connection, _: i64| {
            conn.execute("INSERT INTO t VALUES (50)", [])?;
            conn.execute("INSERT INTO t VALUES (50)", []).map(|_| Keep(()))
        };
        let (first, a, bad, b) =
            (writer.write(held), writer.write(insert(1)), writer.write(half_done), writer.write(insert(2)));
        let go = async { release.send(()).unwrap() };
        let (first, a, bad, b, ()) = tokio::join!(first, a, bad, b, go);
        assert_eq!((first, a, bad, b), (Ok(()), Ok(1), Err(StoreError::Failed), Ok(2)));
        let there = writer
            .write(|conn, _| {
                conn.query_row("SELECT group_concat(a) FROM t", [], |row| row.get::<_, String>(0)).map(Keep)
            })
            .await;
        assert_eq!(there.unwrap(), "1,2");
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_at_once() {
        let folder = Folder::new();
        let writer = Writer::start(table(&folder), 1, Clock::System).unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        let (release, mut held) = hold();
        let first = writer.write(move |conn, now| {
            started.send(()).unwrap();
            held(conn, now)
        });
        tokio::pin!(first);
        assert!(is_waiting(&mut first).await);
        has_started.recv().unwrap();
        let second = writer.write(insert(1));
        tokio::pin!(second);
        assert!(is_waiting(&mut second).await);
        assert_eq!(writer.write(insert(2)).await, Err(StoreError::Busy));
        release.send(()).unwrap();
        assert_eq!((first.await, second.await), (Ok(()), Ok(1)));
    }

    #[tokio::test]
    async fn an_answer_comes_only_after_the_commit_that_others_can_see() {
        let folder = Folder::new();
        let writer = Writer::start(table(&folder), 16, Clock::System).unwrap();
        let other = Connection::open(folder.path("w.db")).unwrap();
        for n in 0..20 {
            writer.write(insert(n)).await.unwrap();
            let seen: i64 = other.query_row("SELECT max(a) FROM t", [], |row| row.get(0)).unwrap();
            assert_eq!(seen, n);
        }
    }

    #[tokio::test]
    async fn a_transaction_that_cannot_begin_fails_all_of_it_and_the_next_works() {
        let folder = Folder::new();
        let conn = table(&folder);
        conn.busy_timeout(std::time::Duration::ZERO).unwrap();
        let writer = Writer::start(conn, 16, Clock::System).unwrap();
        let other = Connection::open(folder.path("w.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(writer.write(insert(1)).await, Err(StoreError::Failed));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(writer.write(insert(1)).await, Ok(1));
        assert!(writer.is_alive());
    }

    #[tokio::test]
    async fn work_that_is_undone_leaves_nothing_and_its_caller_is_told() {
        let folder = Folder::new();
        let writer = Writer::start(table(&folder), 16, Clock::System).unwrap();
        let undone = |conn: &Connection, _: i64| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            Ok(Verdict::Undo("refused"))
        };
        assert_eq!(writer.write(undone).await, Ok("refused"));
        let count = |conn: &Connection, _: i64| {
            conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).map(Keep)
        };
        assert_eq!(writer.write(count).await, Ok(0));
    }
}
